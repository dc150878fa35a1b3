"""Depth as compressedDepth, for a bag or a slow network.

ros2 launch depth_anything_ros compressed_depth.launch.py image:=/camera/image_rect scale:=laser_scan scan:=/scan
Every argument of depth.launch.py works too. docs/recipes/compressed_depth.md explains the recipe.
"""

from __future__ import annotations

from launch import LaunchContext, LaunchDescription
from launch.action import Action

from depth_anything_ros.ros.recipes import consumer, defaults, description, output

DEFAULTS = defaults("compressed_depth.yaml", image="/camera/image_rect")


def nodes(context: LaunchContext) -> list[Action]:
    """Return the other nodes."""
    depth = output(context, "depth/image_rect")
    # image_transport forms the name of the output before remapping.
    remappings = [("in", depth), ("out/compressedDepth", f"{depth}/compressedDepth")]
    return [consumer(context, "image_transport", "republish", "image_republisher", remappings)]


def generate_launch_description() -> LaunchDescription:
    """Return the description that `ros2 launch` runs."""
    return description(DEFAULTS, nodes, ("image_transport",))
