"""Alignment of relative predictions to meters: the best scale and shift in inverse depth for each image."""

from __future__ import annotations

import numpy as np

from depth_anything_ros.postprocessing.meters import Scale, fit_scale

NEAREST = 1e-3
"""Meters. Predicted depth is clamped here, because the inverse of a smaller value means nothing."""


def fit_inverse_depth(predicted: np.ndarray, true_depth: np.ndarray) -> Scale:
    """Return the scale (a, b) that minimizes sum (a * predicted + b - 1 / true_depth)^2.

    A constant prediction has no slope: then a = 0 and b is the mean of 1 / true_depth, the least-squares solution of
    least norm.

    Args:
        predicted: inverse depth (N,), any unit.
        true_depth: depth (N,), meters.
    """
    if predicted.max() == predicted.min():
        return Scale(0.0, float(np.mean(1.0 / true_depth.astype(np.float64))))
    return fit_scale(predicted, true_depth)


def align(inverse_depth: np.ndarray, true_depth: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Fit scale and shift to an image and return its depth in meters.

    Inverse depth is floored at 1 / max(true_depth), as in MoGe's evaluation. A fitted line may cross zero, and a few
    pixels at infinity would then dominate the mean.

    Args:
        inverse_depth: prediction (H, W) of unknown scale and shift.
        true_depth: depth (H, W), meters.
        mask: bool (H, W); scale and shift are fitted to these pixels.

    Returns:
        Depth, float64 (H, W), meters.
    """
    reference = true_depth[mask]
    scale = fit_inverse_depth(inverse_depth[mask], reference)
    floor = 1.0 / float(reference.max())
    return 1.0 / np.maximum(scale.a * inverse_depth.astype(np.float64) + scale.b, floor)


def as_inverse_depth(prediction: np.ndarray, output: str) -> np.ndarray:
    """Convert a network's output to inverse depth.

    Args:
        prediction: the output of the network.
        output: "inverse_depth" returns the prediction unchanged, "depth" (meters) returns 1 / prediction.

    Raises:
        ValueError: ``output`` is neither.
    """
    if output == "inverse_depth":
        return prediction
    if output == "depth":
        return 1.0 / np.maximum(prediction, NEAREST)
    raise ValueError(f"output is {output!r}, must be 'inverse_depth' or 'depth'")
