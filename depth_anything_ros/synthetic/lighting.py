"""Light at a surface: sky and sun, lamps with soft shadows, and ambient light with occlusion by nearby surfaces.

(px, py, pz) is a point in the world, (nx, ny, nz) the unit normal there.
"""

from __future__ import annotations

from math import cos, exp, inf, pi, sin, sqrt

from depth_anything_ros.synthetic.appearance import (
    BACKDROP,
    BOUNCE,
    CLOUD_COVER,
    CLOUD_SCALE,
    GROUND,
    HORIZON,
    REACH,
    SKY_SEED,
    SUN,
    SUN_COLOR,
    ZENITH,
)
from depth_anything_ros.synthetic.compilation import compiled
from depth_anything_ros.synthetic.hierarchy import closest_hit
from depth_anything_ros.synthetic.noise import fractal2, hashed
from depth_anything_ros.synthetic.primitives import TINT


@compiled
def sky_color(sky, dx, dy, dz, footprint):
    """Return the radiance of the sky along a unit direction; ``footprint``: the pixel's angle in radians."""
    up = max(0.0, dz)
    blend = 1.0 - (1.0 - up) ** 3
    red = sky[HORIZON] + (sky[ZENITH] - sky[HORIZON]) * blend
    green = sky[HORIZON + 1] + (sky[ZENITH + 1] - sky[HORIZON + 1]) * blend
    blue = sky[HORIZON + 2] + (sky[ZENITH + 2] - sky[HORIZON + 2]) * blend
    cover = sky[CLOUD_COVER]
    if cover > 0.0:
        # Clouds are on a flat layer that is seen more obliquely towards the horizon.
        scale = 2.0 / (sky[CLOUD_SCALE] * (up + 0.12))
        noise = fractal2(dx * scale, dy * scale, footprint * scale / (up + 0.12), 5, int(sky[SKY_SEED]))
        cloud = min(1.0, max(0.0, (0.5 * noise + cover - 0.35) * 3.0)) * min(1.0, 0.4 + 4.0 * up)
        white = 1.15 * (sky[HORIZON + 1] + 0.3) * (0.85 + 0.35 * noise)
        red += (white - red) * cloud
        green += (white - green) * cloud
        blue += (white - blue) * cloud
    towards = dx * sky[SUN] + dy * sky[SUN + 1] + dz * sky[SUN + 2]
    if towards > 0.0 and sky[SUN_COLOR] > 0.0:
        glow = 0.15 * towards**12 + 0.5 * towards**150 + 20.0 * max(0.0, towards - 0.9995) * 2000.0 * (1.0 - cover)
        red += glow * sky[SUN_COLOR] * 0.3
        green += glow * sky[SUN_COLOR + 1] * 0.3
        blue += glow * sky[SUN_COLOR + 2] * 0.3
    bright = sky[BACKDROP]
    return red * bright, green * bright, blue * bright


@compiled
def ambient(sky, dz):
    """Return the mean light from a hemisphere around a direction of height ``dz``."""
    if dz >= 0.0:
        blend, other = dz, ZENITH
    else:
        blend, other = -dz, GROUND
    return (
        sky[HORIZON] + (sky[other] - sky[HORIZON]) * blend,
        sky[HORIZON + 1] + (sky[other + 1] - sky[HORIZON + 1]) * blend,
        sky[HORIZON + 2] + (sky[other + 2] - sky[HORIZON + 2]) * blend,
    )


@compiled
def hemisphere_direction(nx, ny, nz, first, second):
    """Return a unit direction around a normal with a cosine distribution, from two numbers in [0, 1)."""
    height = 2.0 * first - 1.0
    angle, radius = 2.0 * pi * second, sqrt(max(0.0, 1.0 - height * height))
    x, y, z = nx + radius * cos(angle), ny + radius * sin(angle), nz + height
    scale = 1.0 / sqrt(x * x + y * y + z * z + 1e-9)
    return x * scale, y * scale, z * scale


@compiled
def ambient_light(scene, px, py, pz, nx, ny, nz, rays, seed):
    """Return the ambient irradiance at a point; ``rays`` rays look for occluders, which reflect some colored light."""
    sky = scene.sky
    reach = sky[REACH]
    red, green, blue = 0.0, 0.0, 0.0
    for k in range(rays):
        dx, dy, dz = hemisphere_direction(nx, ny, nz, (k + hashed(seed, k, 1)) / rays, hashed(seed, k, 2))
        t, hit, _ = closest_hit(scene, px, py, pz, dx, dy, dz, reach, False)
        r, g, b = ambient(sky, dz)
        if hit >= 0:
            open_share = sqrt(t / reach)
            tint = scene.primitives[hit, TINT : TINT + 3]
            # Occluders are lit too: they reflect their color, the more the farther away they are.
            r *= open_share * (1.0 - sky[BOUNCE] + 2.0 * sky[BOUNCE] * tint[0])
            g *= open_share * (1.0 - sky[BOUNCE] + 2.0 * sky[BOUNCE] * tint[1])
            b *= open_share * (1.0 - sky[BOUNCE] + 2.0 * sky[BOUNCE] * tint[2])
        red, green, blue = red + r, green + g, blue + b
    return red / rays, green / rays, blue / rays


@compiled
def lamp_light(scene, px, py, pz, nx, ny, nz, seed):
    """Return irradiance from a randomly chosen lamp, divided by its probability, with a shadow ray to it."""
    lamps = scene.lamps
    total = 0.0
    for k in range(len(lamps)):
        x, y, z = lamps[k, 0] - px, lamps[k, 1] - py, lamps[k, 2] - pz
        squared = x * x + y * y + z * z
        total += lamps[k, 5] * max(0.05, (x * nx + y * ny + z * nz) / sqrt(squared)) / (squared + 0.05)
    chosen, weight = hashed(seed, 3, 3) * total, 0.0
    k = 0
    for k in range(len(lamps)):
        x, y, z = lamps[k, 0] - px, lamps[k, 1] - py, lamps[k, 2] - pz
        squared = x * x + y * y + z * z
        weight = lamps[k, 5] * max(0.05, (x * nx + y * ny + z * nz) / sqrt(squared)) / (squared + 0.05)
        chosen -= weight
        if chosen <= 0.0:
            break
    radius = lamps[k, 3]
    ux, uy, uz = hemisphere_direction(0.0, 0.0, 0.0, hashed(seed, 5, 4), hashed(seed, 5, 5))
    x, y, z = lamps[k, 0] + radius * ux - px, lamps[k, 1] + radius * uy - py, lamps[k, 2] + radius * uz - pz
    squared = x * x + y * y + z * z
    away = sqrt(squared)
    x, y, z = x / away, y / away, z / away
    cosine = x * nx + y * ny + z * nz
    if cosine <= 0.0:
        return 0.0, 0.0, 0.0
    _, hit, _ = closest_hit(scene, px, py, pz, x, y, z, away * 0.98, True)
    if hit >= 0:
        return 0.0, 0.0, 0.0
    strength = cosine / (squared + 0.05) * total / weight
    return strength * lamps[k, 4], strength * lamps[k, 5], strength * lamps[k, 6]


@compiled
def sun_light(scene, px, py, pz, nx, ny, nz):
    """Return the fraction of the sun's light at a point: the cosine, or 0 in shadow."""
    sky = scene.sky
    cosine = nx * sky[SUN] + ny * sky[SUN + 1] + nz * sky[SUN + 2]
    if sky[SUN_COLOR] <= 0.0 or cosine <= 0.0:
        return 0.0
    _, hit, _ = closest_hit(scene, px, py, pz, sky[SUN], sky[SUN + 1], sky[SUN + 2], inf, True)
    return 0.0 if hit >= 0 else cosine


@compiled
def clear_air(distance, visibility):
    """Return the fraction of light that crosses a distance of air."""
    return exp(-distance / visibility)
