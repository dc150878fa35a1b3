"""A RealSense, and depth of its color camera, scaled by its depth camera.

ros2 launch depth_anything_ros realsense.launch.py
Every argument of depth.launch.py works too. docs/recipes/realsense.md explains the recipe.
"""

from __future__ import annotations

from launch import LaunchContext, LaunchDescription
from launch.action import Action

from depth_anything_ros.ros.recipes import consumer, defaults, description

DEFAULTS = defaults(
    "realsense.yaml",
    image="/camera/camera/color/image_raw",
    scale="depth_image",
    sensor_depth="/camera/camera/aligned_depth_to_color/image_raw",
    sensor_depth_info="/camera/camera/aligned_depth_to_color/camera_info",
)


def nodes(context: LaunchContext) -> list[Action]:
    """Return the other nodes."""
    return [consumer(context, "realsense2_camera", "realsense2_camera_node", "camera", namespace="camera")]


def generate_launch_description() -> LaunchDescription:
    """Return the description that `ros2 launch` runs."""
    return description(DEFAULTS, nodes, ("realsense2_camera",))
