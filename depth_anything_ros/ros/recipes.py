"""Shared code of launch/recipes/: the depth node with other defaults, and a consumer or a camera driver."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from launch import LaunchContext, LaunchDescription
from launch.action import Action
from launch.actions import DeclareLaunchArgument, IncludeLaunchDescription, OpaqueFunction
from launch.condition import Condition
from launch.launch_description_sources import AnyLaunchDescriptionSource
from launch_ros.actions import Node

from depth_anything_ros.ros.apt_packages import missing_packages
from depth_anything_ros.ros.launch_arguments import full_name, value_of
from depth_anything_ros.ros.launching import raise_as_event
from depth_anything_ros.system.package_share import share_directory

NAMESPACE = "depth_anything"
"""Default namespace of the depth node, as in depth.launch.py."""


def recipe_file(name: str) -> str:
    """Return the path of a file in config/recipes."""
    return str(share_directory() / "config" / "recipes" / name)


def defaults(params_file: str, **values: str) -> dict[str, str]:
    """Return the defaults of a recipe's arguments. Every other argument of depth.launch.py keeps its own.

    Args:
        params_file: name of the file in config/recipes with the parameters of all nodes.
        values: defaults of other arguments.
    """
    return {"namespace": NAMESPACE, "params_file": recipe_file(params_file), **values}


def output(context: LaunchContext, topic: str) -> str:
    """Return the full name of one of the depth node's topics, such as "depth/image_rect"."""
    return full_name(context, topic)


def consumer(
    context: LaunchContext,
    package: str,
    executable: str,
    name: str,
    remappings: Sequence[tuple[str, str]] = (),
    namespace: str = "",
    parameters: Mapping[str, Any] | None = None,
) -> Node:
    """Return a node of another package. It reads its section of params_file.

    Args:
        context: the launch context.
        package: its package.
        executable: its executable.
        name: its name, that of its section.
        remappings: from its topics to ours.
        namespace: its namespace.
        parameters: parameters in addition to those of params_file.
    """
    extra = {"use_sim_time": True} if value_of(context, "use_sim_time").lower() == "true" else {}
    return Node(
        package=package,
        executable=executable,
        name=name,
        namespace=namespace,
        parameters=[value_of(context, "params_file"), {**extra, **(parameters or {})}],
        remappings=remappings,
        output="screen",
    )


def description(
    values: Mapping[str, str],
    nodes: Callable[[LaunchContext], list[Action]] | None = None,
    packages: Sequence[str] = (),
) -> LaunchDescription:
    """Return the description: depth.launch.py with these defaults, and the other nodes.

    If one of their packages is missing, the launch ends before anything starts, and says how to install it.

    Args:
        values: from `defaults`.
        nodes: returns the actions that start the other nodes; None for none.
        packages: the packages of these nodes.
    """

    def complain(_: LaunchContext) -> list[Action]:
        return raise_as_event(RuntimeError(missing_packages(packages)))

    is_complete = Condition(predicate=lambda _: not missing_packages(packages))
    is_incomplete = Condition(predicate=lambda _: bool(missing_packages(packages)))
    depth = AnyLaunchDescriptionSource(str(share_directory() / "launch" / "depth.launch.py"))
    return LaunchDescription(
        [
            *(DeclareLaunchArgument(name, default_value=value) for name, value in values.items()),
            OpaqueFunction(function=complain, condition=is_incomplete),
            IncludeLaunchDescription(depth, condition=is_complete),
            *([OpaqueFunction(function=nodes, condition=is_complete)] if nodes else []),
        ]
    )
