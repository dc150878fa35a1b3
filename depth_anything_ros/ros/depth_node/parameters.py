"""The depth node's declared parameters, their values, and how they change."""

from __future__ import annotations

import re
import threading
from collections.abc import Collection, Iterable, Sequence
from typing import Any

from rcl_interfaces.msg import FloatingPointRange, IntegerRange, ParameterDescriptor, SetParametersResult
from rclpy.node import Node
from rclpy.parameter import Parameter

from depth_anything_ros.processing.parameter_declarations import (
    BY_NAME,
    DECLARATIONS,
    PER_CAMERA,
    Acts,
    Declaration,
    declaration_of,
)
from depth_anything_ros.processing.parameters import ModelParameters, StreamParameters
from depth_anything_ros.processing.scale_parameters import ScaleMeasuring
from depth_anything_ros.ros.process.unknown_parameters import warn_of_unknown


class DepthParameters:
    """The declared parameters of a node, and their values.

    Args:
        node: the node that declares them.
        others: see `warn_of_unknown`.

    Attributes:
        cameras: names of the cameras; one empty name for a single camera.
        streams: parameters of each camera by its name. A change replaces the whole dictionary.
        autostart, image_transport: as declared.
        measuring: settings for the scale from sensors.

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
    value = node.declare_parameter(name, default, descriptor_of(declaration)).value
    declaration.check(value)
    return value


def descriptor_of(declaration: Declaration) -> ParameterDescriptor:
    """Return what `ros2 param describe` shows."""
    descriptor = ParameterDescriptor(description=declaration.description, read_only=declaration.acts is Acts.START)
    # YAML reads true as a boolean, and one name of a list may be written without brackets.
    descriptor.dynamic_typing = "true" in declaration.choices or declaration.name == "scale.source"
    if declaration.choices:
        descriptor.additional_constraints = f"one of {', '.join(declaration.choices)}"
    if declaration.limits and isinstance(declaration.default, int):
        low, high = declaration.limits
        descriptor.integer_range = [IntegerRange(from_value=low, to_value=high, step=1)]
    elif declaration.limits:
        low, high = declaration.limits
        descriptor.floating_point_range = [FloatingPointRange(from_value=low, to_value=high, step=0.0)]
    return descriptor


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
