"""The error of each pixel's depth: what the scale does not know, and what the network gets wrong."""

from __future__ import annotations

import numpy as np

from depth_anything_ros.scale.fit import ScaleKind
from depth_anything_ros.scale.tracker import ScaleState


def depth_sigma(
    depth: np.ndarray, kind: ScaleKind, state: ScaleState, residual: float, out: np.ndarray | None = None
) -> np.ndarray:
    """Return the standard deviation of each pixel's depth in meters, float32 (H, W); NaN or Inf where depth is.

    The error of (ln a, b) is carried to ln Z by its derivatives, which depend on Z alone: for inverse depth they are
    1 - b Z and Z, for depth 1 - b / Z and 1 / Z. The spread of the references around the scaled depth is added.

    Args:
        depth: float32 (H, W), meters.
        kind: how the network's output became depth.
        state: the scale and its covariance.
        residual: relative standard deviation of single pixels.
        out: takes the result.
    """
    covariance, b = state.total_covariance, state.b
    (aa, ab), (_, bb) = covariance
    with np.errstate(divide="ignore", invalid="ignore"):
        w = depth if kind.sign < 0 else 1 / depth
        # The quadratic form in (1 - b w, w), as a polynomial of w.
        linear, square = 2 * (ab - aa * b), aa * b * b - 2 * ab * b + bb
        variance = np.float32(square) * w
        variance += np.float32(linear)
        variance *= w
        variance += np.float32(aa + residual**2)
        np.maximum(variance, 0, out=variance)
        np.sqrt(variance, out=variance)
        return np.multiply(variance, depth, out=out)
