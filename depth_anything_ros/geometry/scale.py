"""From what a network gives to depth in metres.

Inverse depth d of unknown scale and shift: Z = 1 / (a * d + b). Depth d of unknown scale and shift: Z = a * d + b, of
unknown scale alone b = 0. Metres d of a network that was trained with one focal length: Z = d * f / f_training.

Depth is Z along the optical axis. What is not a measured distance is written as REP 117 has it: NaN where there is
no reading, +Inf beyond the maximum, -Inf nearer than the minimum. A limit is never written as if it were a distance:
a clamped sky would stand in a map as a wall.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np

from depth_anything_ros.geometry.camera import Camera

_TILE_ROWS = 64  # maps of so many rows stay in the cache between the passes
_GREATEST_RAW = np.float32(65.535)  # metres


@dataclass(frozen=True)
class Scale:
    """The two numbers that make a network's output metric; see the module.

    Of inverse depth both are in 1/metres, per unit of the output and as they are; of depth both are in metres.
    """

    a: float
    b: float

    def __post_init__(self) -> None:
        """Refuses numbers that would silently make every pixel invalid."""
        if not (math.isfinite(self.a) and math.isfinite(self.b)):
            raise ValueError(f"scale is a = {self.a}, b = {self.b}, both must be finite")


def check_limits(minimum: float, maximum: float) -> None:
    """Raises `ValueError` unless 0 <= minimum < maximum (metres; the maximum may be infinite)."""
    if not 0 <= minimum < maximum:  # also false for NaN
        raise ValueError(f"depth limits are {minimum} to {maximum} m, must satisfy 0 <= minimum < maximum")


def inverse_depth_to_depth(
    inverse_depth: np.ndarray, scale: Scale, minimum: float, maximum: float, out: np.ndarray | None = None
) -> np.ndarray:
    """Depth in metres, float32 of the same shape, of a relative model's output.

    Where a * inverse_depth + b is zero or negative the point lies at or behind infinity: +Inf. NaN stays NaN.
    ``out`` takes the result, and may be ``inverse_depth`` itself. Raises `ValueError` for limits out of order.
    """
    check_limits(minimum, maximum)
    out = np.empty(inverse_depth.shape, np.float32) if out is None else out
    with np.errstate(divide="ignore", over="ignore", invalid="ignore"):
        np.multiply(inverse_depth, np.float32(scale.a), out=out)
        out += np.float32(scale.b)
        np.maximum(out, 0, out=out)  # lets NaN through
        np.abs(out, out=out)  # 1 / -0.0 would be nearest instead of farthest
        np.divide(1, out, out=out)
    return _limit(out, minimum, maximum)


def output_to_depth(values: np.ndarray, scale_model: str, scale: Scale, out: np.ndarray | None = None) -> np.ndarray:
    """Depth in metres, float32 of the same shape (H, W), of a network's output; without limits.

    ``scale_model`` is one of `zoo.record.SCALES`; of "metric" the scale is (`focal_gain`, 0), or (1, 0). Where inverse
    depth is zero or negative the point lies at or behind infinity: +Inf. Where *depth* is zero or negative it is not
    known: NaN. ``out`` takes the result, and may be ``values`` itself.
    """
    if scale_model == "inverse_affine":
        return inverse_depth_to_depth(values, scale, 0.0, math.inf, out)
    out = np.empty(values.shape, np.float32) if out is None else out
    unknown = np.empty((min(_TILE_ROWS, len(out)), *out.shape[1:]), bool)
    with np.errstate(invalid="ignore", over="ignore"):
        for top in range(0, len(out), _TILE_ROWS):
            tile = out[top : top + _TILE_ROWS]
            if scale.a != 1 or out is not values:
                np.multiply(values[top : top + _TILE_ROWS], np.float32(scale.a), out=tile)
            if scale.b:
                tile += np.float32(scale.b)
            mask = np.less_equal(tile, 0, out=unknown[: len(tile)])
            if mask.any():
                np.copyto(tile, np.float32(np.nan), where=mask)
    return out


def focal_gain(camera: Camera, network_size: tuple[int, int], reference_focal: float) -> float:
    """What the output of a metric network is multiplied by for a camera: f / reference_focal.

    A network cannot tell a near thing seen with a short lens from a far one seen with a long lens: it gives the depth
    that the lens of its training would have. f is the mean of fx and fy in pixels of the network's input,
    ``network_size`` (height, width), to which the whole image of ``camera`` is resized; ``reference_focal`` is in the
    same pixels. Depth Anything 3 metric: 300 (its `apply_metric_scaling`).
    """
    height, width = network_size
    resized = camera.resized(width, height)
    return 0.5 * (resized.fx + resized.fy) / reference_focal


def limit_depth(depth: np.ndarray, minimum: float, maximum: float, out: np.ndarray | None = None) -> np.ndarray:
    """A metric model's depth in metres, float32 of the same shape, with what lies outside the limits marked.

    NaN stays NaN, above ``maximum`` becomes +Inf, below ``minimum`` -Inf. ``out`` takes the result, and may be
    ``depth`` itself. Raises `ValueError` for limits out of order.
    """
    check_limits(minimum, maximum)
    out = np.empty(depth.shape, np.float32) if out is None else out
    if out is not depth:
        np.copyto(out, depth, casting="same_kind")
    return _limit(out, minimum, maximum)


def depth_to_millimetres(depth: np.ndarray, out: np.ndarray) -> np.ndarray:
    """REP 118's raw form of depth float32 (H, W) in metres, in ``out`` uint16 (H, W): millimetres, 0 for no reading.

    Rounded to the nearest; 0 where there is no finite positive depth, or more than the 65.535 m that 16 bits hold:
    neither wrapped to something near nor clamped to a wall. Raises `ValueError` when ``out`` does not fit.
    """
    if out.shape != depth.shape or out.dtype != np.uint16:
        raise ValueError(f"out is {out.dtype} {out.shape}, must be uint16 {depth.shape}")
    shape = min(_TILE_ROWS, len(depth)), depth.shape[1]
    metres, masks = np.empty(shape, np.float32), np.empty((2, *shape), bool)
    for top in range(0, len(depth), _TILE_ROWS):
        tile = depth[top : top + _TILE_ROWS]
        known, other = masks[:, : len(tile)]
        with np.errstate(invalid="ignore"):  # NaN is neither
            np.greater(tile, 0, out=known)
            known &= np.less_equal(tile, _GREATEST_RAW, out=other)
        values = metres[: len(tile)]
        values.fill(0)
        cv2.copyTo(tile, known.view(np.uint8), dst=values)
        values *= np.float32(1000)
        np.rint(values, out=values)
        np.copyto(out[top : top + _TILE_ROWS], values, casting="unsafe")
    return out


def _limit(depth: np.ndarray, minimum: float, maximum: float) -> np.ndarray:
    """Writes REP 117's infinities into ``depth``; comparisons with NaN are false, so NaN stays."""
    with np.errstate(invalid="ignore"):
        np.copyto(depth, np.float32(np.inf), where=depth > np.float32(maximum))
        np.copyto(depth, np.float32(-np.inf), where=depth < np.float32(minimum))
    return depth


def fit_scale(inverse_depth: np.ndarray, depth: np.ndarray, mask: np.ndarray | None = None) -> Scale:
    """The scale that makes inverse depth match a reference: min over (a, b) of sum (a * d + b - 1 / Z)^2.

    The least-squares alignment in inverse depth of Ranftl et al. (MiDaS, TPAMI 2022), in closed form.
    ``inverse_depth`` and ``depth`` (metres) share a shape, as does the boolean ``mask`` of pixels to use; pixels whose
    reference is not a positive finite distance or whose prediction is not finite are left out. Raises `ValueError`
    when fewer than two pixels remain or the prediction is the same at all of them.
    """
    valid = np.isfinite(inverse_depth) & np.isfinite(depth) & (depth > 0)
    if mask is not None:
        valid &= mask
    prediction = inverse_depth[valid].astype(np.float64)
    if prediction.size < 2:
        raise ValueError(f"scale needs at least 2 pixels with a reference depth, there are {prediction.size}")
    target = 1.0 / depth[valid].astype(np.float64)
    prediction_mean, target_mean = prediction.mean(), target.mean()
    prediction -= prediction_mean  # centred sums keep their digits where the shift is large
    spread = prediction @ prediction
    if spread <= prediction.size * (1e-12 * prediction_mean) ** 2:
        raise ValueError("scale needs a prediction that varies, but it is the same at every reference pixel")
    a = float(prediction @ (target - target_mean) / spread)
    return Scale(a, float(target_mean - a * prediction_mean))
