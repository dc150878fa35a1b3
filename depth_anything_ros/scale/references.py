"""References: places in an image whose depth another source knows."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

CELL = 16
"""Pixels. References in one cell of this size see the same surface and count as one independent reference."""


@dataclass(frozen=True)
class References:
    """Known depths of one source at one time.

    Attributes:
        pixels: float64 (N, 2), u and v; the center of the top left pixel is (0, 0).
        depth: float64 (N,), meters along the optical axis.
        sigma: float64 (N,), relative standard deviation: that of ln(depth).
        is_bound: bool (N,), True where the surface is known only to be at least this far away.
        common_sigma: relative standard deviation of an error that all depths of the source share, such as the scale of
            visual-inertial odometry.
        time: seconds, the time of the measurement.
        source: the source's name, for reports.
        pose_sigma: the same of an error that the depths of this measurement share, but not those of the next one, such
            as that of a distance traveled.
        shift_sigma: standard deviation, in 1/meters, of an error of 1 / depth that the depths of this measurement
            share, such as that of a rotation between two views.
        max_spread: largest relative standard deviation from the scaled depth at which the references are believed.
    """

    pixels: np.ndarray
    depth: np.ndarray
    sigma: np.ndarray
    is_bound: np.ndarray
    common_sigma: float = 0.0
    time: float = 0.0
    source: str = ""
    pose_sigma: float = 0.0
    shift_sigma: float = 0.0
    max_spread: float = math.inf

    def __len__(self) -> int:
        return len(self.depth)

    def take(self, chosen: np.ndarray) -> References:
        """Return some of the references.

        Args:
            chosen: bool (N,) or indices.
        """
        return replace(
            self,
            pixels=self.pixels[chosen],
            depth=self.depth[chosen],
            sigma=self.sigma[chosen],
            is_bound=self.is_bound[chosen],
        )


def cells_of(pixels: np.ndarray, size: float) -> np.ndarray:
    """Return a number for the cell of each pixel, the same for pixels of one square.

    Args:
        pixels: float64 (N, 2), u and v.
        size: side of the squares, pixels.
    """
    cells = np.floor(pixels / size).astype(np.int64)
    return cells[:, 1] * 100_003 + cells[:, 0]


def pixel_grid(width: int, height: int, spacing: float) -> np.ndarray:
    """Return pixels (N, 2) as a grid over an image: the middle of each square of ``spacing`` pixels.

    Args:
        width: Width of the image.
        height: Height of the image.
        spacing: pixels between neighbors.
    """
    columns, rows = np.arange(spacing / 2, width, spacing), np.arange(spacing / 2, height, spacing)
    return np.stack(np.meshgrid(columns, rows), axis=-1).reshape(-1, 2)


def references(
    pixels: Sequence[Sequence[float]] | np.ndarray,
    depth: Sequence[float] | np.ndarray,
    sigma: float | np.ndarray = 0.01,
    is_bound: bool | np.ndarray = False,
    common_sigma: float = 0.0,
    time: float = 0.0,
    source: str = "points",
) -> References:
    """Return checked references; those that are not finite and positive are left out.

    Args:
        pixels: (N, 2), u and v.
        depth: (N,), meters along the optical axis.
        sigma: relative standard deviation, of all or of each.
        is_bound: True where the depth is only a lower bound.
        common_sigma: see `References`.
        time: seconds.
        source: the source's name.

    Raises:
        ValueError: the shapes do not match, or a standard deviation is not positive.
    """
    uv = np.asarray(pixels, np.float64).reshape(-1, 2)
    z = np.asarray(depth, np.float64).reshape(-1)
    if len(uv) != len(z):
        raise ValueError(f"there are {len(uv)} pixels and {len(z)} depths; each reference needs both")
    sigmas = np.broadcast_to(np.asarray(sigma, np.float64), z.shape)
    bounds = np.broadcast_to(np.asarray(is_bound, bool), z.shape)
    if not np.all(sigmas > 0) or common_sigma < 0:
        raise ValueError("standard deviations of references must be positive")
    known = np.isfinite(z) & (z > 0) & np.isfinite(uv).all(axis=1)
    return References(uv[known], z[known], sigmas[known], bounds[known], float(common_sigma), float(time), source)


def sample(values: np.ndarray, pixels: np.ndarray, nearest_is_largest: bool) -> np.ndarray:
    """Return a map's value at each reference: that of the nearest surface among the 2x2 pixels around it.

    Args:
        values: float32 (H, W).
        pixels: float64 (N, 2), u and v.
        nearest_is_largest: whether the map is inverse depth.

    Returns:
        float64 (N,); NaN outside the map.
    """
    height, width = values.shape
    u, v = pixels[:, 0], pixels[:, 1]
    is_inside = (u >= -0.5) & (u <= width - 0.5) & (v >= -0.5) & (v <= height - 0.5)
    left = np.clip(np.floor(u), 0, width - 1).astype(np.intp)
    right = np.clip(np.ceil(u), 0, width - 1).astype(np.intp)  # of a whole number, the pixel itself
    top = width * np.clip(np.floor(v), 0, height - 1).astype(np.intp)
    bottom = width * np.clip(np.ceil(v), 0, height - 1).astype(np.intp)
    flat, nearest = values.reshape(-1), np.maximum if nearest_is_largest else np.minimum
    above = nearest(flat[top + left], flat[top + right])
    below = nearest(flat[bottom + left], flat[bottom + right])
    return np.where(is_inside, nearest(above, below).astype(np.float64), np.nan)
