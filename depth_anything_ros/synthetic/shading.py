"""The radiance that a camera ray receives from a surface: color, highlights, mirror images, the air between."""

from __future__ import annotations

from math import inf, sqrt

from depth_anything_ros.synthetic.appearance import EMISSION, GLOSS, HAZE, MIRROR, SPECULAR, SUN, SUN_COLOR, VISIBILITY
from depth_anything_ros.synthetic.compilation import compiled
from depth_anything_ros.synthetic.hierarchy import closest_hit
from depth_anything_ros.synthetic.lighting import ambient, clear_air, sky_color
from depth_anything_ros.synthetic.surface import facing_normal, surface_material, surface_position
from depth_anything_ros.synthetic.textures import surface_color


@compiled
def highlight(scene, material, px, py, pz, nx, ny, nz, vx, vy, vz, sun_share):
    """Return specular light from the sun and the unshadowed lamps, towards unit direction (vx, vy, vz)."""
    m = scene.materials[material]
    if m[SPECULAR] <= 0.0:
        return 0.0, 0.0, 0.0
    red, green, blue = 0.0, 0.0, 0.0
    sky = scene.sky
    if sun_share > 0.0:
        hx, hy, hz = sky[SUN] + vx, sky[SUN + 1] + vy, sky[SUN + 2] + vz
        towards = (hx * nx + hy * ny + hz * nz) / sqrt(hx * hx + hy * hy + hz * hz + 1e-9)
        if towards > 0.0:
            strength = m[SPECULAR] * towards ** m[GLOSS]
            red, green, blue = (
                strength * sky[SUN_COLOR],
                strength * sky[SUN_COLOR + 1],
                strength * sky[SUN_COLOR + 2],
            )
    for k in range(len(scene.lamps)):
        lamp = scene.lamps[k]
        x, y, z = lamp[0] - px, lamp[1] - py, lamp[2] - pz
        squared = x * x + y * y + z * z
        scale = 1.0 / sqrt(squared)
        x, y, z = x * scale, y * scale, z * scale
        if x * nx + y * ny + z * nz <= 0.0:
            continue
        hx, hy, hz = x + vx, y + vy, z + vz
        towards = (hx * nx + hy * ny + hz * nz) / sqrt(hx * hx + hy * hy + hz * hz + 1e-9)
        if towards > 0.0:
            strength = m[SPECULAR] * towards ** m[GLOSS] / (squared + 0.05)
            red, green, blue = red + strength * lamp[4], green + strength * lamp[5], blue + strength * lamp[6]
    return red, green, blue


@compiled
def painted(scene, i, k, face, x, y, z, footprint):
    """Return the reflectance at a world point of a surface; ``footprint``: meters that a pixel covers."""
    u, v, s, t, px, py, pz, across = surface_position(scene, i, k, face, x, y, z)
    material = scene.materials[surface_material(scene, i, k, face)]
    return surface_color(material, scene.pictures, u, v, s, t, px, py, pz, across, footprint)


@compiled
def reflection(scene, x, y, z, nx, ny, nz, dx, dy, dz, pixel):
    """Return the approximate radiance that a mirror reflects along a unit ray; ``pixel``: a pixel's angle, radians."""
    towards = 2.0 * (nx * dx + ny * dy + nz * dz)
    rx, ry, rz = dx - towards * nx, dy - towards * ny, dz - towards * nz
    t, hit, k = closest_hit(scene, x + 1e-3 * nx, y + 1e-3 * ny, z + 1e-3 * nz, rx, ry, rz, inf, False)
    if hit < 0:
        return sky_color(scene.sky, rx, ry, rz, 0.02)
    px, py, pz = x + t * rx, y + t * ry, z + t * rz
    face, mx, my, mz = facing_normal(scene, hit, k, px, py, pz, rx, ry, rz)
    red, green, blue = painted(scene, hit, k, face, px, py, pz, t * pixel + 0.01)
    r, g, b = ambient(scene.sky, mz)
    glow = 1.0 + scene.materials[surface_material(scene, hit, k, face), EMISSION]
    for n in range(len(scene.lamps)):
        lamp = scene.lamps[n]
        lx, ly, lz = lamp[0] - px, lamp[1] - py, lamp[2] - pz
        squared = lx * lx + ly * ly + lz * lz
        strength = max(0.0, lx * mx + ly * my + lz * mz) / sqrt(squared) / (squared + 0.05)
        r, g, b = r + strength * lamp[4], g + strength * lamp[5], b + strength * lamp[6]
    return red * r * glow, green * g * glow, blue * b * glow


@compiled
def radiance(scene, hit, k, t, ox, oy, oz, dx, dy, dz, pixel, light, sun_share):
    """Return the linear RGB that a camera ray receives.

    Args:
        scene: `SceneArrays`.
        hit: index of the primitive.
        k: index of the triangle, or -1.
        t: the ray's parameter there.
        ox, oy, oz: the ray's origin, meters.
        dx, dy, dz: the ray's direction.
        pixel: a pixel's angle, radians.
        light: ambient and lamp irradiance, (3,).
        sun_share: fraction of the sun's light, from `lighting.sun_light`.
    """
    x, y, z = ox + t * dx, oy + t * dy, oz + t * dz
    face, nx, ny, nz = facing_normal(scene, hit, k, x, y, z, dx, dy, dz)
    length = sqrt(dx * dx + dy * dy + dz * dz)
    vx, vy, vz = -dx / length, -dy / length, -dz / length
    cosine = max(nx * vx + ny * vy + nz * vz, 0.0)  # a smooth normal may point away from the ray
    red, green, blue = painted(scene, hit, k, face, x, y, z, t * pixel / (0.15 + 0.85 * cosine))
    material = surface_material(scene, hit, k, face)
    m = scene.materials[material]
    sky = scene.sky
    glow = m[EMISSION]
    out_red = red * (light[0] + sun_share * sky[SUN_COLOR] + glow)
    out_green = green * (light[1] + sun_share * sky[SUN_COLOR + 1] + glow)
    out_blue = blue * (light[2] + sun_share * sky[SUN_COLOR + 2] + glow)
    r, g, b = highlight(scene, material, x, y, z, nx, ny, nz, vx, vy, vz, sun_share)
    out_red, out_green, out_blue = out_red + r, out_green + g, out_blue + b
    if m[MIRROR] > 0.0:
        share = m[MIRROR] + (1.0 - m[MIRROR]) * min(0.7, (1.0 - cosine) ** 5)
        r, g, b = reflection(scene, x, y, z, nx, ny, nz, -vx, -vy, -vz, pixel)
        out_red += share * (r - out_red)
        out_green += share * (g - out_green)
        out_blue += share * (b - out_blue)
    clear = clear_air(t * length, sky[VISIBILITY])
    return (
        sky[HAZE] + (out_red - sky[HAZE]) * clear,
        sky[HAZE + 1] + (out_green - sky[HAZE + 1]) * clear,
        sky[HAZE + 2] + (out_blue - sky[HAZE + 2]) * clear,
    )
