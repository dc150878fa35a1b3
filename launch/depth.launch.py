"""Depth for a camera that runs already: depth_node alone, with RViz if wanted.

ros2 launch depth_anything_ros depth.launch.py image:=/camera/image_rect
"""

from __future__ import annotations

from launch import LaunchContext, LaunchDescription
from launch.action import Action

from depth_anything_ros.ros import launching
from depth_anything_ros.ros.launch_arguments import COMMON, MODEL, RUNNING_CAMERA, Argument, check_topic, value_of

ARGUMENTS = (
    Argument("image", "image", "topic of the images, such as /camera/image_raw; without a slash it is in namespace"),
    Argument("camera_info", "", "topic of their camera_info; default: beside the images, as image_transport has it"),
    # Not `camera`: a driver there has depth/camera_info and depth/image_raw of its own.
    Argument("namespace", "depth_anything", "namespace of the node and of what it publishes"),
    *RUNNING_CAMERA,
    *MODEL,
    *COMMON,
)


def nodes(context: LaunchContext) -> list[Action]:
    """The depth node and the viewer."""
    topics = {name: value_of(context, name) for name in ("image", "camera_info")}
    remappings = [(name, topic) for name, topic in topics.items() if topic]
    for name, topic in remappings:
        check_topic(name, topic)
    return [
        launching.depth_of_running_cameras(context, remappings),
        *launching.viewer(context, topics["image"]),
    ]


def generate_launch_description() -> LaunchDescription:
    """What `ros2 launch` asks for."""
    return launching.description(ARGUMENTS, nodes)
