"""Depth for a camera that is already running: depth_node alone, optionally with RViz.

ros2 launch depth_anything_ros depth.launch.py image:=/camera/image_rect
"""

from __future__ import annotations

from launch import LaunchContext, LaunchDescription
from launch.action import Action

from depth_anything_ros.ros import launching
from depth_anything_ros.ros.launch_arguments import (
    COMMON,
    MODEL,
    RUNNING_CAMERA,
    Argument,
    check_topic,
    value_of,
)
from depth_anything_ros.ros.scale_launch_arguments import SCALE, SENSOR_TOPICS, sensor_remappings
from depth_anything_ros.ros.viewers import viewers

ARGUMENTS = (
    Argument("image", "image", "topic of the images, such as /camera/image_raw; without a slash it is in namespace"),
    Argument("camera_info", "", "topic of the camera_info; default: next to the image topic, as in image_transport"),
    # Not `camera`, where a driver may have its own depth/camera_info and depth/image_raw.
    Argument("namespace", "depth_anything", "namespace of the node and of the topics that it publishes"),
    *SCALE,
    *SENSOR_TOPICS,
    *RUNNING_CAMERA,
    *MODEL,
    *COMMON,
)


def nodes(context: LaunchContext) -> list[Action]:
    """Return the depth node and the viewer."""
    topics = {name: value_of(context, name) for name in ("image", "camera_info")}
    remappings = [(name, topic) for name, topic in topics.items() if topic]
    for name, topic in remappings:
        check_topic(name, topic)
    return [
        launching.depth_of_running_cameras(context, [*remappings, *sensor_remappings(context)]),
        *viewers(context, {"": topics["image"] or "image"}),
    ]


def generate_launch_description() -> LaunchDescription:
    """Return the description that `ros2 launch` runs."""
    return launching.description(ARGUMENTS, nodes)
