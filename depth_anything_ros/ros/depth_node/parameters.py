"""The depth node's parameters: what each means, may be, and when it acts. Its file and its table are made of this."""

from __future__ import annotations

import math
import os
import re
import threading
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any

from rcl_interfaces.msg import FloatingPointRange, IntegerRange, ParameterDescriptor, SetParametersResult
from rclpy.node import Node
from rclpy.parameter import Parameter

from depth_anything_ros.images.intensity import InputRange
from depth_anything_ros.postprocessing.scale import check_limits
from depth_anything_ros.ros.process.unknown_parameters import warn_of_unknown
from depth_anything_ros.runtime.backends import BACKENDS, PRECISIONS


class Acts(Enum):
    """When a parameter's value begins to act."""

    LIVE = "at the next frame"
    CONFIGURE = "when the node is configured, or at ~/reload_model"
    START = "read-only, set at start"


@dataclass(frozen=True)
class Declaration:
    """One parameter. ``limits`` are the least and the greatest value, ``choices`` all that it may be."""

    name: str
    default: Any
    description: str
    acts: Acts
    limits: tuple[float, float] | None = None
    choices: tuple[str, ...] = ()

    def descriptor(self) -> ParameterDescriptor:
        """What `ros2 param describe` shows."""
        descriptor = ParameterDescriptor(description=self.description, read_only=self.acts is Acts.START)
        if "true" in self.choices:  # which YAML gives as a boolean
            descriptor.dynamic_typing = True
        if self.choices:
            descriptor.additional_constraints = f"one of {', '.join(self.choices)}"
        if self.limits and isinstance(self.default, int):
            low, high = self.limits
            descriptor.integer_range = [IntegerRange(from_value=low, to_value=high, step=1)]
        elif self.limits:
            low, high = self.limits
            descriptor.floating_point_range = [FloatingPointRange(from_value=low, to_value=high, step=0.0)]
        return descriptor

    def check(self, value: Any) -> None:
        """Raises `ValueError`, naming the parameter, for a value that is not among its choices."""
        if isinstance(value, bool) and "true" in self.choices:
            return
        if self.choices and value not in self.choices:
            raise ValueError(f"{self.name} is {value!r}, must be one of {', '.join(self.choices)}")


_SIDES = (0, 16384)
_LIVE, _CONFIGURE, _START = Acts.LIVE, Acts.CONFIGURE, Acts.START

DECLARATIONS = (
    Declaration("model", "tiny", "Model: a name from `models list`, an .onnx file, or a model folder.", _CONFIGURE),
    Declaration("record", "", "JSON record (description) of an .onnx file without metadata; empty: none.", _CONFIGURE),
    Declaration(
        "backend",
        "auto",
        "Library and device that run the model; auto: the fastest installed backend that passes the gate.",
        _CONFIGURE,
        choices=("auto", *BACKENDS),
    ),
    Declaration(
        "precision",
        "auto",
        "Precision of the model; auto: the best one of the backend. If it fails the gate, a safer precision is used.",
        _CONFIGURE,
        choices=("auto", *PRECISIONS),
    ),
    Declaration("threads", 0, "CPU threads for the model; 0: the backend decides.", _CONFIGURE, (0, 256)),
    Declaration("input.height", 0, "Rows of the network's input in pixels; 0: the model decides.", _CONFIGURE, _SIDES),
    Declaration(
        "input.width", 0, "Columns of the network's input in pixels; 0: the model decides.", _CONFIGURE, _SIDES
    ),
    Declaration("autostart", True, "Configure and activate at start; false: wait for lifecycle transitions.", _START),
    Declaration(
        "cameras",
        [""],
        "Cameras that share one copy of the model. Each name is a namespace for its topics (NAME/image, "
        "NAME/depth/image_rect) and has its own parameters; one empty name: a single camera without a prefix.",
        _START,
    ),
    Declaration(
        "image_transport",
        "raw",
        "Image topic: raw, or compressed (JPEG, PNG, WebP, BMP or TIFF, on image/compressed).",
        _START,
        choices=("raw", "compressed"),
    ),
    Declaration(
        "output.height",
        0,
        "Rows of every output in pixels; 0: those of the image, or in proportion to output.width if that is set.",
        _LIVE,
        _SIDES,
    ),
    Declaration(
        "output.width",
        0,
        "Columns of every output in pixels; 0: those of the image, or in proportion to output.height if that is set.",
        _LIVE,
        _SIDES,
    ),
    Declaration(
        "rectified",
        "auto",
        "true: the image is rectified, with P of camera_info as its intrinsics; false: it is raw, with K and D; auto: "
        "the topic name decides (image_raw, image_rect), and an image with neither in its name counts as rectified.",
        _LIVE,
        choices=("auto", "true", "false"),
    ),
    Declaration(
        "rectify",
        True,
        "Undistort raw images first; false: keep the distortion and use K.",
        _LIVE,
    ),
    Declaration(
        "input_range",
        "auto",
        "Values of 16-bit images that become black and white: auto (the bits in use, or a narrow band of values), full "
        "(all 16 bits), percentile (follows the band of values), or LOW,HIGH such as 7000,9000.",
        _LIVE,
    ),
    Declaration(
        "scale.a",
        math.nan,
        "Relative models: depth = 1 / (a * inverse_depth + b). If the record's scale is depth_scale: depth = a * "
        "output, without b. If it is depth_affine: depth = a * output + b. .nan: not known.",
        _LIVE,
    ),
    Declaration(
        "scale.b",
        math.nan,
        "Relative models: see scale.a. In 1/meters, usually 0 or slightly above (depth_affine: in meters). .nan: not "
        "known.",
        _LIVE,
    ),
    Declaration(
        "scale.focal_correction",
        True,
        "Metric models whose record names a focal length: multiply depth by the camera's focal length over the "
        "record's, both at the network's input; false: depth is correct only for a lens like that of the training.",
        _LIVE,
    ),
    Declaration("min_depth", 0.1, "Meters; anything closer becomes -Inf (REP 117).", _LIVE, (0.0, 1000.0)),
    Declaration("max_depth", 80.0, "Meters; anything farther becomes +Inf (REP 117).", _LIVE, (0.0, 100000.0)),
    Declaration("max_rate", 0.0, "Maximum frames per second to process; 0: no limit.", _LIVE, (0.0, 1000.0)),
    Declaration(
        "max_age",
        0.0,
        "Maximum age of an image in seconds, from its stamp to its arrival; older images are dropped; 0: no limit.",
        _LIVE,
        (0.0, 3600.0),
    ),
    Declaration(
        "priority",
        1,
        "Several cameras: this camera's share of the model while the model is overloaded.",
        _LIVE,
        (1, 100),
    ),
    Declaration("points.stride", 1, "Use every n-th row and column for the cloud.", _LIVE, (1, 64)),
    Declaration("points.color", True, "Add a field rgb to the cloud, beside x, y, z.", _LIVE),
    Declaration("points.min_depth", 0.0, "Meters; closer points are NaN, in the cloud only.", _LIVE, (0.0, 100000.0)),
    Declaration(
        "points.max_depth",
        0.0,
        "Meters; farther points are NaN, in the cloud only; 0: as max_depth. Leave it at 0 for Nav2, which cannot "
        "clear obstacles with NaN points.",
        _LIVE,
        (0.0, 100000.0),
    ),
    Declaration(
        "flying_pixels.threshold",
        0.05,
        "Points between a near and a far surface are NaN if they are farther than this from both, as a fraction of "
        "their own inverse depth; 0: keep all.",
        _LIVE,
        (0.0, 1.0),
    ),
    Declaration("flying_pixels.in_depth", False, "Make flying pixels invalid in the depth images too.", _LIVE),
    Declaration(
        "overload_share",
        0.2,
        "Fraction of images that newer ones may replace before diagnostics warn about overload.",
        _LIVE,
        (0.0, 1.0),
    ),
)
"""All of them, in the order of the documentation."""

PER_CAMERA = ("max_rate", "priority", "rectified", "input_range", "scale.a", "scale.b")
"""Those that each named camera also has under its own name, such as ``left.rectified``."""

_BY_NAME = {declaration.name: declaration for declaration in DECLARATIONS}


@dataclass(frozen=True)
class ModelParameters:
    """Which model, and what runs it. None stands for "the model's own choice"."""

    model: str
    record: str | None
    backend: str
    precision: str
    threads: int | None
    input_size: tuple[int, int] | None

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> ModelParameters:
        """From the values by name. Raises `ValueError`, naming the parameter."""
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
    """What one camera's frames are subject to; acts at the next frame. Units as in `DECLARATIONS`.

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
    min_depth: float
    max_depth: float
    max_rate: float
    max_age: float
    priority: int
    points_stride: int
    points_color: bool
    points_min_depth: float
    points_max_depth: float
    flying_pixels_threshold: float
    flying_pixels_in_depth: bool
    overload_share: float

    @classmethod
    def of(cls, values: Mapping[str, Any], camera: str = "") -> StreamParameters:
        """Those of a camera, by its name, from the values by parameter's name. Raises `ValueError`, naming one."""
        own = {name: values[f"{camera}.{name}"] for name in PER_CAMERA} if camera else {}
        names = [declaration.name for declaration in DECLARATIONS if declaration.acts is Acts.LIVE]
        chosen = {name.replace(".", "_"): own.get(name, values[name]) for name in names}
        rectified = {"auto": None, "true": True, "false": False}
        return cls(**{**chosen, "rectified": rectified.get(chosen["rectified"], chosen["rectified"])})

    def __post_init__(self) -> None:
        """Checks what the descriptors' ranges cannot."""
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
        """The (height, width) of the outputs for an image of this size; a side that is 0 follows the image's shape."""
        if not self.output_height and not self.output_width:
            return height, width
        return (
            self.output_height or max(1, round(height * self.output_width / width)),
            self.output_width or max(1, round(width * self.output_height / height)),
        )


class DepthParameters:
    """The declared parameters of a node, and their values.

    Attributes:
        cameras: the names of the cameras; one empty name for a single one.
        streams: what each camera's frames are subject to, by its name; replaced whole at a change.
        autostart, image_transport: as declared.

    ``others``: as for `warn_of_unknown`. Raises `ValueError`, or rclpy's own `ParameterException`, for values at start
    that they may not have.
    """

    def __init__(self, node: Node, others: Collection[str] = ()) -> None:
        values: dict[str, Any] = {}
        for declaration in DECLARATIONS:
            values[declaration.name] = _declare(node, declaration, declaration.name, declaration.default)
        self.cameras = check_camera_names(values["cameras"])
        for camera in filter(None, self.cameras):
            for name in PER_CAMERA:
                values[f"{camera}.{name}"] = _declare(node, _BY_NAME[name], f"{camera}.{name}", values[name])
        self.autostart: bool = values["autostart"]
        self.image_transport: str = values["image_transport"]
        warn_of_unknown(node, others)
        self._changing = threading.Lock()
        self._values = self._at_start = values
        self.streams = self._streams_of(values)
        self.model()

    def _streams_of(self, values: dict[str, Any]) -> dict[str, StreamParameters]:
        return {camera: StreamParameters.of(values, camera) for camera in self.cameras}

    def change(self, parameters: Iterable[Parameter]) -> list[str]:
        """Takes values that are being set, all or none, and returns the cameras whose frames they concern.

        Parameters that are not ours are left alone: rclpy declares some of its own, from whatever thread, in the middle
        of making a subscription. Those of the model are not held against each other before `model`: of two that belong
        together, one comes first. Raises `ValueError`.
        """
        changes = {parameter.name: parameter.value for parameter in parameters if parameter.name in self._at_start}
        for name, value in changes.items():
            declaration_of(name).check(value)
            if name in PER_CAMERA and any(self.cameras):
                own = " or ".join(f"{camera}.{name}" for camera in self.cameras)
                raise ValueError(f"{name} is each camera's own, and this only its default at start; set {own}")
        if not changes:
            return []
        with self._changing:
            values, before = self._values | changes, self.streams
            streams = self._streams_of(values)
            self._values, self.streams = values, streams
        # As text: a number that is none is not equal to itself.
        return [camera for camera in self.cameras if repr(streams[camera]) != repr(before[camera])]

    def model(self) -> ModelParameters:
        """The model that is to be loaded now. Raises `ValueError`, naming the parameter."""
        return ModelParameters.of(self._values)

    def scales_at_start(self) -> list[Parameter]:
        """Every scale parameter as it was given at start, to be set again."""
        prefixes = [f"{camera}." if camera else "" for camera in self.cameras]
        names = [prefix + name for prefix in prefixes for name in ("scale.a", "scale.b")]
        return [Parameter(name, value=self._at_start[name]) for name in names]


def declaration_of(name: str) -> Declaration:
    """The declaration behind a parameter's name, which may begin with a camera's. Raises `KeyError`."""
    return _BY_NAME[name] if name in _BY_NAME else _BY_NAME[name.partition(".")[2]]


def refused(reason: Exception) -> SetParametersResult:
    """The answer to parameters that may not be set."""
    return SetParametersResult(successful=False, reason=str(reason))


def _declare(node: Node, declaration: Declaration, name: str, default: Any) -> Any:
    value = node.declare_parameter(name, default, declaration.descriptor()).value
    declaration.check(value)
    return value


def check_camera_names(names: Sequence[str]) -> tuple[str, ...]:
    """The names of the cameras; one empty name stands for a single camera. Raises `ValueError`, with the fix."""
    if len(set(names)) != len(names) or not names or ("" in names and len(names) > 1):
        raise ValueError(f"cameras is {list(names)}: give each camera a name of its own")
    for name in filter(None, names):
        if not re.fullmatch(r"[A-Za-z][A-Za-z0-9_]*", name):
            valid = re.sub(r"[^A-Za-z0-9_]+", "_", name)
            valid = valid if valid[:1].isalpha() else f"camera_{valid.strip('_')}"
            raise ValueError(
                f"cameras: {name!r} is no name for topics, which have a letter first and then a-z, A-Z, 0-9 and _: "
                f"write {valid}"
            )
        if name in _BY_NAME or any(key.startswith(f"{name}.") for key in _BY_NAME):
            raise ValueError(f"cameras: {name!r} is a parameter of the node; choose another name")
    return tuple(names)
