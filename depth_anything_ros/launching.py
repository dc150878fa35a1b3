"""What the launch files share: their arguments and the checks of these, the middleware's profile, our nodes, RViz.

Whatever can be found wrong is found before a process starts: an error while actions run would leave the nodes behind.
"""

from __future__ import annotations

import difflib
import json
import os
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from launch import LaunchContext, LaunchDescription
from launch.action import Action
from launch.actions import DeclareLaunchArgument, LogInfo, OpaqueFunction, SetEnvironmentVariable, Shutdown
from launch.logging import get_logger
from launch.substitutions import LaunchConfiguration
from launch.substitutions.substitution_failure import SubstitutionFailure
from launch_ros.actions import Node
from launch_ros.substitutions import ExecutableInPackage
from launch_ros.utilities import make_namespace_absolute, prefix_namespace
from rclpy.exceptions import InvalidNamespaceException, InvalidTopicNameException
from rclpy.validate_full_topic_name import validate_full_topic_name
from rclpy.validate_namespace import validate_namespace
from rclpy.validate_topic_name import validate_topic_name

from depth_anything_ros.nodes.parameters import DECLARATIONS
from depth_anything_ros.parameter_files import PARAMETERS, ParameterFileError, is_read, section_keys, unread
from depth_anything_ros.share import FAST_DDS_PROFILE_VARIABLES, PACKAGE, fast_dds_profile, share_directory

BOOLEANS = ("true", "false")
NOTHING: Mapping[str, Any] = {}
RESPAWN_DELAY = 2.0
"""Seconds before a node is started again."""


class Argument(NamedTuple):
    """A launch argument. An empty default leaves the value to the parameter files."""

    name: str
    default: str
    description: str
    choices: Sequence[str] | None = None

    def declare(self) -> DeclareLaunchArgument:
        """The action that declares it."""
        choices = None if self.choices is None else list(self.choices)
        return DeclareLaunchArgument(
            self.name, default_value=self.default, description=self.description, choices=choices
        )


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
    Argument("preset", "", f"parameters for a kind of camera: {', '.join(presets())}", ("", *presets())),
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
        "whether the images are rectified (default: true); false: raw, to be rectified here",
        ("", *BOOLEANS),
    ),
    Argument("respawn", "false", "start depth_node again when it ends, instead of ending with it", BOOLEANS),
)
"""For launch files that start no camera."""
SHARED_PARAMETERS = {"use_sim_time": bool}
DEPTH_PARAMETERS = {argument.name: str for argument in MODEL} | {"autostart": bool} | SHARED_PARAMETERS


def value_of(context: LaunchContext, argument: str) -> str:
    """An argument's value."""
    return LaunchConfiguration(argument).perform(context)


def given(context: LaunchContext, parameters: Mapping[str, type]) -> dict[str, str | bool]:
    """The values of those parameters, by the arguments of their names, that were not left empty."""
    values = {name: value_of(context, name) for name in parameters}
    return {name: value == "true" if parameters[name] is bool else value for name, value in values.items() if value}


def full_name(context: LaunchContext, node: str) -> str:
    """A node's full name: in the argument ``namespace``, which is within one that an outer launch file pushes."""
    outer = context.launch_configurations.get("ros_namespace")
    namespace = make_namespace_absolute(prefix_namespace(outer, value_of(context, "namespace")))
    return f"{(namespace or '').rstrip('/')}/{node}"


def parameter_files(context: LaunchContext, nodes: Sequence[str], *first: str) -> list[str]:
    """Files of parameters, later ones over earlier ones: those of config/ that are named, preset, params_file.

    Raises `FileNotFoundError` for a params_file that is not there, `ParameterFileError` for one that these nodes would
    not read, or not all of it.
    """
    config = share_directory() / "config"
    files = [config / name for name in first]
    if preset := value_of(context, "preset"):
        files.append(config / "presets" / f"{preset}.yaml")
    if own := os.path.expanduser(value_of(context, "params_file")):
        if not Path(own).is_file():
            raise FileNotFoundError(f"params_file: there is no file {own}")
        if trouble := unread(section_keys(own), [full_name(context, node) for node in nodes]):
            raise ParameterFileError(f"params_file {own}: {trouble}")
        files.append(Path(own))
    return [str(path) for path in files]


def our_node(
    context: LaunchContext,
    executable: str,
    files: Sequence[str],
    values: Mapping[str, Mapping[str, Any]],
    remappings: Sequence[tuple[str, str]] = (),
    respawns: bool = False,
) -> Node:
    """The process of an executable of ours. If it ends, all end, so that nobody waits for what cannot come.

    ``values`` are the parameters of each node in it, by the nodes' names; they go over the ``files``. One that
    ``respawns`` is started again instead of ending all.
    """
    names = {node: full_name(context, node) for node in values}
    read = [path for path in files if any(is_read(section_keys(path), name) for name in names.values())]
    arguments = {names[node]: parameters for node, parameters in values.items() if parameters}
    if respawns:
        ending = {"respawn": True, "respawn_delay": RESPAWN_DELAY}
    else:
        ending = {"on_exit": OpaqueFunction(function=lambda context: _end(context, executable))}
    return Node(
        package=PACKAGE,
        executable=executable,
        name=next(iter(names)) if len(names) == 1 else None,
        namespace=value_of(context, "namespace"),
        parameters=[*read, *([_arguments_file(arguments)] if arguments else [])],
        remappings=remappings,
        ros_arguments=["--log-level", value_of(context, "log_level")],
        output="screen",
        emulate_tty=True,
        **ending,
    )


def _arguments_file(values: Mapping[str, Mapping[str, Any]]) -> str:
    """A file of parameters for each node, by its full name.

    As JSON, which is YAML in which a text stays a text: launch_ros would make a number of a camera called 0. Its keys
    are such as nobody writes: of two sections ROS lets the one win whose key comes last, and a key that has come in an
    earlier file has come then.
    """
    sections = {f"/**{name}/**": {PARAMETERS: parameters} for name, parameters in values.items()}
    with tempfile.NamedTemporaryFile("w", prefix="launch_params_", suffix=".yaml", delete=False) as file:
        json.dump(sections, file, ensure_ascii=False)
    return file.name


def _end(context: LaunchContext, executable: str) -> list[Action]:
    """Ends the launch and says why; once: launch_ros fails at a second shutdown.

    Raises `RuntimeError` for a process that has failed, by which the launch's own exit status is not 0.
    """
    if context.is_shutdown:
        return []
    status = context.locals.event.returncode
    if status:
        raise RuntimeError(f"{executable} has failed with exit status {status}, its log says why: all ends")
    reason = f"{executable} has ended"
    return [LogInfo(msg=f"{reason}: all ends"), Shutdown(reason=reason)]


def depth_of_running_cameras(
    context: LaunchContext, remappings: Sequence[tuple[str, str]], parameters: Mapping[str, Any] = NOTHING
) -> Node:
    """The depth node, under the arguments `RUNNING_CAMERA`."""
    values = {**given(context, DEPTH_PARAMETERS | {"image_transport": str, "rectified": bool}), **parameters}
    files = parameter_files(context, ["depth_node"])
    return our_node(
        context, "depth_node", files, {"depth_node": values}, remappings, value_of(context, "respawn") == "true"
    )


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


def _check(context: LaunchContext, arguments: Sequence[Argument]) -> None:
    """Raises `ValueError` for arguments that cannot be; warns of those that this launch file does not have."""
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


def fast_dds() -> list[SetEnvironmentVariable]:
    """Without the profile, images and clouds are lost on the way; whoever has set one of their own keeps it."""
    if any(os.environ.get(name) for name in FAST_DDS_PROFILE_VARIABLES):
        return []
    return [SetEnvironmentVariable(name, str(fast_dds_profile())) for name in FAST_DDS_PROFILE_VARIABLES]


def viewer(context: LaunchContext, image: str, camera: str = "") -> list[Action]:
    """RViz on a camera's topics, and the frame it looks from: an optical frame has z forward, where RViz has it up.

    Raises `RuntimeError`, naming the packages, where RViz or the publisher of the frame is not installed.
    """
    if value_of(context, "rviz") != "true":
        return []
    publisher, rviz = ("tf2_ros", "static_transform_publisher"), ("rviz2", "rviz2")
    if missing := [package for package, executable in (rviz, publisher) if not _has(context, package, executable)]:
        distribution = os.environ.get("ROS_DISTRO") or "$ROS_DISTRO"
        packages = " ".join(f"ros-{distribution}-{package.replace('_', '-')}" for package in missing)
        raise RuntimeError(
            f"rviz:=true needs {' and '.join(missing)}, not installed here: sudo apt install {packages}; or leave "
            "rviz:=true out"
        )
    turn = ["--qx", "0.5", "--qy", "-0.5", "--qz", "0.5", "--qw", "0.5"]  # x forward, z up (REP 103)
    # The view hangs on the camera and not the camera on it, so that a robot's own transforms stay whole.
    frames = ["--frame-id", value_of(context, "rviz_frame"), "--child-frame-id", "camera_view"]
    return [
        Node(package=publisher[0], executable=publisher[1], arguments=[*frames, *turn]),
        Node(
            package=rviz[0],
            executable=rviz[1],
            namespace="/".join(filter(None, (value_of(context, "namespace"), camera))),
            arguments=["-d", str(share_directory() / "rviz" / "camera.rviz")],
            parameters=[given(context, SHARED_PARAMETERS)],
            remappings=[("image_raw", image)],
        ),
    ]


def _has(context: LaunchContext, package: str, executable: str) -> bool:
    """Whether launch would find an executable."""
    try:
        ExecutableInPackage(package=package, executable=executable).perform(context)
    except (LookupError, SubstitutionFailure):
        return False
    return True


def description(arguments: Sequence[Argument], nodes: Callable[[LaunchContext], list[Action]]) -> LaunchDescription:
    """Declares the arguments, checks them, sees to the middleware, and starts what ``nodes`` makes of them."""

    def checked(context: LaunchContext) -> list[Action]:
        _check(context, arguments)
        return nodes(context)

    return LaunchDescription([*(entry.declare() for entry in arguments), *fast_dds(), OpaqueFunction(function=checked)])
