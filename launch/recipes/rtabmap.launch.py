"""Depth for RTAB-Map, and RTAB-Map.

ros2 launch depth_anything_ros rtabmap.launch.py image:=/camera/image_rect scale:=motion odom:=/odom
Every argument of depth.launch.py works too. docs/recipes/rtabmap.md explains the recipe.
"""

from __future__ import annotations

from launch import LaunchContext, LaunchDescription
from launch.action import Action

from depth_anything_ros.ros.launch_arguments import value_of
from depth_anything_ros.ros.recipes import consumer, defaults, description, output

DEFAULTS = defaults("rtabmap.yaml", image="/camera/image_rect")


def nodes(context: LaunchContext) -> list[Action]:
    """Return the other nodes."""
    remappings = [
        ("rgb/image", value_of(context, "image")),
        ("rgb/camera_info", output(context, "depth/camera_info")),
        ("depth/image", output(context, "depth/image_rect")),
    ]
    return [
        consumer(context, "rtabmap_sync", "rgbd_sync", "rgbd_sync", remappings, "rtabmap"),
        consumer(context, "rtabmap_slam", "rtabmap", "rtabmap", namespace="rtabmap"),
    ]


def generate_launch_description() -> LaunchDescription:
    """Return the description that `ros2 launch` runs."""
    return description(DEFAULTS, nodes, ("rtabmap_sync", "rtabmap_slam"))
