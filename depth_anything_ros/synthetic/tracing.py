"""The passes over an image: visibility and light once for each pixel, color more often where surfaces meet."""

from __future__ import annotations

from math import inf, sqrt

import numpy as np

from depth_anything_ros.synthetic.compilation import compiled
from depth_anything_ros.synthetic.hierarchy import closest_hit
from depth_anything_ros.synthetic.lighting import ambient_light, lamp_light, sky_color, sun_light
from depth_anything_ros.synthetic.shading import radiance
from depth_anything_ros.synthetic.surface import facing_normal, surface_id

SKY = -1
NOT_SAMPLED = -1.0


@compiled
def ray_direction(lens, rotation, column, row):
    """Return the world direction of a pixel's ray, of length 1 along the optical axis: its parameter is depth."""
    x, y = (column - lens[2]) / lens[0], (row - lens[3]) / lens[1]
    return (
        rotation[0, 0] * x + rotation[0, 1] * y + rotation[0, 2],
        rotation[1, 0] * x + rotation[1, 1] * y + rotation[1, 2],
        rotation[2, 0] * x + rotation[2, 1] * y + rotation[2, 2],
    )


@compiled
def trace_visibility(scene, lens, rotation, origin, depth, surfaces, triangles):
    """Fill the arrays of the pixels (H, W).

    That is depth, float32 meters, inf for sky; surfaces, int32 from `surface.surface_id`, or SKY; and triangles, int32,
    the index of a mesh's triangle or -1.
    """
    height, width = depth.shape
    ox, oy, oz = origin
    for row in range(height):
        for column in range(width):
            dx, dy, dz = ray_direction(lens, rotation, column, row)
            t, hit, k = closest_hit(scene, ox, oy, oz, dx, dy, dz, inf, False)
            depth[row, column] = t
            surfaces[row, column] = SKY
            triangles[row, column] = k
            if hit >= 0:
                surfaces[row, column] = surface_id(scene, hit, k, ox + t * dx, oy + t * dy, oz + t * dz)


@compiled
def meets_edge(surfaces, row, column):
    """Return whether one of a pixel's four neighbors shows another surface."""
    height, width = surfaces.shape
    here = surfaces[row, column]
    return (
        (row > 0 and surfaces[row - 1, column] != here)
        or (column > 0 and surfaces[row, column - 1] != here)
        or (row + 1 < height and surfaces[row + 1, column] != here)
        or (column + 1 < width and surfaces[row, column + 1] != here)
    )


@compiled
def meets_shadow(sun, row, column):
    """Return whether the border between sun and shadow is between a pixel and one of its four neighbors."""
    height, width = sun.shape
    lit = sun[row, column] > 0.0
    return (
        (row > 0 and (sun[row - 1, column] > 0.0) != lit)
        or (column > 0 and (sun[row, column - 1] > 0.0) != lit)
        or (row + 1 < height and (sun[row + 1, column] > 0.0) != lit)
        or (column + 1 < width and (sun[row, column + 1] > 0.0) != lit)
    )


@compiled
def trace_light(scene, lens, rotation, origin, depth, surfaces, triangles, rays, seed, soft, sun):
    """Fill irradiance: ``soft`` (H, W, 3) from ambient light and lamps, ``sun`` (H, W) the fraction of the sun's.

    ``soft`` is sampled on a checkerboard and along edges. Elsewhere its red is NOT_SAMPLED, for `smooth_light`.
    """
    height, width = depth.shape
    ox, oy, oz = origin
    for row in range(height):
        for column in range(width):
            if surfaces[row, column] == SKY:
                continue
            dx, dy, dz = ray_direction(lens, rotation, column, row)
            t = float(depth[row, column])
            x, y, z = ox + t * dx, oy + t * dy, oz + t * dz
            hit, k = surfaces[row, column] >> 3, triangles[row, column]
            _, nx, ny, nz = facing_normal(scene, hit, k, x, y, z, dx, dy, dz)
            lift = 1e-4 + 2e-6 * t * t + 2e-4 * t
            x, y, z = x + lift * nx, y + lift * ny, z + lift * nz
            sun[row, column] = sun_light(scene, x, y, z, nx, ny, nz)
            if (row + column) % 2 == 1 and 0 < column < width - 1 and not meets_edge(surfaces, row, column):
                soft[row, column, 0] = NOT_SAMPLED
                continue
            ray_seed = seed + 9781 * row + 6271 * column * (row + 3)
            red, green, blue = ambient_light(scene, x, y, z, nx, ny, nz, rays, ray_seed)
            if len(scene.lamps) > 0:
                r, g, b = lamp_light(scene, x, y, z, nx, ny, nz, ray_seed)
                red, green, blue = red + r, green + g, blue + b
            soft[row, column, 0], soft[row, column, 1], soft[row, column, 2] = red, green, blue


@compiled
def smooth_light(light, smoothed, surfaces, depth, step, down):
    """Run one pass of a separable filter along rows or columns that does not cross surfaces."""
    height, width = depth.shape
    for row in range(height):
        for column in range(width):
            here = surfaces[row, column]
            if here == SKY:
                continue
            tolerance = 0.03 * depth[row, column] * step
            total, red, green, blue = 0.0, 0.0, 0.0, 0.0
            for k in range(-3, 4):
                other_row = row + k * step if down else row
                other_column = column if down else column + k * step
                if other_row < 0 or other_column < 0 or other_row >= height or other_column >= width:
                    continue
                if surfaces[other_row, other_column] != here:
                    continue
                leap = abs(depth[other_row, other_column] - depth[row, column])
                if leap > tolerance * abs(k) and abs(k) * step > 1:
                    continue
                if light[other_row, other_column, 0] == NOT_SAMPLED:
                    continue
                weight = 4.0 - abs(k)
                total += weight
                red += weight * light[other_row, other_column, 0]
                green += weight * light[other_row, other_column, 1]
                blue += weight * light[other_row, other_column, 2]
            smoothed[row, column, 0] = red / total
            smoothed[row, column, 1] = green / total
            smoothed[row, column, 2] = blue / total


@compiled
def nearest_light(surfaces, surface, row, column):
    """Return the pixel among the nine around (row, column) that shows a surface, to take its light; else the center."""
    height, width = surfaces.shape
    if surfaces[row, column] == surface:
        return row, column
    for k in range(9):
        other_row, other_column = row + k // 3 - 1, column + k % 3 - 1
        if other_row < 0 or other_column < 0 or other_row >= height or other_column >= width:
            continue
        if surfaces[other_row, other_column] == surface:
            return other_row, other_column
    return row, column


@compiled
def trace_color(scene, lens, rotation, origin, depth, surfaces, triangles, soft, sun, samples, color):
    """Fill linear radiance (H, W, 3) float32: one sample in a pixel, ``samples`` x ``samples`` at surfaces' edges."""
    height, width = depth.shape
    ox, oy, oz = origin
    pixel = 1.0 / lens[0]
    for row in range(height):
        for column in range(width):
            edge = meets_edge(surfaces, row, column) or meets_shadow(sun, row, column)
            across = samples if edge else 1
            red, green, blue = 0.0, 0.0, 0.0
            for n in range(across * across):
                x = column + (n % across + 0.5) / across - 0.5
                y = row + (n // across + 0.5) / across - 0.5
                dx, dy, dz = ray_direction(lens, rotation, x, y)
                if across == 1:
                    t, hit, k = float(depth[row, column]), surfaces[row, column] >> 3, triangles[row, column]
                else:
                    t, hit, k = closest_hit(scene, ox, oy, oz, dx, dy, dz, inf, False)
                if hit < 0:
                    length = sqrt(dx * dx + dy * dy + dz * dz)
                    r, g, b = sky_color(scene.sky, dx / length, dy / length, dz / length, pixel)
                else:
                    light_row, light_column = row, column
                    sun_share = sun[row, column]
                    if across > 1:
                        px, py, pz = ox + t * dx, oy + t * dy, oz + t * dz
                        _, nx, ny, nz = facing_normal(scene, hit, k, px, py, pz, dx, dy, dz)
                        shown = surface_id(scene, hit, k, px, py, pz)
                        light_row, light_column = nearest_light(surfaces, shown, row, column)
                        lift = 1e-4 + 2e-6 * t * t + 2e-4 * t
                        sun_share = sun_light(scene, px + lift * nx, py + lift * ny, pz + lift * nz, nx, ny, nz)
                    light = soft[light_row, light_column]
                    r, g, b = radiance(scene, hit, k, t, ox, oy, oz, dx, dy, dz, pixel, light, sun_share)
                red, green, blue = red + r, green + g, blue + b
            weight = 1.0 / (across * across)
            color[row, column, 0] = red * weight
            color[row, column, 1] = green * weight
            color[row, column, 2] = blue * weight


def trace(scene, lens, rotation, origin, width, height, seed, samples=2, rays=2):
    """Render a packed scene.

    Args:
        scene: `SceneArrays`.
        lens: (4,) float64: fx, fy, cx, cy in pixels, pixel centers at integer coordinates.
        rotation: (3, 3) float64, columns are the camera's axes in the world.
        origin: (3,) float64, meters.
        width: Width of the image.
        height: Height of the image.
        seed: Seed of the light's sampling.
        samples: supersampling of color along edges, for each axis.
        rays: rays for each pixel that look for occluders of ambient light.

    Returns:
        color (H, W, 3) float32, linear and unbounded, and depth (H, W) float32 in meters, +inf for sky.
    """
    depth = np.empty((height, width), np.float32)
    surfaces = np.empty((height, width), np.int32)
    triangles = np.empty((height, width), np.int32)
    soft = np.zeros((height, width, 3), np.float32)
    spare = np.zeros((height, width, 3), np.float32)
    sun = np.zeros((height, width), np.float32)
    color = np.empty((height, width, 3), np.float32)
    trace_visibility(scene, lens, rotation, origin, depth, surfaces, triangles)
    trace_light(scene, lens, rotation, origin, depth, surfaces, triangles, rays, seed, soft, sun)
    for step in (1, 3):
        smooth_light(soft, spare, surfaces, depth, step, False)
        smooth_light(spare, soft, surfaces, depth, step, True)
    trace_color(scene, lens, rotation, origin, depth, surfaces, triangles, soft, sun, samples, color)
    return color, depth
