"""Colors for depth: near is warm, far is cold, nothing is black."""

from __future__ import annotations

import cv2
import numpy as np

ROBUST_PERCENTILES = (2.0, 98.0)
_TILE_ROWS = 64
SAMPLES = 20_000
"""Number of pixels for the percentiles. More do not change colors, and cost milliseconds."""

# Turbo in RGB. Its ends are dark but never black, so that black can mean "no depth".
_TURBO = cv2.applyColorMap(np.arange(256, dtype=np.uint8)[:, None], cv2.COLORMAP_TURBO)[..., ::-1].copy()


def colorize(
    inverse_depth: np.ndarray,
    lower: float | None = None,
    upper: float | None = None,
    out: np.ndarray | None = None,
) -> np.ndarray:
    """Return a map of inverse depth in colors.

    Args:
        inverse_depth: floats (H, W), larger is nearer; NaN and infinities mean no depth.
        lower: value of the coldest color; default: the 2nd percentile of the map.
        upper: value of the warmest color; default: the 98th percentile. Give both to keep colors steady in a video.
        out: takes the result, contiguous uint8 (H, W, 3).

    Returns:
        uint8 (H, W, 3) RGB, black where there is no depth.

    Raises:
        ValueError: the map is not two-dimensional.
    """
    if inverse_depth.ndim != 2:
        raise ValueError(f"inverse_depth has shape {inverse_depth.shape}, must be (height, width)")
    if lower is None or upper is None:
        robust = robust_range(inverse_depth)
        lower = robust[0] if lower is None else lower
        upper = robust[1] if upper is None else upper
    gain = np.float32(255 / (upper - lower if upper > lower else 1.0))
    out = np.empty((*inverse_depth.shape, 3), np.uint8) if out is None else out
    for top in range(0, len(inverse_depth), _TILE_ROWS):  # keeps temporary arrays small
        tile = slice(top, top + _TILE_ROWS)
        invalid = ~np.isfinite(inverse_depth[tile])
        with np.errstate(invalid="ignore", over="ignore"):
            levels = inverse_depth[tile].astype(np.float32)
            levels -= np.float32(lower)
            levels *= gain
        levels[invalid] = 0
        np.clip(levels, 0, 255, out=levels)
        out[tile] = cv2.applyColorMap(levels.astype(np.uint8), _TURBO)
        out[tile][invalid] = 0
    return out


def ramp() -> np.ndarray:
    """Return the colors of `colorize` from the farthest to the nearest, uint8 (256, 3) RGB."""
    return _TURBO[:, 0].copy()


def depth_to_nearness(depth: np.ndarray, scale_model: str, out: np.ndarray | None = None) -> np.ndarray:
    """Convert a network's depth to the input of `colorize`, float32 of the same shape: larger is nearer.

    The result is the inverse; where depth is zero or negative, and so unknown, it is infinite or NaN. For
    "depth_affine", whose zero has no meaning, it is the negative.

    Args:
        depth: the network's output.
        scale_model: one of `zoo.record.SCALES`.
        out: takes the result.
    """
    out = np.empty(depth.shape, np.float32) if out is None else out
    if scale_model == "depth_affine":
        return np.negative(depth, out=out)
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        np.divide(1, depth, out=out)
        np.copyto(out, np.float32(np.nan), where=out < 0)
    return out


def robust_range(values: np.ndarray) -> tuple[float, float]:
    """Return the 2nd and 98th percentile of the finite values of a map (H, W), (0, 1) if there are none."""
    step = max(1, int(np.sqrt(values.size / SAMPLES)))
    sample = values[::step, ::step]
    sample = sample[np.isfinite(sample)]
    if not sample.size:
        sample = values[np.isfinite(values)]
    if not sample.size:
        return 0.0, 1.0
    lower, upper = np.percentile(sample, ROBUST_PERCENTILES)
    return float(lower), float(upper)
