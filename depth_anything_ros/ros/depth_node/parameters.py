"""The depth node's parameter values: for the model, for each camera, and how they change."""

from __future__ import annotations

import math
import os
import re
import threading
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rcl_interfaces.msg import SetParametersResult
from rclpy.node import Node
from rclpy.parameter import Parameter

from depth_anything_ros.images.intensity import InputRange
from depth_anything_ros.postprocessing.meters import check_limits
from depth_anything_ros.ros.depth_node.parameter_declarations import (
    BY_NAME,
    DECLARATIONS,
    PER_CAMERA,
    Acts,
    Declaration,
    declaration_of,
)
from depth_anything_ros.ros.depth_node.scale_parameters import ScaleMeasuring
from depth_anything_ros.ros.process.unknown_parameters import warn_of_unknown


@dataclass(frozen=True)
class ModelParameters:
    """Which model runs, and on what. None leaves the choice to the model.

    Attributes:
        model: a name, an .onnx file or a model folder.
        record: path of a JSON record.
        backend: a backend or "auto".
        precision: a precision or "auto".
        threads: CPU threads.
        input_size: (height, width) of the network's input in pixels.
    """

    model: str
    record: str | None
    backend: str
    precision: str
    threads: int | None
    input_size: tuple[int, int] | None

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> ModelParameters:
        """Create from parameter values by name. Raises `ValueError`, with the parameter's name."""
        height, width = values["input.height"], values["input.width"]
        if bool(height) != bool(width):
            raise ValueError(f"input.height is {height} and input.width is {width}: set both, or neither")
        return cls(
            values["model"],
            os.path.expanduser(values["record"]) or None,
            values["backend"],
            values["precision"],
            values["threads"] or None,
            (height, width) if height else None,
        )


@dataclass(frozen=True)
class StreamParameters:
    """Parameters of one camera. A change takes effect at the next frame. Units are those of `DECLARATIONS`.

    ``rectified`` is None for auto.
    """

    output_height: int
    output_width: int
    rectified: bool | None
    rectify: bool
    input_range: str
    scale_a: float
    scale_b: float
    scale_focal_correction: bool
    scale_nominal: bool
    scale_hold: float
    scale_lost: str
    scale_local: bool
    scale_camera_height: float
    scale_camera_pitch: float
    min_depth: float
    max_depth: float
    max_rate: float
    max_age: float
    priority: int
    points_stride: int
    points_color: bool
    points_min_depth: float
    points_max_depth: float
    points_max_sigma: float
    flying_pixels_threshold: float
    flying_pixels_in_depth: bool
    overload_share: float

    @classmethod
    def of(cls, values: Mapping[str, Any], camera: str = "") -> StreamParameters:
        """Create from parameter values by name.

        Args:
            values: values of all declared parameters, by name.
            camera: the camera's name; "" for a single camera.

        Raises:
            ValueError: a value is invalid; the message names the parameter.
        """
        own = {name: values[f"{camera}.{name}"] for name in PER_CAMERA} if camera else {}
        names = [declaration.name for declaration in DECLARATIONS if declaration.acts is Acts.LIVE]
        chosen = {name.replace(".", "_"): own.get(name, values[name]) for name in names}
        rectified = {"auto": None, "true": True, "false": False}
        return cls(**{**chosen, "rectified": rectified.get(chosen["rectified"], chosen["rectified"])})

    def __post_init__(self) -> None:
        """Check what the ranges of the descriptors cannot express."""
        try:
            check_limits(self.min_depth, self.max_depth)
        except ValueError as error:
            raise ValueError(f"min_depth and max_depth: {error}") from error
        try:
            InputRange.of(self.input_range)
        except ValueError as error:
            raise ValueError(f"input_range: {error}") from error
        if math.isinf(self.scale_a) or self.scale_a <= 0:
            raise ValueError(f"scale.a is {self.scale_a}, must be positive (or .nan for no scale)")
        if math.isinf(self.scale_b):
            raise ValueError(f"scale.b is {self.scale_b}, must be finite (or .nan for no scale)")
        farthest, name = self.max_depth, "max_depth"
        if self.points_max_depth:
            farthest, name = self.points_max_depth, "points.max_depth"
        if not self.points_min_depth < farthest:
            raise ValueError(
                f"points.min_depth is {self.points_min_depth} and {name} {farthest}: the first must be smaller"
            )

    def output_size_for(self, height: int, width: int) -> tuple[int, int]:
        """Return the outputs' (height, width) for an image of this size. A side of 0 keeps the image's aspect ratio."""
        if not self.output_height and not self.output_width:
            return height, width
        return (
            self.output_height or max(1, round(height * self.output_width / width)),
            self.output_width or max(1, round(width * self.output_height / height)),
        )


class DepthParameters:
    """The declared parameters of a node, and their values.

    Args:
        node: the node that declares them.
        others: see `warn_of_unknown`.

    Attributes:
        cameras: names of the cameras; one empty name for a single camera.
        streams: parameters of each camera by its name. A change replaces the whole dictionary.
        autostart, image_transport: as declared.
        measuring: how sensors tell the scale.

    Raises:
        ValueError: a value given at start is invalid. rclpy raises its own `ParameterException` for some.
    """

    def __init__(self, node: Node, others: Collection[str] = ()) -> None:
        values: dict[str, Any] = {}
        for declaration in DECLARATIONS:
            values[declaration.name] = _declare(node, declaration, declaration.name, declaration.default)
        self.cameras = check_camera_names(values["cameras"])
        for camera in filter(None, self.cameras):
            for name in PER_CAMERA:
                values[f"{camera}.{name}"] = _declare(node, BY_NAME[name], f"{camera}.{name}", values[name])
        self.autostart: bool = values["autostart"]
        self.image_transport: str = values["image_transport"]
        self.measuring = ScaleMeasuring.of(values)
        warn_of_unknown(node, others)
        self._changing = threading.Lock()
        self._values = self._at_start = values
        self.streams = self._streams_of(values)
        if self.measuring.extrinsics is not None and len(self.cameras) > 1:
            raise ValueError("scale.extrinsics is for one sensor and one camera; with several cameras, use TF")
        self.model()

    def _streams_of(self, values: dict[str, Any]) -> dict[str, StreamParameters]:
        return {camera: StreamParameters.of(values, camera) for camera in self.cameras}

    def change(self, parameters: Iterable[Parameter]) -> list[str]:
        """Apply new values, all or none, and return the names of the cameras that they affect.

        Parameters that are not declared here are ignored: rclpy declares its own, from any thread, while it creates a
        subscription. The model's parameters are checked against each other only in `model`, because two that belong
        together are set one after the other. Raises `ValueError`.
        """
        changes = {parameter.name: parameter.value for parameter in parameters if parameter.name in self._at_start}
        for name, value in changes.items():
            declaration_of(name).check(value)
            if name in PER_CAMERA and any(self.cameras):
                own = " or ".join(f"{camera}.{name}" for camera in self.cameras)
                raise ValueError(f"{name} is only the default at start of each camera's own parameter; set {own}")
        if not changes:
            return []
        with self._changing:
            values, before = self._values | changes, self.streams
            streams = self._streams_of(values)
            self._values, self.streams = values, streams
        # As text, because NaN is not equal to itself.
        return [camera for camera in self.cameras if repr(streams[camera]) != repr(before[camera])]

    def model(self) -> ModelParameters:
        """Return the parameters of the model to load. Raises `ValueError`, with the parameter's name."""
        return ModelParameters.of(self._values)

    def scales_at_start(self) -> list[Parameter]:
        """Return every scale parameter with its value at start."""
        prefixes = [f"{camera}." if camera else "" for camera in self.cameras]
        names = [prefix + name for prefix in prefixes for name in ("scale.a", "scale.b")]
        return [Parameter(name, value=self._at_start[name]) for name in names]


def refused(reason: Exception) -> SetParametersResult:
    """Return the answer to a rejected parameter change."""
    return SetParametersResult(successful=False, reason=str(reason))


def _declare(node: Node, declaration: Declaration, name: str, default: Any) -> Any:
    value = node.declare_parameter(name, default, declaration.descriptor()).value
    declaration.check(value)
    return value


def check_camera_names(names: Sequence[str]) -> tuple[str, ...]:
    """Return the checked camera names; one empty name is a single camera. Raises `ValueError`, with the fix."""
    if len(set(names)) != len(names) or not names or ("" in names and len(names) > 1):
        raise ValueError(f"cameras is {list(names)}: give each camera its own name")
    for name in filter(None, names):
        if not re.fullmatch(r"[A-Za-z][A-Za-z0-9_]*", name):
            valid = re.sub(r"[^A-Za-z0-9_]+", "_", name)
            valid = valid if valid[:1].isalpha() else f"camera_{valid.strip('_')}"
            raise ValueError(
                f"cameras: {name!r} is not a valid topic name: start with a letter, then use a-z, A-Z, 0-9 and _, "
                f"for example {valid}"
            )
        if name in BY_NAME or any(key.startswith(f"{name}.") for key in BY_NAME):
            raise ValueError(f"cameras: {name!r} is a parameter of the node; choose another name")
    return tuple(names)
