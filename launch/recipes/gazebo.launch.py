"""A camera of Gazebo, bridged to ROS 2, and its depth.

ros2 launch depth_anything_ros gazebo.launch.py scale:=laser_scan scan:=/scan
Every argument of depth.launch.py works too. docs/recipes/gazebo.md explains the recipe.
"""

from __future__ import annotations

from launch import LaunchContext, LaunchDescription
from launch.action import Action

from depth_anything_ros.ros.recipes import consumer, defaults, description, recipe_file

DEFAULTS = defaults("gazebo.yaml", image="/camera/optical/image_raw", use_sim_time="true")


def nodes(context: LaunchContext) -> list[Action]:
    """Return the other nodes."""
    remappings = [(f"/camera/{name}", f"/camera/optical/{name}") for name in ("image_raw", "camera_info")]
    # The bridge is the source of /clock: with use_sim_time it would wait for itself.
    bridge = {"config_file": recipe_file("gazebo_bridge.yaml"), "use_sim_time": False}
    return [consumer(context, "ros_gz_bridge", "parameter_bridge", "gz_bridge", remappings, parameters=bridge)]


def generate_launch_description() -> LaunchDescription:
    """Return the description that `ros2 launch` runs."""
    return description(DEFAULTS, nodes, ("ros_gz_bridge",))
