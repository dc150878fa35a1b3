"""What the launch files share: their arguments, the middleware's profile, the depth node and its transitions, RViz."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from launch import LaunchContext
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
from launch.conditions import IfCondition
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
    Argument("use_sim_time", "false", "take the time from /clock", BOOLEANS),
    Argument("log_level", "info", "log level of the nodes", ("debug", "info", "warn", "error", "fatal")),
)
DEPTH_PARAMETERS = {argument.name: str for argument in MODEL}


def declared(arguments: Iterable[Argument]) -> list[DeclareLaunchArgument]:
    """The actions that declare the arguments."""
    return [argument.declare() for argument in arguments]


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


def node_options(name: str) -> dict[str, Any]:
    """What every node of ours is launched with. If one ends, all end, so that nobody waits for what cannot come."""
    return {
        "package": PACKAGE,
        "executable": name,
        "namespace": LaunchConfiguration("namespace"),
        "ros_arguments": ["--log-level", LaunchConfiguration("log_level")],
        "output": "screen",
        "emulate_tty": True,
        "on_exit": OpaqueFunction(function=lambda context: _end(context, f"{name} has ended")),
    }


def _end(context: LaunchContext, reason: str) -> list[Action]:
    """Ends the launch and says why; once: launch_ros fails at a second shutdown."""
    return [] if context.is_shutdown else [LogInfo(msg=f"{reason}: all ends"), Shutdown(reason=reason)]


def depth_node(
    context: LaunchContext, files: list[str], parameters: dict[str, Any], remappings: list[tuple[str, str]]
) -> list[Action]:
    """The depth node, and what takes it to `active` unless ``autostart`` is false."""
    values = {**given(context, DEPTH_PARAMETERS), **parameters, "use_sim_time": typed("use_sim_time", bool)}
    node = LifecycleNode(
        name="depth_node",
        parameters=[*files, {**values, "autostart": False}],
        remappings=remappings,
        **node_options("depth_node"),
    )
    return [*(_transitions(node) if value_of(context, "autostart") == "true" else ()), node]


def _transitions(node: LifecycleNode) -> list[Action]:
    """Configures the node when it has started, activates it when it is configured, and ends all if it cannot be."""

    def emit(transition: int) -> EmitEvent:
        return EmitEvent(event=ChangeState(lifecycle_node_matcher=matches_action(node), transition_id=transition))

    def when(start: str, goal: str, action: Action) -> RegisterEventHandler:
        handler = OnStateTransition(target_lifecycle_node=node, start_state=start, goal_state=goal, entities=[action])
        return RegisterEventHandler(handler)

    failed = OpaqueFunction(
        function=lambda context: _end(context, "depth_node could not be configured or activated, its log says why")
    )
    started = OnProcessStart(target_action=node, on_start=[emit(Transition.TRANSITION_CONFIGURE)])
    return [
        RegisterEventHandler(started),
        when("configuring", "inactive", emit(Transition.TRANSITION_ACTIVATE)),
        when("configuring", "unconfigured", failed),
        when("errorprocessing", "unconfigured", failed),
    ]


def fast_dds() -> list[SetEnvironmentVariable]:
    """Without the profile, images and clouds are lost on the way; whoever has set one of their own keeps it."""
    if any(os.environ.get(name) for name in FAST_DDS_PROFILE_VARIABLES):
        return []
    return [SetEnvironmentVariable(name, str(fast_dds_profile())) for name in FAST_DDS_PROFILE_VARIABLES]


def viewer() -> list[Node]:
    """RViz, and the frame it looks from: an optical frame has its z axis forward, where RViz has it up."""
    wanted = IfCondition(LaunchConfiguration("rviz"))
    turn = ["--qx", "0.5", "--qy", "-0.5", "--qz", "0.5", "--qw", "0.5"]  # x forward, z up (REP 103)
    frame = Node(
        package="tf2_ros",
        executable="static_transform_publisher",
        # The view hangs on the camera and not the camera on it, so that a robot's own transforms stay whole.
        arguments=["--frame-id", "camera_optical_frame", "--child-frame-id", "camera_view", *turn],
        condition=wanted,
    )
    rviz = Node(
        package="rviz2",
        executable="rviz2",
        namespace=LaunchConfiguration("namespace"),
        arguments=["-d", str(share_directory() / "rviz" / "camera.rviz")],
        parameters=[{"use_sim_time": typed("use_sim_time", bool)}],
        condition=wanted,
    )
    return [frame, rviz]
