"""A webcam with usb_cam, and its depth.

ros2 launch depth_anything_ros usb_cam.launch.py scale:=ground_plane camera_height:=0.3
Every argument of depth.launch.py works too. docs/recipes/usb_cam.md explains the recipe.
"""

from __future__ import annotations

from launch import LaunchContext, LaunchDescription
from launch.action import Action

from depth_anything_ros.ros.recipes import consumer, defaults, description

DEFAULTS = defaults("usb_cam.yaml", image="/camera/image_raw")


def nodes(context: LaunchContext) -> list[Action]:
    """Return the other nodes."""
    return [consumer(context, "usb_cam", "usb_cam_node_exe", "usb_cam", namespace="camera")]


def generate_launch_description() -> LaunchDescription:
    """Return the description that `ros2 launch` runs."""
    return description(DEFAULTS, nodes, ("usb_cam",))
