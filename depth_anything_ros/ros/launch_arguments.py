"""The arguments of the launch files, their values, and what is wrong with them."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from launch import LaunchContext
from launch.actions import DeclareLaunchArgument
from launch.logging import get_logger
from launch.substitutions import LaunchConfiguration
from launch_ros.utilities import make_namespace_absolute, prefix_namespace
from rclpy.exceptions import InvalidNamespaceException, InvalidTopicNameException
from rclpy.validate_full_topic_name import validate_full_topic_name
from rclpy.validate_namespace import validate_namespace
from rclpy.validate_topic_name import validate_topic_name

from depth_anything_ros.ros.depth_node.parameter_declarations import DECLARATIONS
from depth_anything_ros.system.package_share import PACKAGE, share_directory

BOOLEANS = ("true", "false")


class Argument(NamedTuple):
    """A launch argument. An empty default leaves the value to the parameter files.

    `check` holds the value against the ``choices``. Launch is not told of them: it would raise while an outer launch
    file is being read, and leave the processes behind that this one has started.
    """

    name: str
    default: str
    description: str
    choices: Sequence[str] | None = None

    def declare(self) -> DeclareLaunchArgument:
        """The action that declares it."""
        choices = f"; one of {', '.join(filter(None, self.choices))}" if self.choices else ""
        return DeclareLaunchArgument(self.name, default_value=self.default, description=self.description + choices)


def presets() -> list[str]:
    """The names of the presets in config/presets."""
    return sorted(path.stem for path in (share_directory() / "config" / "presets").glob("*.yaml"))


_CHOICES = {declaration.name: declaration.choices for declaration in DECLARATIONS}
MODEL = (
    Argument("model", "", "a name in the zoo, an .onnx file or a model's folder; default: tiny, the model in the box"),
    Argument("record", "", "JSON record of an .onnx that does not describe itself"),
    Argument("backend", "", "what runs the model; default: auto, the best there is", ("", *_CHOICES["backend"])),
    Argument(
        "precision", "", "what it computes in; default: auto, as the backend does best", ("", *_CHOICES["precision"])
    ),
)
COMMON = (
    Argument("preset", "", "parameters for a kind of camera", ("", *presets())),
    Argument("params_file", "", "YAML with parameters of the nodes; goes over the preset, the arguments go over it"),
    Argument(
        "autostart",
        "",
        "whether depth_node configures and activates itself (default: true), or waits for a lifecycle manager",
        ("", *BOOLEANS),
    ),
    Argument("rviz", "false", "open RViz with image, depth and cloud", BOOLEANS),
    Argument("rviz_frame", "camera_optical_frame", "optical frame of the images, from which RViz looks"),
    Argument("use_sim_time", "", "take the time from /clock (default: false)", ("", *BOOLEANS)),
    Argument("log_level", "info", "log level of the nodes", ("debug", "info", "warn", "error", "fatal")),
)
RUNNING_CAMERA = (
    Argument(
        "image_transport",
        "",
        "raw (default), or compressed: JPEG or PNG on IMAGE/compressed",
        ("", "raw", "compressed"),
    ),
    Argument(
        "rectified",
        "",
        "whether the images are rectified; false: raw, to be rectified here; auto (default): as the topic's name says",
        ("", "auto", *BOOLEANS),
    ),
    Argument("respawn", "false", "start depth_node again when it ends, instead of ending with it", BOOLEANS),
)
"""For launch files that start no camera."""
SHARED_PARAMETERS = {"use_sim_time": bool}
DEPTH_PARAMETERS = {argument.name: str for argument in MODEL} | {"autostart": bool} | SHARED_PARAMETERS


def value_of(context: LaunchContext, argument: str) -> str:
    """An argument's value."""
    return LaunchConfiguration(argument).perform(context)


def is_true(context: LaunchContext, argument: str) -> bool:
    """Whether an argument among `BOOLEANS` is true, however it is capitalised."""
    return value_of(context, argument).lower() == "true"


def given(context: LaunchContext, parameters: Mapping[str, type]) -> dict[str, str | bool]:
    """The values of those parameters, by the arguments of their names, that were not left empty."""

    def read(name: str, value: str) -> str | bool:
        if value.lower() in BOOLEANS:
            return is_true(context, name) if parameters[name] is bool else value.lower()
        return value

    values = {name: value_of(context, name) for name in parameters}
    return {name: read(name, value) for name, value in values.items() if value}


def full_name(context: LaunchContext, node: str) -> str:
    """A node's full name: in the argument ``namespace``, which is within one that an outer launch file pushes."""
    outer = context.launch_configurations.get("ros_namespace")
    namespace = make_namespace_absolute(prefix_namespace(outer, value_of(context, "namespace")))
    return f"{(namespace or '').rstrip('/')}/{node}"


def check_topic(argument: str, topic: str) -> None:
    """Raises `ValueError`, naming the argument ``image`` or ``camera_info``, for what cannot be its topic."""
    try:
        validate_topic_name(topic)
        if "~" not in topic and "{" not in topic:  # these the node expands
            validate_full_topic_name(f"/{topic.removeprefix('/')}")
    except InvalidTopicNameException as error:
        raise ValueError(f"{argument}:={topic} is no topic: {' '.join(str(error).split())}") from error
    raw = topic.removesuffix("/compressed")
    if argument == "image" and raw != topic:
        raise ValueError(f"image:={topic}: write image:={raw} image_transport:=compressed")


def check(context: LaunchContext, arguments: Sequence[Argument]) -> None:
    """Raises `ValueError` for arguments that cannot be; warns of those that this launch file does not have."""
    for argument in arguments:
        value = value_of(context, argument.name)
        if argument.choices and (value.lower() if "true" in argument.choices else value) not in argument.choices:
            raise ValueError(f"{argument.name}:={value} is none of {', '.join(filter(None, argument.choices))}")
    namespace = full_name(context, "").rstrip("/") or "/"
    try:
        validate_namespace(namespace)
    except InvalidNamespaceException as error:
        raise ValueError(f"namespace:={namespace} cannot be: {' '.join(str(error).split())}") from error
    frame = value_of(context, "rviz_frame")
    if not frame or frame.startswith("/"):
        raise ValueError(f"rviz_frame:={frame} is no frame of tf2, which has a name and no slash before it")
    names = [entry.name for entry in arguments]
    for name, value in context.launch_configurations.items():
        if name not in (*names, "ros_namespace") and (hint := _hint(name, names)):
            get_logger(PACKAGE).warning(f"{name}:={value} is no argument of this launch file and is ignored: {hint}")


def _hint(name: str, arguments: Sequence[str]) -> str:
    """What an unknown argument is meant to be, in words; empty for one that may be an outer launch file's."""
    if near := difflib.get_close_matches(name, arguments, n=1, cutoff=0.8):
        return f"is {near[0]} meant?"
    if name in [declaration.name for declaration in DECLARATIONS]:
        return "it is a parameter of depth_node: write it into a file and give that as params_file:=FILE"
    return ""
