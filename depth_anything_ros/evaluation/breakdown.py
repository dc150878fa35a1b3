"""Where depth is wrong: by range, by region of the image, and whether a stated uncertainty is honest."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from depth_anything_ros.evaluation.obstacles import RANGE_EDGES

GRID = 3
"""Rows and columns of regions."""


@dataclass(frozen=True)
class Breakdown:
    """Errors of one image in parts; NaN where a part has no pixel.

    Attributes:
        abs_rel: mean |P - Z| / Z.
        bias: mean ln P - ln Z; positive where depth is too far.
        pixels: number of pixels.
    """

    abs_rel: np.ndarray
    bias: np.ndarray
    pixels: np.ndarray


def by_range(
    predicted: np.ndarray, true: np.ndarray, mask: np.ndarray, edges: Sequence[float] = RANGE_EDGES
) -> Breakdown:
    """Return the error by true depth, arrays (bins,).

    Args:
        predicted: positive depth (H, W), meters.
        true: true depth (H, W), meters.
        mask: bool (H, W), the scored pixels.
        edges: limits of the bins, meters; a bin contains its lower limit.
    """
    part = np.clip(np.searchsorted(edges, true[mask], side="right") - 1, 0, len(edges) - 2)
    return _by_part(predicted[mask], true[mask], part, len(edges) - 1)


def by_region(predicted: np.ndarray, true: np.ndarray, mask: np.ndarray, grid: int = GRID) -> Breakdown:
    """Return the error by region of the image, arrays (grid, grid), rows from the top.

    Args:
        predicted: positive depth (H, W), meters.
        true: true depth (H, W), meters.
        mask: bool (H, W), the scored pixels.
        grid: number of rows and columns.
    """
    height, width = mask.shape
    rows, columns = (np.arange(side) * grid // side for side in (height, width))
    part = (rows[:, np.newaxis] * grid + columns)[mask]
    found = _by_part(predicted[mask], true[mask], part, grid * grid)
    return Breakdown(*(values.reshape(grid, grid) for values in (found.abs_rel, found.bias, found.pixels)))


def _by_part(predicted: np.ndarray, true: np.ndarray, part: np.ndarray, count: int) -> Breakdown:
    p, z = predicted.astype(np.float64), true.astype(np.float64)
    pixels = np.bincount(part, minlength=count)
    sums = [np.bincount(part, values, minlength=count) for values in (np.abs(p - z) / z, np.log(p) - np.log(z))]
    abs_rel, bias = (np.where(pixels > 0, total / np.maximum(pixels, 1), np.nan) for total in sums)
    return Breakdown(abs_rel, bias, pixels)


@dataclass(frozen=True)
class Honesty:
    """Whether a stated relative standard deviation σ of depth is the real one.

    Attributes:
        normalized_error: mean ((ln P - ln Z) / σ)^2; 1 if σ is right, larger if it is too small.
        within_one: share of pixels within one σ; 0.683 for normal errors.
        within_two: share of pixels within two σ; 0.954 for normal errors.
    """

    normalized_error: float
    within_one: float
    within_two: float


def honesty(predicted: np.ndarray, true: np.ndarray, sigma: np.ndarray) -> Honesty:
    """Compare errors with the uncertainty that was stated for them.

    Args:
        predicted: positive depth (N,), meters.
        true: true depth (N,), meters.
        sigma: relative standard deviation (N,), that of ln P; positive.

    Raises:
        ValueError: there are no pixels, or a σ is not positive.
    """
    if not len(true) or not np.all(sigma > 0):
        raise ValueError("honesty needs pixels, and a positive sigma for each")
    normalized = np.abs(np.log(predicted.astype(np.float64)) - np.log(true.astype(np.float64))) / sigma
    return Honesty(float(np.mean(normalized**2)), float(np.mean(normalized <= 1)), float(np.mean(normalized <= 2)))
