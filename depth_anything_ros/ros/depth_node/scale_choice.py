"""Where meters come from: the model itself, the scale that was set, or the nominal one of the model's record."""

from __future__ import annotations

import math
from dataclasses import dataclass

from depth_anything_ros.postprocessing.scale import Scale
from depth_anything_ros.ros.depth_node.parameters import StreamParameters
from depth_anything_ros.zoo.record import ModelRecord

FORMULAS = {
    "inverse_affine": "depth = 1 / (a * inverse_depth + b)",
    "depth_scale": "depth = a * output",
    "depth_affine": "depth = a * output + b",
}
"""By the relative ones of `zoo.record.SCALES`."""
_NEGATIVE = "; b is negative: wherever a * inverse_depth + b is not positive, depth is infinite, as if all were free"
_HALF_A_SCALE = "scale.a and scale.b go together: set the other one too, until then neither is used"
_AS_IT_IS = Scale(1.0, 0.0)


@dataclass(frozen=True)
class ScaleChoice:
    """``scale`` is None where none is known; ``state`` says where it is from in a word, ``text`` in a line.

    Checkpoints: "metric", "uncorrected" (metric, and the correction for the lens is switched off), "set", "nominal",
    "unknown". ``reference_focal`` is that of a metric model which is to be corrected for each frame's camera by
    `postprocessing.scale.focal_gain`, None where nothing is to be corrected.
    """

    scale: Scale | None
    state: str
    text: str
    is_warning: bool = False
    reference_focal: float | None = None

    @property
    def gives_depth(self) -> bool:
        """Whether there are meters at all."""
        return self.state != "unknown"


def choose_scale(parameters: StreamParameters, record: ModelRecord) -> ScaleChoice:
    """The scale for a model: the one set, else the record's nominal one, else none. A metric model needs none."""
    if record.is_metric:
        return _metric(parameters.scale_focal_correction, record)
    formula = FORMULAS[record.scale_model]
    a, b = parameters.scale_a, parameters.scale_b
    if record.scale_model == "depth_scale":  # no shift is missing
        b = 0.0 if not math.isnan(a) else b
    given = not math.isnan(a), not math.isnan(b)
    if all(given):
        is_negative = b < 0 and record.scale_model == "inverse_affine"
        text = f"scale set: a = {a:g}, b = {b:g}"
        return ScaleChoice(Scale(a, b), "set", text + _NEGATIVE * is_negative, is_warning=is_negative)
    missing = f"{_HALF_A_SCALE}; " if any(given) and record.scale_model != "depth_scale" else ""
    if record.nominal_scale is None:
        return ScaleChoice(None, "unknown", missing + _no_scale(record, formula), is_warning=True)
    scale = Scale(*record.nominal_scale)
    text = (
        f"scale is NOMINAL, not measured: a = {scale.a:g}, b = {scale.b:g} from the record of {record.name}; "
        f"distances are plausible, not true. Set {_parameters_of(record)} for what the camera sees (README, Meters)"
    )
    return ScaleChoice(scale, "nominal", missing + text, is_warning=True)


def _metric(corrects: bool, record: ModelRecord) -> ScaleChoice:
    focal = record.reference_focal
    if focal is None:
        text = f"depth is in meters, as {record.name} predicts it; its record names no focal length to correct it for"
        depends = record.version is not None  # Depth Anything's metric heads know nothing of the lens
        if depends:
            text += (
                ", though such a network is right for that of its training alone: give it to `export "
                "--training-focal`, or as training_focal in the record"
            )
        return ScaleChoice(_AS_IT_IS, "metric", text, is_warning=depends)
    made_for = f"{record.name} predicts it for a focal length of {focal:.1f} px at its input"
    if corrects:
        text = f"depth is in meters: {made_for}, corrected by the camera_info of each frame"
        return ScaleChoice(_AS_IT_IS, "metric", text, reference_focal=focal)
    text = f"depth is UNCORRECTED for the lens, for scale.focal_correction is false: {made_for}"
    return ScaleChoice(_AS_IT_IS, "uncorrected", text)


def _no_scale(record: ModelRecord, formula: str) -> str:
    published = "its colors are" if record.predicts_depth else "inverse depth and its colors are"
    return (
        f"the model gives relative depth, and no scale is known: only {published} published. "
        f"For meters set {_parameters_of(record)} ({formula}), or choose a metric model"
    )


def _parameters_of(record: ModelRecord) -> str:
    return "scale.a" if record.scale_model == "depth_scale" else "scale.a and scale.b"
