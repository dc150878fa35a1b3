"""The arguments of the launch files: declaration, values and validation."""

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

from depth_anything_ros.processing.parameter_declarations import DECLARATIONS
from depth_anything_ros.system.package_share import PACKAGE, share_directory

BOOLEANS = ("true", "false")
MAX_PORT = 65535


class Argument(NamedTuple):
    """A launch argument. An empty default leaves the value to the parameter files.

    `check` validates the value against ``choices``. `DeclareLaunchArgument` does not get them: launch would raise while
    it reads an outer launch file, and the processes started so far would be left running.
    """

    name: str
    default: str
    description: str
    choices: Sequence[str] | None = None

    def declare(self) -> DeclareLaunchArgument:
        """Return the action that declares the argument."""
        choices = f"; one of {', '.join(filter(None, self.choices))}" if self.choices else ""
        return DeclareLaunchArgument(self.name, default_value=self.default, description=self.description + choices)


def presets() -> list[str]:
    """Return the names of the presets in config/presets."""
    return sorted(path.stem for path in (share_directory() / "config" / "presets").glob("*.yaml"))


_CHOICES = {declaration.name: declaration.choices for declaration in DECLARATIONS}
MODEL = (
    Argument("model", "", "a name of `models list`, an .onnx file or a model folder; default: tiny, the bundled one"),
    Argument("record", "", "JSON record of an .onnx file without metadata, or the record of `calibrate`"),
    Argument(
        "backend",
        "",
        "library and device that run the model; default: auto, the fastest that is installed",
        ("", *_CHOICES["backend"]),
    ),
    Argument(
        "precision", "", "precision of the model; default: auto, the backend's best", ("", *_CHOICES["precision"])
    ),
)
COMMON = (
    Argument("preset", "", "parameters for a kind of camera", ("", *presets())),
    Argument("params_file", "", "YAML with parameters of the nodes; overrides the preset, the arguments override it"),
    Argument(
        "autostart",
        "",
        "whether depth_node configures and activates itself (default: true), or waits for a lifecycle manager",
        ("", *BOOLEANS),
    ),
    Argument("rviz", "false", "open RViz with image, depth and cloud", BOOLEANS),
    Argument("rviz_frame", "camera_optical_frame", "optical frame of the images, the viewpoint of RViz"),
    Argument("view", "false", "show image, depth and cloud on a page for a browser", BOOLEANS),
    Argument("view_host", "127.0.0.1", "address of that page; 0.0.0.0: for other machines too, with a token"),
    Argument("view_port", "8080", "TCP port of that page; 0: any free one"),
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
        "whether the images are rectified; false: raw, rectified by the node; auto (default): the topic name decides",
        ("", "auto", *BOOLEANS),
    ),
    Argument("respawn", "false", "restart depth_node when it ends, instead of ending the launch", BOOLEANS),
)
"""For launch files that start no camera."""
SHARED_PARAMETERS = {"use_sim_time": bool}
DEPTH_PARAMETERS = {argument.name: str for argument in MODEL} | {"autostart": bool} | SHARED_PARAMETERS


def value_of(context: LaunchContext, argument: str) -> str:
    """Return an argument's value."""
    return LaunchConfiguration(argument).perform(context)


def is_true(context: LaunchContext, argument: str) -> bool:
    """Return whether an argument with the choices `BOOLEANS` is true, in any capitalization."""
    return value_of(context, argument).lower() == "true"


def given(context: LaunchContext, parameters: Mapping[str, type]) -> dict[str, str | bool]:
    """Return the values of the launch arguments that are not empty.

    Args:
        context: the launch context.
        parameters: the type of each parameter, by the name that it shares with its launch argument.
    """

    def read(name: str, value: str) -> str | bool:
        if value.lower() in BOOLEANS:
            return is_true(context, name) if parameters[name] is bool else value.lower()
        return value

    values = {name: value_of(context, name) for name in parameters}
    return {name: read(name, value) for name, value in values.items() if value}


def full_name(context: LaunchContext, node: str) -> str:
    """Return a node's full name.

    It includes the argument ``namespace``, below a namespace that an outer launch file pushes.
    """
    outer = context.launch_configurations.get("ros_namespace")
    namespace = make_namespace_absolute(prefix_namespace(outer, value_of(context, "namespace")))
    return f"{(namespace or '').rstrip('/')}/{node}"


def check_topic(argument: str, topic: str) -> None:
    """Check a topic that is given as a launch argument.

    Args:
        argument: name of the argument, "image" or "camera_info".
        topic: its value.

    Raises:
        ValueError: the value is not a valid topic name; the message names the argument.
    """
    try:
        validate_topic_name(topic)
        if "~" not in topic and "{" not in topic:  # the node expands these
            validate_full_topic_name(f"/{topic.removeprefix('/')}")
    except InvalidTopicNameException as error:
        raise ValueError(f"{argument}:={topic} is not a valid topic: {' '.join(str(error).split())}") from error
    raw = topic.removesuffix("/compressed")
    if argument == "image" and raw != topic:
        raise ValueError(f"image:={topic}: write image:={raw} image_transport:=compressed")


def check(context: LaunchContext, arguments: Sequence[Argument]) -> None:
    """Check the arguments of a launch file, and warn about arguments that it does not have.

    Args:
        context: the launch context.
        arguments: the arguments that the launch file declares.

    Raises:
        ValueError: a value is invalid; the message names the argument.
    """
    for argument in arguments:
        value = value_of(context, argument.name)
        if argument.choices and (value.lower() if "true" in argument.choices else value) not in argument.choices:
            choices = ", ".join(filter(None, argument.choices))
            raise ValueError(f"{argument.name}:={value} is invalid; choose one of {choices}")
    namespace = full_name(context, "").rstrip("/") or "/"
    try:
        validate_namespace(namespace)
    except InvalidNamespaceException as error:
        raise ValueError(f"namespace:={namespace} is invalid: {' '.join(str(error).split())}") from error
    port = value_of(context, "view_port")
    if not port.isdecimal() or int(port) > MAX_PORT:
        raise ValueError(f"view_port:={port} is not a port: give a number from 0 to {MAX_PORT}")
    frame = value_of(context, "rviz_frame")
    if not frame or frame.startswith("/"):
        raise ValueError(f"rviz_frame:={frame} is not a tf2 frame: give a name without a leading slash")
    names = [entry.name for entry in arguments]
    for name, value in context.launch_configurations.items():
        if name not in (*names, "ros_namespace") and (hint := _hint(name, names)):
            get_logger(PACKAGE).warning(f"{name}:={value} is not an argument of this launch file, ignored: {hint}")


def _hint(name: str, arguments: Sequence[str]) -> str:
    """Return the fix for an unknown argument; empty if it may belong to an outer launch file."""
    if near := difflib.get_close_matches(name, arguments, n=1, cutoff=0.8):
        return f"did you mean {near[0]}?"
    if name in [declaration.name for declaration in DECLARATIONS]:
        return "it is a parameter of depth_node: put it in a file and pass that as params_file:=FILE"
    return ""
