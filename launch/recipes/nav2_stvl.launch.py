"""A cloud for Nav2's local costmap. Start Nav2 as usual, with local_costmap of the same file.

ros2 launch depth_anything_ros nav2_stvl.launch.py image:=/camera/image_rect scale:=laser_scan scan:=/scan
Every argument of depth.launch.py works too. docs/recipes/nav2.md explains the recipe.
"""

from __future__ import annotations

from launch import LaunchDescription

from depth_anything_ros.ros.recipes import defaults, description

DEFAULTS = defaults("nav2_stvl.yaml", image="/camera/image_rect")


def generate_launch_description() -> LaunchDescription:
    """Return the description that `ros2 launch` runs."""
    return description(DEFAULTS)
