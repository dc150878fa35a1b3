"""A cloud for octomap_server, and octomap_server.

ros2 launch depth_anything_ros octomap.launch.py image:=/camera/image_rect scale:=laser_scan scan:=/scan
Every argument of depth.launch.py works too. docs/recipes/octomap.md explains the recipe.
"""

from __future__ import annotations

from launch import LaunchContext, LaunchDescription
from launch.action import Action

from depth_anything_ros.ros.recipes import consumer, defaults, description, output

DEFAULTS = defaults("octomap.yaml", image="/camera/image_rect")


def nodes(context: LaunchContext) -> list[Action]:
    """Return the other nodes."""
    remappings = [("cloud_in", output(context, "points"))]
    return [consumer(context, "octomap_server", "octomap_server_node", "octomap_server", remappings)]


def generate_launch_description() -> LaunchDescription:
    """Return the description that `ros2 launch` runs."""
    return description(DEFAULTS, nodes, ("octomap_server",))
