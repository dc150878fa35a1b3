"""Boundary F1, as MoGe defines it: how well occlusion edges of the prediction match those of the truth.

A pixel and a neighbor within ``radius`` have an edge if the neighbor is farther by more than a share t of the pixel's
depth. F1 compares the edges of prediction and truth and is averaged over ten t from 0.05 to 0.25, weighted by t. Depth
is not aligned, but ratios ignore its scale. MoGe's code swaps precision and recall; F1 is the same.
"""

from __future__ import annotations

import numpy as np

THRESHOLDS = np.linspace(0.05, 0.25, 10)


def boundary_f1(predicted: np.ndarray, true: np.ndarray, mask: np.ndarray, radius: int = 1) -> float:
    """Return the boundary F1, from 0 to 1; 0 if prediction and truth share no edge.

    Args:
        predicted: positive depth (H, W).
        true: true depth (H, W); only its pixels in ``mask`` are used.
        mask: bool (H, W), pixels with known depth.
        radius: pixels; neighbors are within a circle of this radius.
    """
    height, width = mask.shape
    if min(height, width) <= 2 * radius:
        return 0.0
    inner = slice(radius, height - radius), slice(radius, width - radius)
    hits, true_edges, predicted_edges = np.zeros((3, len(THRESHOLDS)))
    for dy in range(-radius, radius + 1):
        for dx in range(-radius, radius + 1):
            if dx * dx + dy * dy > radius * radius or dx == dy == 0:
                continue
            other = slice(radius + dy, height - radius + dy), slice(radius + dx, width - radius + dx)
            both = mask[inner] & mask[other]
            steps_true = _levels(true[other][both], true[inner][both])
            steps_predicted = _levels(predicted[other][both], predicted[inner][both])
            true_edges += _at_least(steps_true)
            predicted_edges += _at_least(steps_predicted)
            hits += _at_least(np.minimum(steps_true, steps_predicted))
    precision = hits / np.maximum(predicted_edges, 1e-12)
    recall = hits / np.maximum(true_edges, 1e-12)
    f1 = 2 * precision * recall / np.maximum(precision + recall, 1e-12)
    return float(THRESHOLDS @ f1 / THRESHOLDS.sum())


def _levels(neighbor: np.ndarray, center: np.ndarray) -> np.ndarray:
    """Return how many thresholds each step from center to neighbor exceeds."""
    ratio = neighbor.astype(np.float64) / center.astype(np.float64)
    return np.searchsorted(1 + THRESHOLDS, ratio, side="left")


def _at_least(levels: np.ndarray) -> np.ndarray:
    """Return how many steps exceed each threshold."""
    counts = np.bincount(levels, minlength=len(THRESHOLDS) + 1)
    return counts[::-1].cumsum()[::-1][1:].astype(np.float64)
