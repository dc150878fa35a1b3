"""The error of each pixel's depth, from the scale and from the network."""

from __future__ import annotations

import cv2
import numpy as np

from depth_anything_ros.scale.kinds import ScaleKind
from depth_anything_ros.scale.scale_state import ScaleState
from depth_anything_ros.scale.shape import SUPPORT_WIDTH, LocalError

EDGE = 0.5
"""Share of the range of ln Z close to a pixel that counts as its error: an edge may be a few pixels away."""
MAX_EDGE = 1.0
"""Largest range of ln Z that counts."""


def depth_sigma(
    depth: np.ndarray,
    kind: ScaleKind,
    state: ScaleState,
    residual: float,
    out: np.ndarray | None = None,
    local: LocalError | None = None,
) -> np.ndarray:
    """Return the standard deviation of each pixel's depth in meters, float32 (H, W); NaN or Inf where depth is.

    Far from the references, the error of (ln a, b) is carried to ln Z by its derivatives, and the network's own error
    is added. The derivatives depend on Z alone: for inverse depth they are 1 - b Z and Z, for depth 1 - b / Z and 1 /
    Z. At the references, the error after the local correction replaces both. The error at edges and the common error of
    the source are added everywhere. The relative error is smooth, so it is computed at a lower resolution.

    Args:
        depth: float32 (H, W), meters.
        kind: how the network's output became depth.
        state: the scale and its covariance.
        residual: relative standard deviation of single pixels without a local correction.
        out: takes the result.
        local: the network's error after the local correction; None without one.
    """
    height, width = depth.shape
    stride = max(1, round(width / SUPPORT_WIDTH))
    first_row, first_column = (min(stride // 2, side - 1) for side in depth.shape)  # an image may be a single line
    small = depth[first_row::stride, first_column::stride]
    small = np.where(np.isfinite(small) & (small > 0), small, np.float32(1))  # the result there is not finite anyway
    far = residual if local is None else local.far
    variance = _scale_variance(small, kind, state) + np.float32(far**2)
    if local is not None:
        support = cv2.resize(local.support, small.shape[::-1])
        variance += support * (np.float32(local.near**2) - variance)
    variance += _edge_variance(small) + np.float32(state.common_sigma**2)
    relative = cv2.resize(cv2.sqrt(variance), (width, height))
    return np.multiply(relative, depth, out=out)


def _scale_variance(depth: np.ndarray, kind: ScaleKind, state: ScaleState) -> np.ndarray:
    """Return the variance of ln Z that comes from (ln a, b), without the common error."""
    (aa, ab), (_, bb) = state.covariance
    b = state.b
    w = depth if kind.sign < 0 else 1 / depth
    # The quadratic form in (1 - b w, w), as a polynomial of w.
    linear, square = 2 * (ab - aa * b), aa * b * b - 2 * ab * b + bb
    return np.maximum((np.float32(square) * w + np.float32(linear)) * w + np.float32(aa), 0)


def _edge_variance(depth: np.ndarray) -> np.ndarray:
    """Return the variance of ln Z that comes from edges close by."""
    spread = cv2.morphologyEx(cv2.log(depth), cv2.MORPH_GRADIENT, np.ones((3, 3), np.uint8))
    return np.float32(EDGE**2) * np.minimum(spread, np.float32(MAX_EDGE)) ** 2
