"""Relative output made comparable with meters: the best scale and shift in inverse depth, image by image."""

from __future__ import annotations

import numpy as np

from depth_anything_ros.postprocessing.scale import Scale, fit_scale

NEAREST = 1e-3
"""Meters; predicted depth is not let below this, where its inverse would mean nothing."""


def fit_inverse_depth(predicted: np.ndarray, true_depth: np.ndarray) -> Scale:
    """The scale (a, b) that minimizes sum (a * predicted + b - 1 / true_depth)^2.

    ``predicted``: inverse depth (N,), any unit; ``true_depth``: (N,), meters. A constant prediction has no slope to
    find: a = 0 and b is the mean of 1 / true_depth, the least-squares solution of least norm.
    """
    if predicted.max() == predicted.min():
        return Scale(0.0, float(np.mean(1.0 / true_depth.astype(np.float64))))
    return fit_scale(predicted, true_depth)


def align(inverse_depth: np.ndarray, true_depth: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Depth float64 (H, W) in meters from inverse depth (H, W) of unknown scale and shift, fitted where ``mask`` is.

    ``true_depth``: (H, W), meters; ``mask``: bool (H, W). Inverse depth is floored at 1 / max(true_depth), as MoGe's
    evaluation does: a fitted line may cross zero, and a few pixels at infinity would otherwise decide the mean.
    """
    reference = true_depth[mask]
    scale = fit_inverse_depth(inverse_depth[mask], reference)
    floor = 1.0 / float(reference.max())
    return 1.0 / np.maximum(scale.a * inverse_depth.astype(np.float64) + scale.b, floor)


def as_inverse_depth(prediction: np.ndarray, output: str) -> np.ndarray:
    """What a network gave, as inverse depth: unchanged for ``output`` "inverse_depth", 1 / meters for "depth"."""
    if output == "inverse_depth":
        return prediction
    if output == "depth":
        return 1.0 / np.maximum(prediction, NEAREST)
    raise ValueError(f"output is {output!r}, must be 'inverse_depth' or 'depth'")
