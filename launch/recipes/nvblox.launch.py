"""Depth for nvblox, and nvblox.

ros2 launch depth_anything_ros nvblox.launch.py image:=/camera/image_rect scale:=laser_scan scan:=/scan
Every argument of depth.launch.py works too. docs/recipes/nvblox.md explains the recipe.
"""

from __future__ import annotations

from launch import LaunchContext, LaunchDescription
from launch.action import Action

from depth_anything_ros.ros.launch_arguments import value_of
from depth_anything_ros.ros.recipes import consumer, defaults, description, output

DEFAULTS = defaults("nvblox.yaml", image="/camera/image_rect")


def nodes(context: LaunchContext) -> list[Action]:
    """Return the other nodes."""
    remappings = [
        ("camera_0/depth/image", output(context, "depth/image_rect")),
        ("camera_0/depth/camera_info", output(context, "depth/camera_info")),
        ("camera_0/color/image", value_of(context, "image")),
        ("camera_0/color/camera_info", output(context, "depth/camera_info")),
    ]
    return [consumer(context, "nvblox_ros", "nvblox_node", "nvblox_node", remappings)]


def generate_launch_description() -> LaunchDescription:
    """Return the description that `ros2 launch` runs."""
    return description(DEFAULTS, nodes, ("nvblox_ros",))
