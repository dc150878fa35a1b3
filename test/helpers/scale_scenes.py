"""Scenes of known depth for the scale tests: a network that is exact up to scale, shift and a stated error."""

from __future__ import annotations

import numpy as np

from depth_anything_ros.scale.references import References, references

HEIGHT, WIDTH = 480, 640
A, B = 0.7, 0.05
BLOCK = 40
"""Pixels along which depth and the network's error are constant."""


def blocks(values: np.ndarray) -> np.ndarray:
    """Return a map of the full size from one value for each block."""
    return values.repeat(BLOCK, axis=0).repeat(BLOCK, axis=1)


def scene(seed: int, error: float = 0.08) -> tuple[np.ndarray, np.ndarray]:
    """Return inverse depth of a network, and true depth that differs from its scaled depth by an error, in ln Z."""
    rng = np.random.default_rng(seed)
    shape = HEIGHT // BLOCK, WIDTH // BLOCK
    output = blocks(0.2 + 0.8 * rng.random(shape)).astype(np.float32)
    depth = 1 / (A * output + B) * np.exp(blocks(error * rng.standard_normal(shape)))
    return output, depth


def observe(depth: np.ndarray, count: int, seed: int, outliers: float = 0.0, noise: float = 0.01) -> References:
    """Return references at random pixels; outliers are wrong by a factor of up to 4."""
    rng = np.random.default_rng(seed)
    pixels = np.stack([rng.integers(0, depth.shape[1], count), rng.integers(0, depth.shape[0], count)], axis=1)
    z = depth[pixels[:, 1], pixels[:, 0]] * np.exp(noise * rng.standard_normal(count))
    is_outlier = rng.random(count) < outliers
    z[is_outlier] *= np.exp(rng.uniform(-1.4, 1.4, is_outlier.sum()))
    return references(pixels, z, noise)
