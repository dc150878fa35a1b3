"""A laser scan from depth.

ros2 launch depth_anything_ros depthimage_to_laserscan.launch.py scale:=ground_plane camera_height:=0.3
Every argument of depth.launch.py works too. docs/recipes/depthimage_to_laserscan.md explains the recipe.
"""

from __future__ import annotations

from launch import LaunchContext, LaunchDescription
from launch.action import Action

from depth_anything_ros.ros.recipes import consumer, defaults, description, output

DEFAULTS = defaults("depthimage_to_laserscan.yaml", image="/camera/image_rect")


def nodes(context: LaunchContext) -> list[Action]:
    """Return the other nodes."""
    remappings = [
        ("depth", output(context, "depth/image_rect")),
        ("depth_camera_info", output(context, "depth/camera_info")),
        ("scan", output(context, "scan")),
    ]
    package = "depthimage_to_laserscan"
    return [consumer(context, package, f"{package}_node", package, remappings)]


def generate_launch_description() -> LaunchDescription:
    """Return the description that `ros2 launch` runs."""
    return description(DEFAULTS, nodes, ("depthimage_to_laserscan",))
