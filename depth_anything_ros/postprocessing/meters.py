"""Conversion of a network's output to depth in meters.

Inverse depth d of unknown scale and shift: Z = 1 / (a * d + b). Depth d of unknown scale and shift: Z = a * d + b; of
unknown scale alone, b = 0. Meters d of a network that was trained with one focal length: Z = d * f / f_training.

Depth is Z along the optical axis. REP 117 defines the other values: NaN for no reading, +Inf beyond the maximum, -Inf
below the minimum. A limit is never written as a distance, since a clamped sky would become a wall in a map.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import cv2
import numpy as np

from depth_anything_ros.geometry.camera import Camera

_TILE_PIXELS = 160_000  # tiles of this size stay in the processor's cache between passes
_MAX_RAW = np.float32(65.535)  # meters


@dataclass(frozen=True)
class Scale:
    """The two numbers that make a network's output metric; see the module.

    For inverse depth both are in 1/meters, per unit of the raw output. For depth both are in meters.
    >>> inverse_depth = np.array([[0.4, 0.9]], np.float32)
    >>> output_to_depth(inverse_depth, "inverse_affine", Scale(a=2.0, b=0.2))
    array([[1. , 0.5]], dtype=float32)
    """

    a: float
    b: float

    def __post_init__(self) -> None:
        """Reject numbers that would silently invalidate every pixel."""
        if not (math.isfinite(self.a) and math.isfinite(self.b)):
            raise ValueError(f"scale is a = {self.a}, b = {self.b}, both must be finite")


def check_limits(minimum: float, maximum: float) -> None:
    """Check that 0 <= minimum < maximum.

    Args:
        minimum: meters.
        maximum: meters; may be infinite.

    Raises:
        ValueError: they are not in this order.
    """
    if not 0 <= minimum < maximum:  # also false for NaN
        raise ValueError(f"depth limits are {minimum} to {maximum} m, must satisfy 0 <= minimum < maximum")


def inverse_depth_to_depth(
    inverse_depth: np.ndarray, scale: Scale, minimum: float, maximum: float, out: np.ndarray | None = None
) -> np.ndarray:
    """Return the depth of a relative model's output, in meters, float32 of the same shape.

    Where a * inverse_depth + b is zero or negative, the point is at or behind infinity: +Inf. NaN stays NaN.

    Args:
        inverse_depth: the model's output.
        scale: makes it metric.
        minimum: limit in meters.
        maximum: limit in meters.
        out: takes the result; may be ``inverse_depth`` itself.

    Raises:
        ValueError: the limits are out of order.
    """
    check_limits(minimum, maximum)
    return _limit(_inverse_affine(inverse_depth, scale, out), minimum, maximum)


def _inverse_affine(inverse_depth: np.ndarray, scale: Scale, out: np.ndarray | None) -> np.ndarray:
    """Do as `inverse_depth_to_depth` without limits."""
    out = np.empty(inverse_depth.shape, np.float32) if out is None else out
    with np.errstate(divide="ignore", over="ignore", invalid="ignore"):
        for rows in _tiles(out):
            tile = out[rows]
            np.multiply(inverse_depth[rows], np.float32(scale.a), out=tile)
            tile += np.float32(scale.b)
            _replace(tile, tile <= 0, 0)  # np.maximum takes five times as long; -0.0 would give -Inf
            np.divide(1, tile, out=tile)
    return out


def output_to_depth(values: np.ndarray, scale_model: str, scale: Scale, out: np.ndarray | None = None) -> np.ndarray:
    """Return the depth of a network's output in meters, float32 of the same shape (H, W), without limits.

    Where inverse depth is zero or negative, the point is at or behind infinity: +Inf. Where *depth* is zero or
    negative, it is unknown: NaN.

    Args:
        values: the network's output.
        scale_model: one of `zoo.record.SCALES`.
        scale: for "metric" (`focal_gain`, 0) or (1, 0).
        out: takes the result; may be ``values`` itself.
    """
    if scale_model == "inverse_affine":
        return _inverse_affine(values, scale, out)
    out = np.empty(values.shape, np.float32) if out is None else out
    with np.errstate(invalid="ignore", over="ignore"):
        for rows in _tiles(out):
            tile = out[rows]
            if scale.a != 1 or out is not values:
                np.multiply(values[rows], np.float32(scale.a), out=tile)
            if scale.b:
                tile += np.float32(scale.b)
            _replace(tile, tile <= 0, np.nan)
    return out


def focal_gain(camera: Camera, network_size: tuple[int, int], reference_focal: float) -> float:
    """Return the factor for a metric network's output and a camera: f / reference_focal.

    A network cannot distinguish a near object behind a short lens from a far one behind a long lens. It gives the
    depth for the lens of its training. f is the mean of fx and fy in pixels of the network's input.

    Args:
        camera: its full image is resized to the network's input.
        network_size: (height, width) of the network's input.
        reference_focal: in the same pixels. Depth Anything 3 metric: 300 (its `apply_metric_scaling`).
    """
    height, width = network_size
    resized = camera.resized(width, height)
    return 0.5 * (resized.fx + resized.fy) / reference_focal


def limit_depth(depth: np.ndarray, minimum: float, maximum: float, out: np.ndarray | None = None) -> np.ndarray:
    """Return depth, float32 of the same shape, with values outside the limits marked as REP 117 says.

    NaN stays NaN, above ``maximum`` becomes +Inf, below ``minimum`` -Inf.

    Args:
        depth: in meters.
        minimum: in meters.
        maximum: in meters.
        out: takes the result; may be ``depth`` itself.

    Raises:
        ValueError: the limits are out of order.
    """
    check_limits(minimum, maximum)
    out = np.empty(depth.shape, np.float32) if out is None else out
    if out is not depth:
        np.copyto(out, depth, casting="same_kind")
    return _limit(out, minimum, maximum)


def depth_to_millimeters(depth: np.ndarray, out: np.ndarray) -> np.ndarray:
    """Convert depth to the raw form of REP 118: rounded millimeters, 0 for no reading.

    The result is 0 without a finite positive depth, and above 65.535 m, the maximum of 16 bits. Such values neither
    wrap to a near depth nor clamp to a wall.

    Args:
        depth: float32 (H, W) in meters.
        out: takes the result, uint16 (H, W).

    Raises:
        ValueError: ``out`` has another shape or dtype.
    """
    if out.shape != depth.shape or out.dtype != np.uint16:
        raise ValueError(f"out is {out.dtype} {out.shape}, must be uint16 {depth.shape}")
    for rows in _tiles(depth):
        tile = depth[rows]
        with np.errstate(invalid="ignore"):  # comparisons with NaN are false
            valid = tile > 0
            valid &= tile <= _MAX_RAW
        values = np.zeros(tile.shape, np.float32)
        cv2.copyTo(tile, valid.view(np.uint8), dst=values)
        values *= np.float32(1000)
        np.rint(values, out=values)
        np.copyto(out[rows], values, casting="unsafe")
    return out


def _limit(depth: np.ndarray, minimum: float, maximum: float) -> np.ndarray:
    """Write REP 117's infinities into ``depth``. Comparisons with NaN are false, so NaN stays."""
    with np.errstate(invalid="ignore"):
        for tile in map(depth.__getitem__, _tiles(depth)):
            _replace(tile, tile > np.float32(maximum), np.inf)
            _replace(tile, tile < np.float32(minimum), -np.inf)
    return depth


def _replace(values: np.ndarray, where: np.ndarray, by: float) -> None:
    """Write a value where the mask is True. Most masks are empty, and the check takes a fifth of the time."""
    if where.any():
        np.copyto(values, np.float32(by), where=where)


def _tiles(plane: np.ndarray) -> Iterator[slice]:
    """Return slices of rows that fit into the processor's cache."""
    rows = max(_TILE_PIXELS // max(plane[:1].size, 1), 1)
    return (slice(top, top + rows) for top in range(0, len(plane), rows))


def fit_scale(inverse_depth: np.ndarray, depth: np.ndarray, mask: np.ndarray | None = None) -> Scale:
    """Fit the scale that aligns inverse depth with a reference: min over (a, b) of sum (a * d + b - 1 / Z)^2.

    This is the least-squares alignment in inverse depth of Ranftl et al. (MiDaS, TPAMI 2022), in closed form. Pixels
    without a positive finite reference or a finite prediction are left out.

    Args:
        inverse_depth: the prediction d.
        depth: the reference Z in meters, of the same shape.
        mask: bool of the same shape, the pixels to use.

    Raises:
        ValueError: fewer than two pixels remain, or the prediction is the same at all of them.
    """
    valid = np.isfinite(inverse_depth) & np.isfinite(depth) & (depth > 0)
    if mask is not None:
        valid &= mask
    prediction = inverse_depth[valid].astype(np.float64)
    if prediction.size < 2:
        raise ValueError(f"scale needs at least 2 pixels with a reference depth, there are {prediction.size}")
    target = 1.0 / depth[valid].astype(np.float64)
    prediction_mean, target_mean = prediction.mean(), target.mean()
    prediction -= prediction_mean  # centered sums keep precision under a large shift
    spread = prediction @ prediction
    if spread <= prediction.size * (1e-12 * prediction_mean) ** 2:
        raise ValueError("scale needs a prediction that varies, but it is the same at every reference pixel")
    a = float(prediction @ (target - target_mean) / spread)
    return Scale(a, float(target_mean - a * prediction_mean))
