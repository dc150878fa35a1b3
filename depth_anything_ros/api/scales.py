"""The scale of relative models, in the forms that callers may give."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Mapping
from typing import Literal

import numpy as np

from depth_anything_ros.postprocessing.meters import Scale
from depth_anything_ros.zoo.record import ModelRecord

ScaleLike = Scale | tuple[float, float] | Literal["nominal"] | None
"""A `Scale`, its two numbers, or "nominal" for the model's nominal scale."""
KnownDepth = np.ndarray | Mapping[tuple[int, int], float]
"""Meters as an array (H, W), 0 or not finite where unknown; or ``{(column, row): meters}``."""

UNITS = {
    "metric": "meters",
    "inverse_affine": "inverse depth of unknown scale and shift",
    "depth_scale": "depth of unknown scale",
    "depth_affine": "depth of unknown scale and shift",
}
"""The unit of a model's output, by its record's scale model."""

NAME = "depth_anything_ros."


class NominalScaleWarning(UserWarning):
    """Meters come from a model's nominal scale: they are plausible, not measured."""


def scale_for(scale: ScaleLike, record: ModelRecord) -> Scale:
    """Return the scale of a model's output.

    Args:
        scale: None takes the nominal scale with a `NominalScaleWarning`. For a metric model None and "nominal" leave
            meters unchanged.
        record: describes the model.

    Raises:
        ValueError: there is no scale, or it is invalid.
    """
    if isinstance(scale, Scale):
        return scale
    if scale is not None and not isinstance(scale, str):
        return _pair(scale)
    if scale not in (None, "nominal"):
        raise ValueError(f"scale is {scale!r}, must be Scale(a, b), (a, b) or 'nominal'")
    if record.is_metric:
        return Scale(1.0, 0.0)
    if record.nominal_scale is None:
        raise ValueError(
            f"{record.name} gives {UNITS[record.scale_model]}, and its record has no nominal scale: give "
            "scale=Scale(a, b), for instance from prediction.fit_scale, or use a metric model"
        )
    if scale is None:
        warnings.warn(
            f"meters by the nominal scale of {record.name} are plausible, not measured; give scale=Scale(a, b), for "
            'instance from prediction.fit_scale, or scale="nominal" if plausible is enough',
            NominalScaleWarning,
            stacklevel=_caller_level(),
        )
    return Scale(*record.nominal_scale)


def known_depth(known: KnownDepth, shape: tuple[int, int]) -> np.ndarray:
    """Return known depth as float64 (H, W), NaN where unknown.

    Args:
        known: as in `KnownDepth`.
        shape: (H, W) of the prediction.

    Raises:
        ValueError: an array has another shape, or a pixel is outside the image.
    """
    if not isinstance(known, Mapping):
        depth = np.asarray(known, np.float64)
        if depth.shape != shape:
            raise ValueError(f"known depth has shape {depth.shape}, the prediction {shape}")
        return depth
    depth = np.full(shape, np.nan)
    for (column, row), meters in known.items():
        if not (0 <= column < shape[1] and 0 <= row < shape[0]):
            raise ValueError(f"pixel ({column}, {row}) is outside the image of {shape[1]}x{shape[0]}")
        depth[row, column] = meters
    return depth


def _pair(scale: tuple[float, float]) -> Scale:
    try:
        a, b = map(float, scale)
    except (TypeError, ValueError):
        raise ValueError(f"scale is {scale!r}, must be Scale(a, b), (a, b) or 'nominal'") from None
    return Scale(a, b)


def _caller_level() -> int:
    """Return the `warnings.warn` level of the first function on the stack outside this package."""
    frame, level = sys._getframe(1), 1
    while frame.f_back is not None and frame.f_globals.get("__name__", "").startswith(NAME):
        frame, level = frame.f_back, level + 1
    return level
