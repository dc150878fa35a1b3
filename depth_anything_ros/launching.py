"""What the launch files share: their arguments, the middleware's profile, the depth node and its transitions, RViz."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from launch import LaunchContext, LaunchDescription
from launch.action import Action
from launch.actions import (
    DeclareLaunchArgument,
    EmitEvent,
    LogInfo,
    OpaqueFunction,
    RegisterEventHandler,
    SetEnvironmentVariable,
    Shutdown,
)
from launch.event_handlers import OnProcessStart
from launch.events import matches_action
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import LifecycleNode, Node
from launch_ros.event_handlers import OnStateTransition
from launch_ros.events.lifecycle import ChangeState
from launch_ros.parameter_descriptions import ParameterValue
from lifecycle_msgs.msg import Transition

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


MODEL = (
    Argument("model", "", "a name in the zoo, an .onnx file or a model's folder; default: tiny, the model in the box"),
    Argument("record", "", "JSON record of an .onnx that does not describe itself"),
    Argument("backend", "", "what runs the model; default: auto, the best there is"),
    Argument(
        "precision", "", "what it computes in: fp32, fp16, bf16, int8, ...; default: auto, as the backend does best"
    ),
)
COMMON = (
    Argument("preset", "", f"parameters for a kind of camera: {', '.join(presets())}", ("", *presets())),
    Argument("params_file", "", "YAML with parameters of the nodes; goes over the preset, the arguments go over it"),
    Argument("autostart", "true", "configure and activate depth_node, or leave that to a lifecycle manager", BOOLEANS),
    Argument("rviz", "false", "open RViz with image, depth and cloud", BOOLEANS),
    Argument("rviz_frame", "camera_optical_frame", "optical frame of the images, from which RViz looks"),
    Argument("use_sim_time", "false", "take the time from /clock", BOOLEANS),
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
DEPTH_PARAMETERS = {argument.name: str for argument in MODEL}


def typed(argument: str, kind: type) -> ParameterValue:
    """A parameter whose value is the argument of its name."""
    return ParameterValue(LaunchConfiguration(argument), value_type=kind)


def given(context: LaunchContext, parameters: dict[str, type]) -> dict[str, ParameterValue]:
    """Those parameters, by the arguments of their names, that were not left empty."""
    return {name: typed(name, kind) for name, kind in parameters.items() if value_of(context, name)}


def value_of(context: LaunchContext, argument: str) -> str:
    """An argument's value."""
    return LaunchConfiguration(argument).perform(context)


def parameter_files(context: LaunchContext, *first: str) -> list[str]:
    """Files of parameters, later ones over earlier ones: those of config/ that are named, preset, params_file.

    Raises `FileNotFoundError` for a params_file that is not there.
    """
    config = share_directory() / "config"
    files = [config / name for name in first]
    preset, own = value_of(context, "preset"), value_of(context, "params_file")
    files += [config / "presets" / f"{preset}.yaml"] if preset else []
    if own and not Path(own).is_file():
        raise FileNotFoundError(f"params_file: there is no {own}")
    return [str(path) for path in files] + ([own] if own else [])


def node_options(name: str, respawns: bool = False) -> dict[str, Any]:
    """What every node of ours is launched with. If one ends, all end, so that nobody waits for what cannot come.

    One that ``respawns`` is started again instead.
    """
    options = {
        "package": PACKAGE,
        "executable": name,
        "namespace": LaunchConfiguration("namespace"),
        "ros_arguments": ["--log-level", LaunchConfiguration("log_level")],
        "output": "screen",
        "emulate_tty": True,
    }
    if respawns:
        return {**options, "respawn": True, "respawn_delay": RESPAWN_DELAY}
    return {**options, "on_exit": OpaqueFunction(function=lambda context: _end(context, f"{name} has ended"))}


def _end(context: LaunchContext, reason: str) -> list[Action]:
    """Ends the launch and says why; once: launch_ros fails at a second shutdown."""
    return [] if context.is_shutdown else [LogInfo(msg=f"{reason}: all ends"), Shutdown(reason=reason)]


def depth_node(
    context: LaunchContext,
    files: list[str],
    remappings: list[tuple[str, str]],
    parameters: Mapping[str, Any] = NOTHING,
    respawns: bool = False,
) -> list[Action]:
    """The depth node, and what takes it to `active` unless ``autostart`` is false.

    One that ``respawns`` does that by itself: for some seconds DDS takes the service of one that died for alive, and a
    request to it would be lost.
    """
    starts = value_of(context, "autostart") == "true"
    values = {**given(context, DEPTH_PARAMETERS), **parameters, "use_sim_time": typed("use_sim_time", bool)}
    node = LifecycleNode(
        name="depth_node",
        parameters=[*files, {**values, "autostart": starts and respawns}],
        remappings=remappings,
        **node_options("depth_node", respawns),
    )
    return [*(_Start(node).handlers() if starts and not respawns else ()), node]


class _Start:
    """Takes a node to `active` when its process has started, and ends all if that fails.

    Once it is active, its transitions are its users' own business: one that fails then ends nothing.
    """

    _FAILURES = (("configuring", "unconfigured"), ("activating", "inactive"), ("errorprocessing", "unconfigured"))

    def __init__(self, node: LifecycleNode) -> None:
        self._node = node
        self._is_under_way = False

    def handlers(self) -> list[Action]:
        """The actions that see to it; they come before the node's own."""
        begin, go_on = OpaqueFunction(function=self._begin), OpaqueFunction(function=self._go_on)
        return [
            RegisterEventHandler(OnProcessStart(target_action=self._node, on_start=[begin])),
            RegisterEventHandler(OnStateTransition(target_lifecycle_node=self._node, entities=[go_on])),
        ]

    def _emit(self, transition: int) -> list[Action]:
        event = ChangeState(lifecycle_node_matcher=matches_action(self._node), transition_id=transition)
        return [EmitEvent(event=event)]

    def _begin(self, _: LaunchContext) -> list[Action]:
        self._is_under_way = True
        return self._emit(Transition.TRANSITION_CONFIGURE)

    def _go_on(self, context: LaunchContext) -> list[Action]:
        passage = (context.locals.event.start_state, context.locals.event.goal_state)
        if self._is_under_way and passage == ("configuring", "inactive"):
            return self._emit(Transition.TRANSITION_ACTIVATE)
        if self._is_under_way and passage in self._FAILURES:
            return _end(context, "depth_node could not be configured or activated, its log says why")
        if passage == ("activating", "active"):
            self._is_under_way = False
        return []


def depth_of_running_cameras(
    context: LaunchContext, remappings: list[tuple[str, str]], parameters: Mapping[str, Any] = NOTHING
) -> list[Action]:
    """The depth node, under the arguments `RUNNING_CAMERA`."""
    values = {**parameters, **given(context, {"image_transport": str, "rectified": bool})}
    respawns = value_of(context, "respawn") == "true"
    return depth_node(context, parameter_files(context), remappings, values, respawns)


def fast_dds() -> list[SetEnvironmentVariable]:
    """Without the profile, images and clouds are lost on the way; whoever has set one of their own keeps it."""
    if any(os.environ.get(name) for name in FAST_DDS_PROFILE_VARIABLES):
        return []
    return [SetEnvironmentVariable(name, str(fast_dds_profile())) for name in FAST_DDS_PROFILE_VARIABLES]


def viewer(context: LaunchContext, image: str, camera: str = "") -> list[Action]:
    """RViz on a camera's topics, and the frame it looks from: an optical frame has z forward, where RViz has it up."""
    if value_of(context, "rviz") != "true":
        return []
    turn = ["--qx", "0.5", "--qy", "-0.5", "--qz", "0.5", "--qw", "0.5"]  # x forward, z up (REP 103)
    frame = Node(
        package="tf2_ros",
        executable="static_transform_publisher",
        # The view hangs on the camera and not the camera on it, so that a robot's own transforms stay whole.
        arguments=["--frame-id", value_of(context, "rviz_frame"), "--child-frame-id", "camera_view", *turn],
    )
    rviz = Node(
        package="rviz2",
        executable="rviz2",
        namespace="/".join(filter(None, (value_of(context, "namespace"), camera))),
        arguments=["-d", str(share_directory() / "rviz" / "camera.rviz")],
        parameters=[{"use_sim_time": typed("use_sim_time", bool)}],
        remappings=[("image_raw", image)],
    )
    return [frame, rviz]


def description(arguments: Iterable[Argument], nodes: Callable[[LaunchContext], list[Action]]) -> LaunchDescription:
    """Declares the arguments, sees to the middleware, and starts what ``nodes`` makes of them."""
    return LaunchDescription([*(entry.declare() for entry in arguments), *fast_dds(), OpaqueFunction(function=nodes)])
