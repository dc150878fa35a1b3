"""Depth, and foxglove_bridge.

ros2 launch depth_anything_ros foxglove.launch.py image:=/camera/image_rect scale:=laser_scan scan:=/scan
Every argument of depth.launch.py works too. docs/recipes/foxglove.md explains the recipe.
"""

from __future__ import annotations

from launch import LaunchContext, LaunchDescription
from launch.action import Action

from depth_anything_ros.ros.recipes import consumer, defaults, description

DEFAULTS = defaults("foxglove.yaml", image="/camera/image_raw")


def nodes(context: LaunchContext) -> list[Action]:
    """Return the other nodes."""
    return [consumer(context, "foxglove_bridge", "foxglove_bridge", "foxglove_bridge")]


def generate_launch_description() -> LaunchDescription:
    """Return the description that `ros2 launch` runs."""
    return description(DEFAULTS, nodes, ("foxglove_bridge",))
