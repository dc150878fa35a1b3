"""Alignment of predictions to meters: scale and shift for each image, in the space that the prediction has."""

from __future__ import annotations

import numpy as np

from depth_anything_ros.evaluation.fits import (
    affine_least_squares,
    affine_robust,
    median_ratio,
    scale_least_squares,
    scale_robust,
)
from depth_anything_ros.evaluation.protocol import FARTHEST, Alignment, SetRules
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


def align_to(
    prediction: np.ndarray, output: str, true_depth: np.ndarray, mask: np.ndarray, rules: SetRules
) -> np.ndarray:
    """Align a prediction to the truth as a protocol requires.

    Args:
        prediction: (H, W), inverse depth of unknown scale and shift, or depth.
        output: "inverse_depth" or "depth", the quantity of ``prediction``.
        true_depth: depth (H, W), meters.
        mask: bool (H, W), the scored pixels; scale and shift are fitted to them.
        rules: alignment, floor and limits.

    Returns:
        Depth, float64 (H, W), meters, positive and finite.

    Raises:
        ValueError: the protocol aligns depth and the prediction is inverse depth of unknown shift, or the prediction
            has no scale.
    """
    alignment, values = rules.alignment, in_space(prediction, output, rules.alignment.space)
    fit_mask, fit_values, fit_depth = mask, values, true_depth
    if alignment.max_side is not None:
        rows, columns = _nearest_grid(mask.shape, alignment.max_side)
        fit_mask, fit_values, fit_depth = (part[np.ix_(rows, columns)] for part in (mask, values, true_depth))
        if not fit_mask.any():
            fit_mask, fit_values, fit_depth = mask, values, true_depth
    a, b = fit_alignment(fit_values[fit_mask], fit_depth[fit_mask], alignment)
    floor = 1.0 / float(true_depth[mask].max()) if rules.floor == FARTHEST else float(rules.floor)
    return to_depth(a * values.astype(np.float64) + b, floor, rules)


def to_depth(aligned: np.ndarray, floor: float, rules: SetRules) -> np.ndarray:
    """Convert aligned values to depth.

    Args:
        aligned: float64 of any shape, in the space of the alignment.
        floor: lower limit of inverse depth, 1/meters.
        rules: the space and the limits of depth.

    Returns:
        Depth in meters, positive and finite.
    """
    if rules.alignment.space == "inverse_depth":
        depth = 1.0 / np.maximum(aligned, floor)
    elif rules.alignment.space == "log":
        depth = np.exp(np.clip(aligned, -700, 700))
    else:
        depth = np.maximum(aligned, NEAREST)
    return np.clip(depth, rules.min_depth, rules.max_depth) if rules.clip else depth


def in_space(prediction: np.ndarray, output: str, space: str) -> np.ndarray:
    """Convert a network's output to the quantity in which it is aligned.

    Args:
        prediction: the output of the network.
        output: "inverse_depth" or "depth".
        space: "inverse_depth", "depth" or "log".

    Raises:
        ValueError: inverse depth of unknown shift would have to become depth: its inverse is not depth up to any scale
            and shift.
    """
    if space == "inverse_depth":
        return as_inverse_depth(prediction, output)
    if output != "depth":
        raise ValueError(
            f"the prediction is {output.replace('_', ' ')} of unknown scale and shift, so it cannot be aligned in "
            f"{space}; only inverse_depth works"
        )
    depth = np.maximum(prediction.astype(np.float64), NEAREST)
    return np.log(depth) if space == "log" else depth


def fit_alignment(values: np.ndarray, true_depth: np.ndarray, alignment: Alignment) -> tuple[float, float]:
    """Fit the scale a and shift b with which ``a * values + b`` is the truth in the alignment's space.

    In log space "scale" is a shift of the logarithm, so that depth gets a factor. The robust fit minimizes
    absolute errors. In depth they are relative to the truth, as in MoGe's evaluation.

    Args:
        values: prediction (N,) in the space of the alignment.
        true_depth: depth (N,), meters.
        alignment: space, method and fit.

    Raises:
        ValueError: the prediction has no scale.
    """
    if alignment.method == "none":
        return 1.0, 0.0
    is_inverse, is_robust = alignment.space == "inverse_depth", alignment.fit == "robust"
    if is_inverse and alignment.method == "scale_and_shift" and not is_robust:
        scale = fit_inverse_depth(values, true_depth)
        return scale.a, scale.b
    x, z = values.astype(np.float64), true_depth.astype(np.float64)
    if alignment.space == "log":
        return _fit_log(x, np.log(z), alignment)
    target, weights = (1.0 / z, np.ones_like(z)) if is_inverse else (z, 1.0 / z)
    if alignment.method == "median":
        return median_ratio(x, target), 0.0
    if alignment.method == "scale":
        return (scale_robust(x, target, weights) if is_robust else scale_least_squares(x, target)), 0.0
    return affine_robust(x, target, weights) if is_robust else affine_least_squares(x, target)


def _fit_log(x: np.ndarray, target: np.ndarray, alignment: Alignment) -> tuple[float, float]:
    is_robust = alignment.fit == "robust"
    if alignment.method == "scale_and_shift":
        return affine_robust(x, target, np.ones_like(x)) if is_robust else affine_least_squares(x, target)
    uses_median = is_robust or alignment.method == "median"
    return 1.0, float(np.median(target - x) if uses_median else np.mean(target - x))


def _nearest_grid(shape: tuple[int, ...], max_side: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the rows and columns of a nearest-neighbor copy, as PyTorch's Upsample takes them in Marigold."""
    factor = min(1.0, max_side / max(shape))
    sizes = [int(side * factor) for side in shape]
    rows, columns = (
        np.minimum((np.arange(size) / factor).astype(int), side - 1) for size, side in zip(sizes, shape, strict=True)
    )
    return rows, columns
