"""Where metres come from: the model itself, the scale that was set, or the nominal one of the model's record."""

from __future__ import annotations

import math
from dataclasses import dataclass

from depth_anything_ros.geometry.scale import Scale
from depth_anything_ros.nodes.parameters import StreamParameters
from depth_anything_ros.zoo.record import ModelRecord

_NO_SCALE = (
    "the model gives relative depth, and no scale is known: only inverse depth and its colours are published. "
    "For metres set scale.a and scale.b (depth = 1 / (a * inverse_depth + b)), or choose a metric model"
)
_NEGATIVE = "; b is negative: wherever a * inverse_depth + b is not positive, depth is infinite, as if all were free"
_HALF_A_SCALE = "scale.a and scale.b go together: set the other one too, until then neither is used"


@dataclass(frozen=True)
class ScaleChoice:
    """``scale`` is None for metric models and where none is known; ``state`` says which in a word, ``text`` in a line.

    States: "metric", "set", "nominal", "unknown".
    """

    scale: Scale | None
    state: str
    text: str
    is_warning: bool = False

    @property
    def gives_depth(self) -> bool:
        """Whether there are metres at all."""
        return self.state != "unknown"


def choose_scale(parameters: StreamParameters, record: ModelRecord) -> ScaleChoice:
    """The scale for a model: the one set, else the record's nominal one, else none. A metric model needs none."""
    if record.is_metric:
        return ScaleChoice(None, "metric", f"depth is in metres, as {record.name} predicts it")
    a, b = parameters.scale_a, parameters.scale_b
    given = not math.isnan(a), not math.isnan(b)
    if all(given):
        text = f"scale set: a = {a:g}, b = {b:g}"
        return ScaleChoice(Scale(a, b), "set", text + _NEGATIVE * (b < 0), is_warning=b < 0)
    missing = f"{_HALF_A_SCALE}; " if any(given) else ""
    if record.nominal_scale is None:
        return ScaleChoice(None, "unknown", missing + _NO_SCALE, is_warning=True)
    scale = Scale(*record.nominal_scale)
    text = (
        f"scale is NOMINAL, not measured: a = {scale.a:g}, b = {scale.b:g} from the record of {record.name}; "
        "distances are plausible, not true. Set scale.a and scale.b for this camera"
    )
    return ScaleChoice(scale, "nominal", missing + text, is_warning=True)
