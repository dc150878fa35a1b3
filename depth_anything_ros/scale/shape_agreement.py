"""How well references agree with the shape of a network's depth, wherever its scale and its smooth errors are.

A network errs over whole objects, and such an error may look like a wrong position of the sensor. So only the shape
within small blocks of the image counts, each after its own fit.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np

from depth_anything_ros.scale.calibration import FrameFit
from depth_anything_ros.scale.kinds import ScaleKind, log_depth

_WORST = 0.5
"""Largest error in ln Z that a reference counts with."""
_PER_BLOCK, _MAX_COLUMNS = 16, 8
"""References in a block, and most blocks across the image."""
_ROUNDS, _NOISE = 4, 0.03
"""Of the robust fit to a block: rounds, and the error in ln Z below which residuals count equally."""
_RIDGE, _MAX_SLOPE = 1e-3, 3.0
"""Of the slope of that fit: the strength of its prior, 1, and its largest value."""


@dataclass(frozen=True)
class Blocks:
    """The block of the image that each reference belongs to.

    Attributes:
        numbers: int (N,).
        count: number of blocks.
    """

    numbers: np.ndarray
    count: int

    @classmethod
    def of(cls, pixels: np.ndarray, width: int, height: int) -> Blocks:
        """Return the blocks of references; fewer blocks for fewer references.

        Args:
            pixels: float64 (N, 2), u and v.
            width: Width of the image.
            height: Height of the image.
        """
        columns = min(max(round(math.sqrt(len(pixels) / _PER_BLOCK * width / height)), 1), _MAX_COLUMNS)
        rows = max(round(columns * height / width), 1)
        column = np.clip(pixels[:, 0] / width * columns, 0, columns - 1).astype(int)
        row = np.clip(pixels[:, 1] / height * rows, 0, rows - 1).astype(int)
        return cls(row * columns + column, rows * columns)


def log_map(kind: ScaleKind, one: FrameFit) -> np.ndarray:
    """Return ln Z of a frame by its own fit, float32 (H, W).

    A negative shift of inverse depth counts as 0, so that all of the frame has depth.

    Args:
        kind: how the output becomes depth.
        one: the frame.
    """
    b = one.result.b if kind.sign > 0 else max(one.result.b, 0.0)
    return log_depth(kind, one.frame.values, one.result.log_a, b).astype(np.float32)


def misfits(log_depths: np.ndarray, pixels: np.ndarray, log_z: np.ndarray, blocks: Blocks) -> np.ndarray:
    """Return how much each reference differs from the network's shape.

    In each block, a robust line maps the network's ln Z to that of the references.

    Args:
        log_depths: float32 (H, W), from `log_map`.
        pixels: float64 (N, 2), u and v of the references.
        log_z: float64 (N,), ln of their depth.
        blocks: Blocks of the references.

    Returns:
        Float64 (N,), errors in ln Z, at most 0.5; NaN outside the image.
    """
    u, v = (pixels[:, axis].astype(np.float32)[np.newaxis] for axis in (0, 1))
    errors = np.full(len(log_z), np.nan)
    if not len(log_z):
        return errors
    seen = cv2.remap(log_depths, u, v, cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT, borderValue=math.nan)[0]
    inside = np.isfinite(seen) & np.isfinite(log_z)
    x, y, block = seen[inside].astype(np.float64), log_z[inside], blocks.numbers[inside]

    def sums(values: np.ndarray) -> np.ndarray:
        return np.bincount(block, values, blocks.count)

    weights = residuals = np.ones(len(x))
    for _ in range(_ROUNDS):
        total = np.maximum(sums(weights), 1e-9)
        dx, dy = x - (sums(weights * x) / total)[block], y - (sums(weights * y) / total)[block]
        slope = np.clip((sums(weights * dx * dy) + _RIDGE) / (sums(weights * dx * dx) + _RIDGE), 0, _MAX_SLOPE)
        residuals = np.abs(dy - slope[block] * dx)
        weights = 1 / np.maximum(residuals, _NOISE)
    errors[inside] = np.minimum(residuals, _WORST)
    return errors
