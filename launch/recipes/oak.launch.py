"""An OAK's color camera, scaled by its stereo depth. Start the driver as usual.

ros2 launch depth_anything_ros oak.launch.py
Every argument of depth.launch.py works too. docs/recipes/oak.md explains the recipe.
"""

from __future__ import annotations

from launch import LaunchDescription

from depth_anything_ros.ros.recipes import defaults, description

DEFAULTS = defaults(
    "oak.yaml",
    image="/oak/rgb/image_raw",
    scale="depth_image",
    sensor_depth="/oak/stereo/image_raw",
    sensor_depth_info="/oak/stereo/camera_info",
)


def generate_launch_description() -> LaunchDescription:
    """Return the description that `ros2 launch` runs."""
    return description(DEFAULTS)
