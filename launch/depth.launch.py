"""Depth for a camera that is already running: depth_node alone, optionally with RViz.

ros2 launch depth_anything_ros depth.launch.py image:=/camera/image_rect
"""

from __future__ import annotations

from launch import LaunchContext, LaunchDescription
from launch.action import Action

from depth_anything_ros.ros import launching
from depth_anything_ros.ros.launch_arguments import COMMON, MODEL, RUNNING_CAMERA, Argument, check_topic, value_of

SENSORS = {
    "points": ("scale/points", "lidar's or radar's PointCloud2"),
    "scan": ("scale/scan", "LaserScan"),
    "range": ("scale/range", "Range"),
    "imu": ("scale/imu", "Imu"),
    "odom": ("scale/odometry", "robot's Odometry, which carries the scale and is needed for motion"),
    "sensor_depth": ("scale/depth/image_rect", "other camera's depth image"),
    "sensor_depth_info": ("scale/depth/camera_info", "other camera's camera_info"),
}
"""Arguments for the sensors that tell the scale, with the topics that they remap."""

ARGUMENTS = (
    Argument("image", "image", "topic of the images, such as /camera/image_raw; without a slash it is in namespace"),
    Argument("camera_info", "", "topic of the camera_info; default: next to the image topic, as in image_transport"),
    # Not `camera`, where a driver may have its own depth/camera_info and depth/image_raw.
    Argument("namespace", "depth_anything", "namespace of the node and of the topics that it publishes"),
    *(Argument(name, "", f"for scale: topic of the {text}") for name, (_, text) in SENSORS.items()),
    *RUNNING_CAMERA,
    *MODEL,
    *COMMON,
)


def nodes(context: LaunchContext) -> list[Action]:
    """Return the depth node and the viewer."""
    topics = {name: value_of(context, name) for name in ("image", "camera_info")}
    remappings = [(name, topic) for name, topic in topics.items() if topic]
    remappings += [(inner, topic) for name, (inner, _) in SENSORS.items() if (topic := value_of(context, name))]
    for name, topic in remappings:
        check_topic(name, topic)
    return [
        launching.depth_of_running_cameras(context, remappings),
        *launching.viewer(context, topics["image"]),
    ]


def generate_launch_description() -> LaunchDescription:
    """Return the description that `ros2 launch` runs."""
    return launching.description(ARGUMENTS, nodes)
