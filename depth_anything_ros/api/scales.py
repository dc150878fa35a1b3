"""What makes a relative model's output metric, as callers may give it."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Mapping
from typing import Literal

import numpy as np

from depth_anything_ros.postprocessing.scale import Scale
from depth_anything_ros.zoo.record import ModelRecord

ScaleLike = Scale | tuple[float, float] | Literal["nominal"] | None
"""A `Scale`, its two numbers, or "nominal" for the model's own."""
KnownDepth = np.ndarray | Mapping[tuple[int, int], float]
"""Meters as an array (H, W), 0 or not finite where unknown; or ``{(column, row): meters}``."""

UNITS = {
    "metric": "meters",
    "inverse_affine": "inverse depth of unknown scale and shift",
    "depth_scale": "depth of unknown scale",
    "depth_affine": "depth of unknown scale and shift",
}
"""What a model's output is, by its record's scale."""

NAME = "depth_anything_ros."


class NominalScaleWarning(UserWarning):
    """Meters are computed with a model's nominal scale: they are plausible, not measured."""


def scale_for(scale: ScaleLike, record: ModelRecord) -> Scale:
    """The two numbers for a model's output; without ``scale`` the nominal ones, with a `NominalScaleWarning`.

    For a metric model "nominal", like no scale, leaves meters as they are. Raises `ValueError` where nothing gives a
    scale, or what is given is none.
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
            "scale=Scale(a, b), for instance from prediction.fit_scale, or take a metric model"
        )
    if scale is None:
        warnings.warn(
            f"meters by the nominal scale of {record.name} are plausible, not measured; give scale=Scale(a, b), for "
            'instance from prediction.fit_scale, or scale="nominal" where plausible is enough',
            NominalScaleWarning,
            stacklevel=_caller_level(),
        )
    return Scale(*record.nominal_scale)


def known_depth(known: KnownDepth, shape: tuple[int, int]) -> np.ndarray:
    """Known depth as float64 (H, W). Raises `ValueError` for an array of another shape, or a pixel outside of it."""
    if not isinstance(known, Mapping):
        depth = np.asarray(known, np.float64)
        if depth.shape != shape:
            raise ValueError(f"known depth has shape {depth.shape}, the prediction {shape}")
        return depth
    depth = np.full(shape, np.nan)
    for (column, row), meters in known.items():
        if not (0 <= column < shape[1] and 0 <= row < shape[0]):
            raise ValueError(f"pixel ({column}, {row}) lies outside the image of {shape[1]}x{shape[0]}")
        depth[row, column] = meters
    return depth


def _pair(scale: tuple[float, float]) -> Scale:
    try:
        a, b = map(float, scale)
    except (TypeError, ValueError):
        raise ValueError(f"scale is {scale!r}, must be Scale(a, b), (a, b) or 'nominal'") from None
    return Scale(a, b)


def _caller_level() -> int:
    """The level, for `warnings.warn`, of the first function on the stack that is not this package's."""
    frame, level = sys._getframe(1), 1
    while frame.f_back is not None and frame.f_globals.get("__name__", "").startswith(NAME):
        frame, level = frame.f_back, level + 1
    return level
