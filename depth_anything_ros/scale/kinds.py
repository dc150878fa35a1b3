"""How the output x of a network becomes depth: ln Z = -ln(a x + b) for inverse depth, ln Z = ln(a x + b) for depth."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

TINY = 1e-9
"""Smallest a x + b; below, there is no depth."""


@dataclass(frozen=True)
class ScaleKind:
    """How the output x of a network becomes depth Z.

    Attributes:
        sign: -1: Z = 1 / (a x + b); 1: Z = a x + b.
        has_shift: whether b is free; otherwise it is 0.
    """

    sign: int
    has_shift: bool


KINDS = {
    "inverse_affine": ScaleKind(-1, True),
    "depth_scale": ScaleKind(1, False),
    "depth_affine": ScaleKind(1, True),
    "metric": ScaleKind(1, False),
}
"""By the names of `zoo.record.SCALES`."""


def log_depth(kind: ScaleKind, x: np.ndarray | float, log_a: np.ndarray | float, b: np.ndarray | float) -> np.ndarray:
    """Return ln Z of a network's output.

    Args:
        kind: how the output becomes depth.
        x: the output.
        log_a: ln a.
        b: the shift.
    """
    return kind.sign * np.log(np.maximum(np.exp(log_a) * np.asarray(x) + b, TINY))


def log_depth_gradient(kind: ScaleKind, x: np.ndarray | float, log_a: float, b: float) -> np.ndarray:
    """Return the derivatives of ln Z by ln a and b, (2, ...); arguments as in `log_depth`."""
    ax = np.exp(log_a) * np.asarray(x)
    g = ax + b
    has_depth = g > TINY
    inverse = np.where(has_depth, 1 / np.where(has_depth, g, 1), 0)  # without depth there is no derivative
    return kind.sign * np.stack([ax * inverse, inverse if kind.has_shift else np.zeros_like(inverse)])


def common_covariance(b: float) -> np.ndarray:
    """Return the covariance of (ln a, b) if all depths share a relative error of 1, float64 (2, 2)."""
    direction = np.array([1.0, b])
    return np.outer(direction, direction)
