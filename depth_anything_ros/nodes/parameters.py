"""The depth node's parameters: what each means, what it may be, and which act at once when they are set."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

from rcl_interfaces.msg import FloatingPointRange, IntegerRange, ParameterDescriptor, SetParametersResult
from rclpy.node import Node
from rclpy.parameter import Parameter

from depth_anything_ros.geometry.scale import Scale, check_limits
from depth_anything_ros.runtime.backends import BACKENDS, PRECISIONS
from depth_anything_ros.zoo.record import ModelRecord

_NO_SCALE = (
    "the model gives relative depth, and no scale is known: only inverse depth and its colours are published. "
    "For metres set scale.a and scale.b (depth = 1 / (a * inverse_depth + b)), or choose a metric model"
)
_HALF_A_SCALE = "scale.a and scale.b go together: set the other one too, until then neither is used"


@dataclass(frozen=True)
class FixedParameters:
    """Parameters that hold for the node's life. None stands for "the model's own choice"."""

    model: str
    record: str | None
    backend: str
    precision: str
    threads: int | None
    input_size: tuple[int, int] | None
    output_size: tuple[int, int] | None
    rectified: bool

    def output_size_for(self, height: int, width: int) -> tuple[int, int]:
        """The (height, width) of the outputs for an image of this size; a side that is 0 follows the image's shape."""
        if self.output_size is None:
            return height, width
        output_height, output_width = self.output_size
        return (
            output_height or max(1, round(height * output_width / width)),
            output_width or max(1, round(width * output_height / height)),
        )


@dataclass(frozen=True)
class LiveParameters:
    """Parameters that act at the next frame. Raises `ValueError`, naming the parameter, for what they may not be."""

    scale_a: float
    scale_b: float
    min_depth: float
    max_depth: float
    points_stride: int

    def __post_init__(self) -> None:
        """Checks what the descriptors' ranges cannot."""
        try:
            check_limits(self.min_depth, self.max_depth)
        except ValueError as error:
            raise ValueError(f"min_depth and max_depth: {error}") from error
        if math.isinf(self.scale_a) or self.scale_a <= 0:
            raise ValueError(f"scale.a is {self.scale_a}, must be positive (or .nan for no scale)")
        if math.isinf(self.scale_b):
            raise ValueError(f"scale.b is {self.scale_b}, must be finite (or .nan for no scale)")

    def changed(self, parameters: Iterable[Parameter]) -> LiveParameters:
        """These with some set anew; others than the live ones are left alone. Raises `ValueError`."""
        values = {_LIVE[parameter.name]: parameter.value for parameter in parameters if parameter.name in _LIVE}
        return replace(self, **values)

    def scale_for(self, record: ModelRecord) -> tuple[Scale | None, str, bool]:
        """The scale for a model: the one set, else the record's nominal one, else None.

        Returns it with a line for the log, and whether that line is a warning. A metric model has no use for one.
        """
        if record.is_metric:
            return None, f"depth is in metres, as {record.name} predicts it", False
        given = not math.isnan(self.scale_a), not math.isnan(self.scale_b)
        if all(given):
            return Scale(self.scale_a, self.scale_b), f"scale set: a = {self.scale_a:g}, b = {self.scale_b:g}", False
        missing = f"{_HALF_A_SCALE}; " if any(given) else ""
        if record.nominal_scale is None:
            return None, missing + _NO_SCALE, True
        scale = Scale(*record.nominal_scale)
        text = (
            f"scale is NOMINAL, not measured: a = {scale.a:g}, b = {scale.b:g} from the record of {record.name}; "
            "distances are plausible, not true. Set scale.a and scale.b for this camera"
        )
        return scale, missing + text, any(given)


_LIVE = {
    "scale.a": "scale_a",
    "scale.b": "scale_b",
    "min_depth": "min_depth",
    "max_depth": "max_depth",
    "points.stride": "points_stride",
}


def declare_parameters(node: Node) -> tuple[FixedParameters, LiveParameters]:
    """Declares every parameter and returns their values at start. Raises `ValueError` or rclpy's own for bad ones."""

    def declare(name: str, default: Any, description: str, limits: tuple[Any, Any] | None = None) -> Any:
        descriptor = ParameterDescriptor(description=description, read_only=name not in _LIVE)
        if limits and isinstance(default, int):
            descriptor.integer_range = [IntegerRange(from_value=limits[0], to_value=limits[1], step=1)]
        elif limits:
            descriptor.floating_point_range = [FloatingPointRange(from_value=limits[0], to_value=limits[1], step=0.0)]
        return node.declare_parameter(name, default, descriptor).value

    sides = (0, 16384)
    fixed = FixedParameters(
        model=declare("model", "tiny", "Model: a name in the zoo, an .onnx file, or a folder with record.json."),
        record=declare("record", "", "JSON record of an .onnx that does not describe itself; empty: none.") or None,
        backend=declare("backend", "auto", f"What runs the model: auto, the best there is, or {', '.join(BACKENDS)}."),
        precision=declare("precision", "auto", f"What it computes in: auto, or {', '.join(PRECISIONS)}."),
        threads=declare("threads", 0, "CPU threads of the model; 0: the backend's choice.", (0, 256)) or None,
        input_size=_both_sides(
            "input",
            declare("input.height", 0, "Rows of the network's input in pixels; 0: the model's choice.", sides),
            declare("input.width", 0, "Columns of the network's input in pixels; 0: the model's choice.", sides),
        ),
        output_size=_any_side(
            declare("output.height", 0, "Rows of every output in pixels; 0: as the image has.", sides),
            declare("output.width", 0, "Columns of every output in pixels; 0: as the image has.", sides),
        ),
        rectified=declare(
            "rectified",
            True,
            "Whether the image is rectified, so that P of camera_info is its geometry; if not, K is used and the "
            "lens's distortion is left in.",
        ),
    )
    live = LiveParameters(
        scale_a=declare("scale.a", math.nan, "Relative models: depth = 1 / (a * inverse_depth + b); .nan: not known."),
        scale_b=declare("scale.b", math.nan, "Relative models: see scale.a; in 1/metres; .nan: not known."),
        min_depth=declare("min_depth", 0.1, "Metres; what is nearer becomes -Inf (REP 117).", (0.0, 1000.0)),
        max_depth=declare("max_depth", 80.0, "Metres; what is farther becomes +Inf (REP 117).", (0.0, 100000.0)),
        points_stride=declare("points.stride", 1, "Take every n-th row and column into the cloud.", (1, 64)),
    )
    return fixed, live


def refused(reason: Exception) -> SetParametersResult:
    """The answer to parameters that may not be set."""
    return SetParametersResult(successful=False, reason=str(reason))


def _both_sides(name: str, height: int, width: int) -> tuple[int, int] | None:
    if bool(height) != bool(width):
        raise ValueError(f"{name}.height is {height} and {name}.width is {width}: set both, or neither")
    return (height, width) if height else None


def _any_side(height: int, width: int) -> tuple[int, int] | None:
    return (height, width) if height or width else None
