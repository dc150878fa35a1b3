"""What the launch files share: the middleware's profile, our nodes, RViz, and how a launch is refused.

Whatever can be found wrong is found before a process starts: an error while actions run would leave the nodes behind.
"""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from launch import Event, EventHandler, LaunchContext, LaunchDescription
from launch.action import Action
from launch.actions import (
    EmitEvent,
    LogInfo,
    OpaqueFunction,
    RegisterEventHandler,
    SetEnvironmentVariable,
    Shutdown,
)
from launch.substitutions.substitution_failure import SubstitutionFailure
from launch_ros.actions import Node
from launch_ros.substitutions import ExecutableInPackage

from depth_anything_ros.ros.launch_arguments import (
    DEPTH_PARAMETERS,
    SHARED_PARAMETERS,
    Argument,
    check,
    full_name,
    given,
    is_true,
    value_of,
)
from depth_anything_ros.ros.parameter_files import PARAMETERS, ParameterFileError, is_read, section_keys, unread
from depth_anything_ros.system.package_share import PACKAGE, fast_dds_settings, share_directory

NOTHING: Mapping[str, Any] = {}
RESPAWN_DELAY = 2.0
"""Seconds before a node is started again."""


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
    values = {**given(context, DEPTH_PARAMETERS | {"image_transport": str, "rectified": str}), **parameters}
    files = parameter_files(context, ["depth_node"])
    return our_node(context, "depth_node", files, {"depth_node": values}, remappings, is_true(context, "respawn"))


def fast_dds() -> list[SetEnvironmentVariable]:
    """Without the profile, images and clouds are lost on the way; whoever has set one of their own keeps it."""
    return [SetEnvironmentVariable(name, value) for name, value in fast_dds_settings().items()]


def viewer(context: LaunchContext, image: str, camera: str = "") -> list[Action]:
    """RViz on a camera's topics, and the frame it looks from: an optical frame has z forward, where RViz has it up.

    Raises `RuntimeError`, naming the packages, where RViz or the publisher of the frame is not installed.
    """
    if not is_true(context, "rviz"):
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


class _Refusal(Event):
    """Something in the arguments cannot be."""


def _refuse(error: Exception) -> list[Action]:
    """Raises the error as an event of its own.

    An error while an outer launch file is being read would have launch forget the processes that it has started by
    then, and leave them behind.
    """

    def fail(_: LaunchContext) -> None:
        raise error

    handler = EventHandler(
        matcher=lambda event: isinstance(event, _Refusal), entities=[OpaqueFunction(function=fail)], handle_once=True
    )
    return [RegisterEventHandler(handler), EmitEvent(event=_Refusal())]


def description(arguments: Sequence[Argument], nodes: Callable[[LaunchContext], list[Action]]) -> LaunchDescription:
    """Declares the arguments, checks them, sees to the middleware, and starts what ``nodes`` makes of them."""

    def checked(context: LaunchContext) -> list[Action]:
        try:
            check(context, arguments)
            return nodes(context)
        except (ValueError, OSError, RuntimeError) as error:
            return _refuse(error)

    return LaunchDescription([*(entry.declare() for entry in arguments), *fast_dds(), OpaqueFunction(function=checked)])
