"""A ZED, and depth of its left eye, scaled by its own depth. Start the driver as usual.

ros2 launch depth_anything_ros zed.launch.py
Every argument of depth.launch.py works too. docs/recipes/zed.md explains the recipe.
"""

from __future__ import annotations

from launch import LaunchDescription

from depth_anything_ros.ros.recipes import defaults, description

DEFAULTS = defaults(
    "zed.yaml",
    image="/zed/zed_node/rgb/color/rect/image",
    scale="depth_image",
    sensor_depth="/zed/zed_node/depth/depth_registered",
    sensor_depth_info="/zed/zed_node/depth/camera_info",
)


def generate_launch_description() -> LaunchDescription:
    """Return the description that `ros2 launch` runs."""
    return description(DEFAULTS)
