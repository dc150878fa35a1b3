"""Chooses the scale: sensors, a metric model, the one set by parameters, or the nominal one of the model's record."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from depth_anything_ros.postprocessing.meters import Scale
from depth_anything_ros.processing.parameters import StreamParameters
from depth_anything_ros.zoo.record import ModelRecord

FORMULAS = {
    "inverse_affine": "depth = 1 / (a * inverse_depth + b)",
    "depth_scale": "depth = a * output",
    "depth_affine": "depth = a * output + b",
}
"""For each relative kind of `zoo.record.SCALES`."""
_NEGATIVE = "; b is negative: where a * inverse_depth + b is not positive, depth is infinite, like free space"
_HALF_A_SCALE = "scale.a and scale.b belong together: set both; until then neither is used"
_AS_IT_IS = Scale(1.0, 0.0)
_REPORT = " (the topic scale tells how well)"


@dataclass(frozen=True)
class ScaleChoice:
    """The scale of one camera's depth, and where it comes from.

    Attributes:
        scale: None if no scale is known.
        state: "metric", "uncorrected" (metric, but the correction for the lens is off), "set", "measured" (by
            sensors, for each frame), "nominal" or "unknown".
        text: the same in one line for the log.
        is_warning: whether that line is a warning.
        reference_focal: focal length of a metric model in pixels at its input, if each frame is corrected for its
            camera by `postprocessing.meters.focal_gain`; otherwise None.
        has_nominal: whether an unknown scale can be replaced by the model's nominal one.
    """

    scale: Scale | None
    state: str
    text: str
    is_warning: bool = False
    reference_focal: float | None = None
    has_nominal: bool = False

    @property
    def gives_depth(self) -> bool:
        """Whether depth in meters is available."""
        return self.state != "unknown"


def choose_scale(parameters: StreamParameters, record: ModelRecord, sources: Sequence[str] = ()) -> ScaleChoice:
    """Choose the scale: sensors, else the one set, else the record's nominal one, else none.

    A metric model needs none, but sensors correct its meters.

    Args:
        parameters: the camera's parameters.
        record: describes the model.
        sources: sensors for the scale.
    """
    choice = _choose(parameters, record, sources)
    unused = []
    if (
        choice.state == "measured"
        and not record.is_metric
        and not (math.isnan(parameters.scale_a) and math.isnan(parameters.scale_b))
    ):
        unused.append("scale.a and scale.b are not used, because scale.source is set")
    if choice.state != "measured" and parameters.points_max_sigma:
        unused.append("points.max_sigma has no effect: the error is known only with sensors for the scale")
    if not unused:
        return choice
    return replace(choice, text="; ".join([*unused, choice.text]), is_warning=True)


def _choose(parameters: StreamParameters, record: ModelRecord, sources: Sequence[str]) -> ScaleChoice:
    if record.is_metric:
        choice = _metric(parameters.scale_focal_correction, record)
        if not sources:
            return choice
        text = f"{' and '.join(sources)} will correct the model's meters{_REPORT}; {choice.text}"
        return replace(choice, scale=None, state="measured", text=text)
    if sources:
        return ScaleChoice(
            None, "measured", f"depth is in meters once it is scaled by {' and '.join(sources)}{_REPORT}"
        )
    formula = FORMULAS[record.scale_model]
    a, b = parameters.scale_a, parameters.scale_b
    if record.scale_model == "depth_scale":  # this scale has no shift
        b = 0.0 if not math.isnan(a) else b
    given = not math.isnan(a), not math.isnan(b)
    if all(given):
        is_negative = b < 0 and record.scale_model == "inverse_affine"
        text = f"scale set: a = {a:g}, b = {b:g}"
        return ScaleChoice(Scale(a, b), "set", text + _NEGATIVE * is_negative, is_warning=is_negative)
    missing = f"{_HALF_A_SCALE}; " if any(given) and record.scale_model != "depth_scale" else ""
    if record.nominal_scale is None or not parameters.scale_nominal:
        text, has_nominal = missing + _no_scale(record, formula), record.nominal_scale is not None
        return ScaleChoice(None, "unknown", text, is_warning=True, has_nominal=has_nominal)
    scale = Scale(*record.nominal_scale)
    text = (
        f"scale is NOMINAL, not measured: a = {scale.a:g}, b = {scale.b:g} from the record of {record.name}; "
        f"distances are plausible, not measured. Set scale.source to a sensor, or, for a fixed view, "
        f"{_parameters_of(record)} (README, Meters)"
    )
    return ScaleChoice(scale, "nominal", missing + text, is_warning=True)


def _metric(corrects: bool, record: ModelRecord) -> ScaleChoice:
    focal = record.reference_focal
    if focal is None:
        text = f"depth is in meters, as predicted by {record.name}; its record has no focal length, so no correction"
        depends = record.version is not None  # Depth Anything's metric heads do not know the lens
        if depends:
            text += (
                ", but such a network is correct only for the focal length of its training: pass that to `export "
                "--training-focal`, or set training_focal in the record"
            )
        return ScaleChoice(_AS_IT_IS, "metric", text, is_warning=depends)
    made_for = f"{record.name} predicts it for a focal length of {focal:.1f} px at its input"
    if corrects:
        text = f"depth is in meters: {made_for}, corrected by the camera_info of each frame"
        return ScaleChoice(_AS_IT_IS, "metric", text, reference_focal=focal)
    text = f"depth is UNCORRECTED for the lens, because scale.focal_correction is false: {made_for}"
    return ScaleChoice(_AS_IT_IS, "uncorrected", text)


def _no_scale(record: ModelRecord, formula: str) -> str:
    published = "its colors are" if record.predicts_depth else "inverse depth and its colors are"
    nominal = (
        ""
        if record.nominal_scale is None
        else ", or scale.nominal (launch files: scale:=nominal) to try it out with plausible meters"
    )
    return (
        f"the model predicts relative depth and the scale is unknown: only {published} published. "
        f"For meters, set scale.source to a sensor, or {_parameters_of(record)} ({formula}), or choose a metric model"
        f"{nominal}"
    )


def _parameters_of(record: ModelRecord) -> str:
    return "scale.a" if record.scale_model == "depth_scale" else "scale.a and scale.b"
