"""Depth for depth_image_proc, and its node for colored clouds.

ros2 launch depth_anything_ros depth_image_proc.launch.py image:=/camera/image_rect scale:=laser_scan scan:=/scan
Every argument of depth.launch.py works too. docs/recipes/depth_image_proc.md explains the recipe.
"""

from __future__ import annotations

from launch import LaunchContext, LaunchDescription
from launch.action import Action

from depth_anything_ros.ros.launch_arguments import value_of
from depth_anything_ros.ros.recipes import consumer, defaults, description, output

DEFAULTS = defaults("depth_image_proc.yaml", image="/camera/image_rect")


def nodes(context: LaunchContext) -> list[Action]:
    """Return the other nodes."""
    remappings = [
        ("depth_registered/image_rect", output(context, "depth/image_rect")),
        ("rgb/image_rect_color", value_of(context, "image")),
        ("rgb/camera_info", output(context, "depth/camera_info")),
        ("points", "depth_image_proc/points"),
    ]
    name = "point_cloud_xyzrgb_node"
    return [consumer(context, "depth_image_proc", name, name, remappings)]


def generate_launch_description() -> LaunchDescription:
    """Return the description that `ros2 launch` runs."""
    return description(DEFAULTS, nodes, ("depth_image_proc",))
