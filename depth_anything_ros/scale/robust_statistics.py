"""Statistics of residuals that hold with outliers, and where errors are alike over whole objects."""

from __future__ import annotations

import math

import numpy as np

MIN_SIGMA = 0.02
"""Smallest relative error of a network's depth that the fit believes in."""
USUAL_SIGMA = 0.1
"""Relative error of a usual network's depth, for which few references are no better measurement."""
USUAL_COUNT = 8
"""References, or blocks of the image, that outweigh this usual error."""
BLOCK = 0.15
"""Fraction of the image's width. Within blocks of this size, a network's errors may be alike."""
_SURE_SHARE, _SURE_QUANTILE = 0.3, 0.385
"""This share of the residuals is taken to be consistent; of a normal distribution it lies within this many sigma."""


def spread_of(r: np.ndarray) -> float:
    """Return the standard deviation of the consistent residuals, shrunk to that of a usual network if they are few."""
    sizes = np.abs(r)
    near = np.partition(sizes, int(_SURE_SHARE * len(r)))[int(_SURE_SHARE * len(r))] / _SURE_QUANTILE
    consistent = sizes[sizes < 3 * max(near, MIN_SIGMA)]
    total = float(consistent @ consistent) + USUAL_COUNT * USUAL_SIGMA**2
    return max(math.sqrt(total / (len(consistent) + USUAL_COUNT)), MIN_SIGMA)


def median(values: np.ndarray) -> float:
    """Return a median; of an even number of values, the upper of the middle two. `np.median` takes 5 times as long."""
    middle = len(values) // 2
    return float(np.partition(values, middle)[middle])


def blocks_of(pixels: np.ndarray, width: int) -> np.ndarray:
    """Return the number of the block of each pixel, int (N,): squares of `BLOCK` of the width.

    Args:
        pixels: float64 (N, 2), u and v, within the map.
        width: Width of the map.
    """
    block = np.maximum((pixels + 0.5) * (1 / (BLOCK * width)), 0.0).astype(np.intp)
    return block[:, 1] * (int(1 / BLOCK) + 2) + block[:, 0]


def inflation_of(scores: np.ndarray, hessian: np.ndarray, blocks: np.ndarray) -> float:
    """Return by how much the variance exceeds that of independent residuals.

    A network's errors are alike over whole objects. The sum of the scores of a block shows it (cluster-robust variance,
    Liang and Zeger 1986). The ratio is the mean over both parameters, and at least 1.

    Args:
        scores: float64 (2, N), the gradients of the residuals' cost by ln a and b.
        hessian: float64 (2, 2), of the whole cost.
        blocks: int (N,), from `blocks_of`.
    """
    count = int(np.count_nonzero(np.bincount(blocks)))
    sums = np.array([np.bincount(blocks, score) for score in scores])
    robust = count / max(count - 1, 1) * sums @ sums.T
    independent = scores @ scores.T + 1e-9 * hessian
    ratio = float((inverse(independent) * robust).sum()) / 2  # half the trace of the product; both are symmetric
    return min(max(ratio, 1.0), 1.0 * scores.shape[1])


def inverse(matrix: np.ndarray) -> np.ndarray:
    """Return the inverse of a symmetric, positive definite (2, 2); ten times as fast as `np.linalg.inv`.

    Raises:
        LinAlgError: the matrix is singular.
    """
    (aa, ab), (_, bb) = matrix.tolist()
    determinant = aa * bb - ab * ab
    if not determinant > 0:
        raise np.linalg.LinAlgError("singular matrix")
    return np.array([[bb, -ab], [-ab, aa]]) * (1 / determinant)
