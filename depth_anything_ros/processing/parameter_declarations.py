"""Declarations of the depth node's parameters: name, default, description, range, and when a change takes effect.

`parameter_documents` generates config/depth_node.yaml and docs/parameters.md from them.

Values act in these places: model, backend and precision in `model_loader`; depth and flying pixels in
`postprocessing.depth_products`; points in `postprocessing.point_cloud`; scale in `scale_choice` and `measured_scale`;
max_rate and max_age in `ros.io.image_input`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import Enum
from typing import Any

from depth_anything_ros.runtime.backends import BACKENDS, PRECISIONS


class Acts(Enum):
    """When a parameter's value takes effect."""

    LIVE = "at the next frame"
    CONFIGURE = "when the node is configured, or at ~/reload_model"
    START = "read-only, set at start"


@dataclass(frozen=True)
class Declaration:
    """One parameter.

    Attributes:
        name: the name, with a dot between group and parameter.
        default: the default value; its type is the parameter's type.
        description: one or two sentences for `ros2 param describe` and the documents.
        acts: when a new value takes effect.
        limits: minimum and maximum, None for no limits.
        choices: the allowed values, empty if any value is allowed.
    """

    name: str
    default: Any
    description: str
    acts: Acts
    limits: tuple[float, float] | None = None
    choices: tuple[str, ...] = ()

    def check(self, value: Any) -> None:
        """Raise `ValueError`, with the parameter's name, if the value is not one of the choices."""
        if isinstance(value, bool) and "true" in self.choices:
            return
        if self.choices and value not in self.choices:
            raise ValueError(f"{self.name} is {value!r}, must be one of {', '.join(self.choices)}")


SCALE_SOURCES = ("ground_plane", "depth_image", "point_cloud", "laser_scan", "range", "motion")
"""The sensors that ``scale.source`` may name."""
_SIDES = (0, 16384)
_LIVE, _CONFIGURE, _START = Acts.LIVE, Acts.CONFIGURE, Acts.START

DECLARATIONS = (
    Declaration("model", "tiny", "Model: a name from `models list`, an .onnx file, or a model folder.", _CONFIGURE),
    Declaration(
        "record",
        "",
        "JSON record (description) for an .onnx file without metadata, or instead of the model's own; empty: none.",
        _CONFIGURE,
    ),
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
        "Precision of the model; auto: the backend's usual one. If it fails the gate, the next safer one is used.",
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
        "Rows of every output in pixels; 0: as the image, or in proportion to output.width if it is set.",
        _LIVE,
        _SIDES,
    ),
    Declaration(
        "output.width",
        0,
        "Columns of every output in pixels; 0: as the image, or in proportion to output.height if it is set.",
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
    Declaration(
        "scale.source",
        ["none"],
        "Sources of the scale, or of the correction of a metric model: ground_plane, depth_image, point_cloud, "
        "laser_scan, range, motion (of the camera; needs scale.odometry: topic or tf), or several of them; "
        "otherwise fixed (scale.a and scale.b), or none (scale.a and scale.b, if they are set).",
        _START,
    ),
    Declaration(
        "scale.nominal",
        False,
        "Relative models without any other scale: use the plausible, unmeasured scale of the model's record. Do not "
        "drive by it.",
        _LIVE,
    ),
    Declaration(
        "scale.hold",
        1.0,
        "Seconds that the scale is held without a measurement. Its error grows meanwhile. Then it is lost, or earlier, "
        "if its error reaches 40 % (without odometry, after about 5 s). A metric model then returns to its own meters.",
        _LIVE,
        (0.0, 3600.0),
    ),
    Declaration(
        "scale.lost",
        "stop",
        "Behavior after the scale of a relative model is lost: stop (no depth until the next measurement), or mark "
        "(depth with a growing error on depth/sigma; the topic scale and diagnostics report the loss).",
        _LIVE,
        choices=("stop", "mark"),
    ),
    Declaration(
        "scale.odometry",
        "images",
        "Motion that carries the scale along between measurements: images (by tracked features), topic "
        "(nav_msgs/Odometry on scale/odometry), tf, or none.",
        _START,
        choices=("images", "topic", "tf", "none"),
    ),
    Declaration("scale.odom_frame", "odom", "scale.odometry tf: the fixed frame in TF.", _START),
    Declaration("scale.local", True, "Correct depth locally where the sensors support it.", _LIVE),
    Declaration(
        "scale.camera_height",
        0.0,
        "Source ground_plane: height of the camera above the ground in meters.",
        _LIVE,
        (0.0, 100.0),
    ),
    Declaration(
        "scale.camera_pitch",
        0.0,
        "Source ground_plane without an IMU: angle by which the camera looks down, in degrees.",
        _LIVE,
        (-90.0, 90.0),
    ),
    Declaration(
        "scale.extrinsics",
        [0.0],
        "Position and rotation of the sensor (for odometry: of the robot's base) in the camera's optical frame: x, y, "
        "z, qx, qy, qz, qw; one 0.0: from TF.",
        _START,
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
    Declaration("points.color", True, "Add a field rgb to the cloud, after x, y, z.", _LIVE),
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
        "points.max_sigma",
        0.0,
        "Points whose standard deviation of depth is above this fraction of depth are NaN, in the cloud only; 0: no "
        "limit. It acts while scale.source is set.",
        _LIVE,
        (0.0, 10.0),
    ),
    Declaration(
        "flying_pixels.threshold",
        0.05,
        "A point between a near and a far surface becomes NaN if its inverse depth differs from both by more than this "
        "fraction. Smaller values remove more points; 0: keep all.",
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
"""All parameters, in the order of the documentation."""

PER_CAMERA = (
    *("max_rate", "priority", "rectified", "input_range", "scale.a", "scale.b"),
    *("scale.camera_height", "scale.camera_pitch"),
)
"""Parameters that each named camera also has under its own name, such as ``left.rectified``."""

BY_NAME = {declaration.name: declaration for declaration in DECLARATIONS}


def declaration_of(name: str) -> Declaration:
    """Return the declaration of a parameter, whose name may start with a camera's. Raises `KeyError`."""
    return BY_NAME[name] if name in BY_NAME else BY_NAME[name.partition(".")[2]]
