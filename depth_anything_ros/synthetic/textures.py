"""Procedural color of a surface, low-pass filtered by the size of the pixel on it.

``footprint`` is the length that a pixel covers, in the unit of (u, v).
"""

from __future__ import annotations

from math import cos, floor, log2, sin

from depth_anything_ros.synthetic.appearance import (
    ANGLE,
    ASPECT,
    BOTTOM,
    DIRT,
    DIRT_SCALE,
    FIRST,
    LEFT,
    PATTERN,
    PHOTOGRAPH,
    RIGHT,
    SCALE,
    SECOND,
    SEED,
    TOP,
    VARIATION,
)
from depth_anything_ros.synthetic.compilation import compiled
from depth_anything_ros.synthetic.noise import fractal2, fractal3, hashed, noise2, visible

PLAIN, SOLID, STAINED, WOOD, BRICK, TILE, CHECKER, STRIPES = range(8)
PICTURE, FACADE, SPECKLE, WEAVE, LEAVES, MARBLE, SPINES, WRITING = range(8, 16)
PICTURE_SIZE = 256


@compiled
def ramp(value: float, low: float, high: float) -> float:
    """Return a smooth step from 0 at ``low`` to 1 at ``high``."""
    x = min(1.0, max(0.0, (value - low) / (high - low)))
    return x * x * (3.0 - 2.0 * x)


@compiled
def joint(position: float, width: float, footprint: float) -> float:
    """Return the coverage in [0, 1] of lines of a width at every integer, seen through a pixel; all in periods."""
    away = abs(position - floor(position + 0.5))
    blur = max(footprint, 1e-4)
    sharp = min(1.0, max(0.0, (0.5 * width - away) / blur + 0.5))
    kept = visible(footprint)
    return width + (sharp - width) * kept


@compiled
def planks(u, v, length, footprint, seed, variation):
    """Return (grain, brightness) of wood in planks one unit wide along u and ``length`` long."""
    row = floor(v)
    shifted = u / length + hashed(row, 5, seed)
    plank = floor(shifted)
    tone = hashed(row, plank, seed + 1)
    grain = fractal2(u * 0.35 + tone * 91.0, v * 4.0 + tone * 37.0, footprint * 4.0, 4, seed + 2)
    rings = sin(6.0 * v + 9.0 * fractal2(u * 0.2 + tone * 13.0, v * 0.8, footprint, 2, seed + 3) + 40.0 * tone)
    seams = (
        max(joint(v, 0.03, footprint), joint(shifted, 0.03 / length, footprint / length)) if variation > 0.0 else 0.0
    )
    mixed = min(1.0, max(0.0, 0.5 + 0.6 * grain + 0.2 * rings * visible(footprint)))
    return mixed, (1.0 + variation * (tone - 0.5) * visible(0.5 * footprint)) * (1.0 - 0.6 * seams)


@compiled
def bricks(u, v, shift, width, footprint, seed, variation):
    """Return (coverage of joints, brightness) of tiles or bricks; unit height in v, courses shifted by ``shift``."""
    row = floor(v)
    shifted = u + shift * (row - 2.0 * floor(row * 0.5))
    lines = max(joint(v, width, footprint), joint(shifted, width, footprint))
    tone = hashed(floor(shifted), row, seed)
    return lines, 1.0 + variation * (tone - 0.5) * visible(0.7 * footprint)


@compiled
def writing(u, v, footprint, seed):
    """Return the coverage of lines of words, one unit for each line."""
    row = floor(v)
    if hashed(row, 3, seed) < 0.12:
        return 0.0
    inside = v - row
    end = 6.0 + 14.0 * hashed(row, 4, seed)
    column = u - 22.0 * floor(u / 22.0)
    if inside < 0.25 or inside > 0.75 or column > end:
        return 0.0
    ink = 1.0 if noise2(u * 3.0, row * 7.0 + inside * 2.0, seed) > 0.45 else 0.0
    return 0.4 + (ink * 0.9 - 0.4) * visible(3.0 * footprint)


@compiled
def spines(u, v, footprint, seed):
    """Return (mix of the two colors, brightness) of the backs of books side by side."""
    cell = floor(u)
    cut = 0.25 + 0.5 * hashed(cell, 9, seed)
    book = 2 * cell + (1 if u - cell > cut else 0)
    gap = joint(u, 0.08, footprint)
    label = 0.35 if abs(v - 0.3 - 0.4 * hashed(book, 2, seed)) < 0.25 and hashed(book, 4, seed) > 0.5 else 0.0
    bright = (0.3 + 1.2 * hashed(book, 7, seed)) * (1.0 - 0.8 * gap)
    return min(1.0, hashed(book, 1, seed) + label), 0.9 + (bright - 0.9) * visible(footprint)


@compiled
def facade(u, v, footprint, aspect, seed):
    """Return (coverage by glass, brightness of the glass) of rows of windows."""
    column, storey = floor(u), floor(v)
    x, y = u - column - 0.5, v - storey - 0.5
    half_width, half_height = 0.22 + 0.22 * hashed(seed, 1, 0), 0.2 + 0.22 * hashed(seed, 2, 0)
    blur = max(footprint, 1e-4)
    inside = min(half_width - abs(x), half_height - abs(y)) / blur + 0.5
    glass = min(1.0, max(0.0, inside))
    frame = min(1.0, max(0.0, (min(abs(x), half_width - abs(x)) - 0.02) / blur + 0.5))
    tone = hashed(column, storey, seed)
    bright = 0.25 + 1.0 * tone * tone + 0.5 * y
    kept = visible(footprint)
    average = 4.0 * half_width * half_height
    return average + (glass - average) * kept, 0.5 + (bright * (0.4 + 0.6 * frame) - 0.5) * kept


@compiled
def picture(pictures, index, s, t, texels):
    """Return a picture's bilinear linear-light color at (s, t) in [0, 1), t up, from the mip level of ``texels``."""
    level = min(6.0, max(0.0, log2(max(texels, 1e-6))))
    level_index = int(level + 0.5)
    size = PICTURE_SIZE >> level_index
    left, top = 0, 0
    if level_index > 0:
        left, top = PICTURE_SIZE, PICTURE_SIZE - 2 * size
    x = (s - floor(s)) * size - 0.5
    y = (1.0 - t - floor(1.0 - t)) * size - 0.5
    fx, fy = floor(x), floor(y)
    wx, wy = x - fx, y - fy
    x0, y0 = min(size - 1, max(0, int(fx))), min(size - 1, max(0, int(fy)))
    x1, y1 = min(size - 1, x0 + 1), min(size - 1, y0 + 1)
    a, b = (1.0 - wx) * (1.0 - wy), wx * (1.0 - wy)
    c, d = (1.0 - wx) * wy, wx * wy
    p = pictures[index]
    red = a * p[top + y0, left + x0, 0] + b * p[top + y0, left + x1, 0]
    red += c * p[top + y1, left + x0, 0] + d * p[top + y1, left + x1, 0]
    green = a * p[top + y0, left + x0, 1] + b * p[top + y0, left + x1, 1]
    green += c * p[top + y1, left + x0, 1] + d * p[top + y1, left + x1, 1]
    blue = a * p[top + y0, left + x0, 2] + b * p[top + y0, left + x1, 2]
    blue += c * p[top + y1, left + x0, 2] + d * p[top + y1, left + x1, 2]
    return (red / 255.0) ** 2, (green / 255.0) ** 2, (blue / 255.0) ** 2


@compiled
def mixture(m, u, v, x, y, z, footprint):
    """Return the mix of a material's two colors, and its brightness, at a point, for all patterns but PICTURE."""
    pattern, seed, variation = int(m[PATTERN]), int(m[SEED]), m[VARIATION]
    inverse = 1.0 / m[SCALE]
    f = footprint * inverse
    if pattern == SOLID:
        return 0.5 + 0.8 * fractal3(x * inverse, y * inverse, z * inverse, f, 4, seed), 1.0
    if pattern == STAINED:
        return 0.5 + 0.8 * fractal2(u * inverse, v * inverse, f, 5, seed), 1.0
    if pattern == WOOD:
        return planks(u * inverse, v * inverse, m[ASPECT], f, seed, variation)
    if pattern in (BRICK, TILE):
        shift = 0.5 if pattern == BRICK else 0.0
        return bricks(u * inverse / m[ASPECT], v * inverse, shift, 0.05, f, seed, variation)
    if pattern == CHECKER:
        odd = (floor(u * inverse) + floor(v * inverse)) & 1
        return 0.5 + (odd - 0.5) * visible(f), 1.0
    if pattern == STRIPES:
        return joint(u * inverse, 0.2 + 0.6 * variation, f), 1.0
    if pattern == FACADE:
        return facade(u * inverse / m[ASPECT], v * inverse, f, m[ASPECT], seed)
    if pattern == SPECKLE:
        grain = noise2(u * inverse, v * inverse, seed)
        return 0.3 + (ramp(grain, 0.6, 0.7) - 0.3) * visible(f), 1.0
    if pattern == WEAVE:
        threads = sin(6.283 * u * inverse) * sin(6.283 * v * inverse)
        return 0.5 + 0.3 * threads * visible(2.0 * f), 1.0 + 0.5 * fractal2(u * inverse, v * inverse, f, 2, seed)
    if pattern == LEAVES:
        tone = fractal3(x * inverse, y * inverse, z * inverse, f, 3, seed)
        return 0.5 + tone, max(0.1, 1.0 + 1.3 * tone)
    if pattern == MARBLE:
        vein = abs(fractal2(u * inverse, v * inverse, f, 5, seed))
        return 1.0 - ramp(vein, 0.0, 0.25), 1.0
    if pattern == SPINES:
        return spines(u * inverse, v * inverse, f, seed)
    if pattern == WRITING:
        return writing(u * inverse, -v * inverse, f, seed), 1.0
    return 0.0, 1.0


@compiled
def surface_color(m, pictures, u, v, s, t, x, y, z, across, footprint):
    """Return the linear RGB reflectance of a packed material.

    Args:
        m: the packed material.
        pictures: the atlas.
        u, v: position over the face, meters.
        s, t: the same in [0, 1].
        x, y, z: position in the primitive's frame, meters.
        across: extent of the face along s, meters.
        footprint: length that a pixel covers, meters.
    """
    if m[ANGLE] != 0.0:
        c, d = cos(m[ANGLE]), sin(m[ANGLE])
        u, v = c * u + d * v, c * v - d * u
    if int(m[PATTERN]) == PICTURE:
        if m[SCALE] > 0.0:
            s, t = u / m[SCALE], v / m[SCALE]
            texels = footprint / m[SCALE] * PICTURE_SIZE
        else:
            texels = footprint / across * (m[RIGHT] - m[LEFT]) * PICTURE_SIZE
            s, t = m[LEFT] + s * (m[RIGHT] - m[LEFT]) * 0.9999, m[BOTTOM] + t * (m[TOP] - m[BOTTOM]) * 0.9999
        red, green, blue = picture(pictures, int(m[PHOTOGRAPH]), s, t, texels)
        bright = 1.0
        red, green, blue = red * m[FIRST], green * m[FIRST + 1], blue * m[FIRST + 2]
    else:
        mix, bright = mixture(m, u, v, x, y, z, footprint)
        mix = min(1.0, max(0.0, mix))
        red = m[FIRST] + (m[SECOND] - m[FIRST]) * mix
        green = m[FIRST + 1] + (m[SECOND + 1] - m[FIRST + 1]) * mix
        blue = m[FIRST + 2] + (m[SECOND + 2] - m[FIRST + 2]) * mix
    if m[DIRT] > 0.0:
        inverse = 1.0 / m[DIRT_SCALE]
        bright *= 1.0 + m[DIRT] * fractal3(
            x * inverse, y * inverse, z * inverse, footprint * inverse, 3, int(m[SEED]) + 77
        )
    bright = max(0.05, bright)
    return red * bright, green * bright, blue * bright
