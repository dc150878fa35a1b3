"""Fits of one or two numbers, y = a x + b, in float64: closed forms, and robust ones that minimize absolute errors."""

from __future__ import annotations

import numpy as np

_ITERATIONS = 100
_SMALLEST = 1e-6
"""Residuals below this share of the typical target count alike, or a pixel that fits exactly would decide alone."""


def weighted_median(values: np.ndarray, weights: np.ndarray) -> float:
    """Return the value m that minimizes sum weights * |values - m|; of several, the smallest.

    Args:
        values: float64 (N,).
        weights: float64 (N,), none negative, with a positive sum.
    """
    order = np.argsort(values, kind="stable")
    below = np.cumsum(weights[order])
    return float(values[order[np.searchsorted(below, 0.5 * below[-1])]])


def median_ratio(x: np.ndarray, y: np.ndarray) -> float:
    """Return median(y) / median(x), as in Monodepth2.

    Args:
        x: float64 (N,), the prediction.
        y: float64 (N,), the target.

    Raises:
        ValueError: the median of ``x`` is zero.
    """
    middle = float(np.median(x))
    if middle == 0:
        raise ValueError("the median of the prediction is zero, so no ratio of medians exists")
    return float(np.median(y)) / middle


def scale_least_squares(x: np.ndarray, y: np.ndarray) -> float:
    """Return the a that minimizes sum (a x - y)^2.

    Args:
        x: float64 (N,), the prediction.
        y: float64 (N,), the target.

    Raises:
        ValueError: the prediction is zero everywhere.
    """
    power = float(x @ x)
    if power == 0:
        raise ValueError("the prediction is zero everywhere, so it has no scale")
    return float(x @ y) / power


def scale_robust(x: np.ndarray, y: np.ndarray, weights: np.ndarray) -> float:
    """Return the a that minimizes sum weights |a x - y|: a weighted median of y / x, as in MoGe's evaluation.

    Args:
        x: float64 (N,), the prediction.
        y: float64 (N,), the target.
        weights: float64 (N,), positive.

    Raises:
        ValueError: the prediction is zero everywhere.
    """
    used = x != 0
    if not used.any():
        raise ValueError("the prediction is zero everywhere, so it has no scale")
    return weighted_median(y[used] / x[used], weights[used] * np.abs(x[used]))


def affine_least_squares(x: np.ndarray, y: np.ndarray) -> tuple[float, float]:
    """Return the (a, b) that minimize sum (a x + b - y)^2. A constant x has no slope: then a = 0, b = mean(y).

    Args:
        x: float64 (N,), the prediction.
        y: float64 (N,), the target.
    """
    return _affine(x, y, np.ones_like(y))


def affine_robust(x: np.ndarray, y: np.ndarray, weights: np.ndarray) -> tuple[float, float]:
    """Return the (a, b) that minimize sum weights |a x + b - y|, by iteratively reweighted least squares.

    The number of iterations is fixed, so the result depends on the data alone.

    Args:
        x: float64 (N,), the prediction.
        y: float64 (N,), the target.
        weights: float64 (N,), positive.
    """
    typical = _SMALLEST * float(np.median(weights * np.abs(y)))
    a, b = _affine(x, y, weights**2)
    for _ in range(_ITERATIONS):
        error = np.maximum(weights * np.abs(a * x + b - y), max(typical, 1e-300))
        a, b = _affine(x, y, weights**2 / error)
    return a, b


def _affine(x: np.ndarray, y: np.ndarray, weights: np.ndarray) -> tuple[float, float]:
    """Return the weighted least-squares line; centered sums keep precision under a large shift."""
    total = float(weights.sum())
    x_mean, y_mean = float(weights @ x) / total, float(weights @ y) / total
    centered = x - x_mean
    weighted = weights * centered
    spread = float(weighted @ centered)
    if spread <= total * (1e-12 * x_mean) ** 2:
        return 0.0, y_mean
    a = float(weighted @ (y - y_mean)) / spread
    return a, y_mean - a * x_mean
