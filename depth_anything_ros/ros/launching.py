"""Shared code of the launch files: middleware profile, nodes, and rejection of invalid arguments.

Arguments are checked before a process starts: an error while actions run would leave the nodes running.
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
from launch_ros.actions import Node

from depth_anything_ros.ros.launch_arguments import (
    DEPTH_PARAMETERS,
    Argument,
    check,
    full_name,
    given,
    is_true,
    value_of,
)
from depth_anything_ros.ros.parameter_files import PARAMETERS, ParameterFileError, is_read, section_keys, unread
from depth_anything_ros.ros.scale_launch_arguments import ODOMETRY, scale_parameters
from depth_anything_ros.system.package_share import PACKAGE, fast_dds_settings, share_directory

NOTHING: Mapping[str, Any] = {}
RESPAWN_DELAY = 2.0
"""Seconds before a node is restarted."""


def parameter_files(context: LaunchContext, nodes: Sequence[str], *first: str) -> list[str]:
    """Return the parameter files, in the order in which later ones override earlier ones.

    The order is: ``first``, the preset, params_file.

    Args:
        context: the launch context.
        nodes: names of the nodes that read the files.
        first: names of files in config/.

    Raises:
        FileNotFoundError: params_file does not exist.
        ParameterFileError: the nodes would ignore params_file or a part of it.
    """
    config = share_directory() / "config"
    files = [config / name for name in first]
    if preset := value_of(context, "preset"):
        files.append(config / "presets" / f"{preset}.yaml")
    if own := os.path.expanduser(value_of(context, "params_file")):
        if not Path(own).is_file():
            raise FileNotFoundError(f"params_file: the file {own} does not exist")
        if problem := unread(section_keys(own), [full_name(context, node) for node in nodes]):
            raise ParameterFileError(f"params_file {own}: {problem}")
        files.append(Path(own))
    return [str(path) for path in files]


def our_node(
    context: LaunchContext,
    executable: str,
    files: Sequence[str],
    values: Mapping[str, Mapping[str, Any]],
    remappings: Sequence[tuple[str, str]] = (),
    respawns: bool = False,
    is_needed: bool = True,
) -> Node:
    """Return the process of one of the package's executables.

    If it is needed and ends, the launch ends, so that no process waits for data that cannot arrive.

    Args:
        context: the launch context.
        executable: name of the executable.
        files: parameter files. Only those that a node of the process reads are passed.
        values: parameters of each node in the process, by node name; they override the ``files``.
        remappings: topic remappings of the process.
        respawns: restart the process when it ends, instead of ending the launch.
        is_needed: whether the other processes are of no use without it.
    """
    names = {node: full_name(context, node) for node in values}
    read = [path for path in files if any(is_read(section_keys(path), name) for name in names.values())]
    arguments = {names[node]: parameters for node, parameters in values.items() if parameters}
    if respawns:
        ending = {"respawn": True, "respawn_delay": RESPAWN_DELAY}
    elif not is_needed:
        ending = {}
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
    """Write a parameter file with a section for each node, by full name. Return its path.

    JSON keeps text as text, where launch_ros would read a camera called 0 as a number. The keys are ones that no user
    writes: if two sections match, ROS prefers the key that it read last, and an already seen key keeps its position.
    """
    sections = {f"/**{name}/**": {PARAMETERS: parameters} for name, parameters in values.items()}
    with tempfile.NamedTemporaryFile("w", prefix="launch_params_", suffix=".yaml", delete=False) as file:
        json.dump(sections, file, ensure_ascii=False)
    return file.name


def _end(context: LaunchContext, executable: str) -> list[Action]:
    """End the launch and log the reason. Do nothing if it ends already: launch_ros fails at a second shutdown.

    Raises `RuntimeError` if the process failed, so that the exit status of the launch is not 0.
    """
    if context.is_shutdown:
        return []
    status = context.locals.event.returncode
    if status:
        raise RuntimeError(f"{executable} failed with exit status {status} (see its log): ending the launch")
    reason = f"{executable} ended"
    return [LogInfo(msg=f"{reason}: ending the launch"), Shutdown(reason=reason)]


def depth_of_running_cameras(
    context: LaunchContext, remappings: Sequence[tuple[str, str]], parameters: Mapping[str, Any] = NOTHING
) -> Node:
    """Return the depth node for launch files with the arguments `RUNNING_CAMERA`.

    Args:
        context: the launch context.
        remappings: topic remappings of the node.
        parameters: parameters in addition to the launch arguments.
    """
    own = given(context, DEPTH_PARAMETERS | {"image_transport": str, "rectified": str})
    # An outer launch file may have an argument `odom` for something else.
    has_odometry = any(f"/{topic}".endswith(f"/{ODOMETRY}") for topic, _ in remappings)
    values = {**own, **scale_parameters(context, has_odometry), **parameters}
    files = parameter_files(context, ["depth_node"])
    return our_node(context, "depth_node", files, {"depth_node": values}, remappings, is_true(context, "respawn"))


def fast_dds() -> list[SetEnvironmentVariable]:
    """Return the actions that set the Fast DDS profile, without which images and clouds are lost.

    A profile that the user has set is kept.
    """
    return [SetEnvironmentVariable(name, value) for name, value in fast_dds_settings().items()]


class _InvalidArguments(Event):
    """An argument is invalid, or a package is missing."""


def raise_as_event(error: Exception) -> list[Action]:
    """Return actions that raise the error in an event handler.

    If the error were raised while launch reads an outer launch file, launch would forget the processes that it has
    started, and leave them running.
    """

    def fail(_: LaunchContext) -> None:
        raise error

    handler = EventHandler(
        matcher=lambda event: isinstance(event, _InvalidArguments),
        entities=[OpaqueFunction(function=fail)],
        handle_once=True,
    )
    return [RegisterEventHandler(handler), EmitEvent(event=_InvalidArguments())]


def description(arguments: Sequence[Argument], nodes: Callable[[LaunchContext], list[Action]]) -> LaunchDescription:
    """Return a launch description: declare and check the arguments, set the middleware profile, start the nodes.

    Args:
        arguments: arguments of the launch file.
        nodes: returns the actions that start the nodes; called after the arguments are checked.
    """

    def checked(context: LaunchContext) -> list[Action]:
        try:
            check(context, arguments)
            return nodes(context)
        except (ValueError, OSError, RuntimeError) as error:
            return raise_as_event(error)

    return LaunchDescription([*(entry.declare() for entry in arguments), *fast_dds(), OpaqueFunction(function=checked)])
