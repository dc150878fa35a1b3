"""Hashed value noise. Octaves that are finer than the pixel's footprint are left out, as in a mip map."""

from __future__ import annotations

from math import floor

from depth_anything_ros.synthetic.compilation import compiled


@compiled
def hashed(x: int, y: int, z: int) -> float:
    """Return a pseudo-random number in [0, 1) from three integers."""
    n = (x * 73856093) ^ (y * 19349663) ^ (z * 83492791)
    n = (n ^ (n >> 15)) * 0x1E3779B97F4A7C15
    n = (n ^ (n >> 29)) * 0x3F58476D1CE4E5B9
    return ((n >> 38) & 0xFFFFFF) / 16777216.0


@compiled
def noise2(x: float, y: float, seed: int) -> float:
    """Return value noise over the plane, in [0, 1], with features one unit wide."""
    ix, iy = floor(x), floor(y)
    x, y = x - ix, y - iy
    x, y = x * x * (3.0 - 2.0 * x), y * y * (3.0 - 2.0 * y)
    a, b = hashed(ix, iy, seed), hashed(ix + 1, iy, seed)
    c, d = hashed(ix, iy + 1, seed), hashed(ix + 1, iy + 1, seed)
    top = a + (b - a) * x
    return top + (c + (d - c) * x - top) * y


@compiled
def noise3(x: float, y: float, z: float, seed: int) -> float:
    """Return value noise in space, in [0, 1], with features one unit wide."""
    iz = floor(z)
    z = z - iz
    z = z * z * (3.0 - 2.0 * z)
    near = noise2(x, y, seed + iz * 7919)
    return near + (noise2(x, y, seed + (iz + 1) * 7919) - near) * z


@compiled
def visible(footprint: float) -> float:
    """Return the remaining contrast of a pattern with period 1 in a pixel of size ``footprint``: 1 fine, 0 lost."""
    return min(1.0, max(0.0, 1.6 - 2.0 * footprint))


@compiled
def fractal2(x: float, y: float, footprint: float, octaves: int, seed: int) -> float:
    """Return fractal noise over the plane around 0, about [-1, 1].

    Args:
        x: position.
        y: position.
        footprint: size of the pixel.
        octaves: most octaves.
        seed: Seed of the noise.
    """
    total, amplitude = 0.0, 1.0
    for octave in range(octaves):
        weight = visible(footprint)
        if weight <= 0.0:
            break
        total += weight * amplitude * (noise2(x, y, seed + octave) - 0.5)
        x, y = 1.6 * x + 1.2 * y + 17.3, 1.6 * y - 1.2 * x + 5.1
        footprint *= 2.0
        amplitude *= 0.55
    return total * 1.4


@compiled
def fractal3(x: float, y: float, z: float, footprint: float, octaves: int, seed: int) -> float:
    """Return fractal noise in space around 0, about [-1, 1]; arguments as for `fractal2`."""
    total, amplitude = 0.0, 1.0
    for octave in range(octaves):
        weight = visible(footprint)
        if weight <= 0.0:
            break
        total += weight * amplitude * (noise3(x, y, z, seed + octave) - 0.5)
        x, y, z = 1.6 * x + 1.2 * y + 17.3, 1.6 * y - 1.2 * x + 5.1, 2.0 * z + 3.7
        footprint *= 2.0
        amplitude *= 0.55
    return total * 1.4
