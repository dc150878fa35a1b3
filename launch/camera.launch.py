"""A camera (or file) and its depth: camera_node and depth_node in one namespace, optionally with RViz.

ros2 launch depth_anything_ros camera.launch.py source:=/dev/video0 rviz:=true
"""

from __future__ import annotations

from launch import LaunchContext, LaunchDescription
from launch.action import Action

from depth_anything_ros.ros import launching
from depth_anything_ros.ros.launch_arguments import (
    BOOLEANS,
    COMMON,
    DEPTH_PARAMETERS,
    MODEL,
    SHARED_PARAMETERS,
    Argument,
    given,
    is_true,
)
from depth_anything_ros.ros.scale_launch_arguments import (
    ODOMETRY,
    SCALE,
    SENSOR_TOPICS,
    scale_parameters,
    sensor_remappings,
)
from depth_anything_ros.ros.viewers import viewers

ARGUMENTS = (
    Argument("source", "", "a camera's number, /dev/videoN, a video, an image, a folder, or a URL; default: 0"),
    Argument("calibration", "", "camera_info YAML of the camera: path, file:// or package:// URL"),
    Argument("loop", "", "play a file again when it ends (default); false: end with it", ("", *BOOLEANS)),
    Argument("one_process", "false", "run both nodes in one process, where images pass without DDS", BOOLEANS),
    Argument("namespace", "camera", "namespace of both nodes and their topics"),
    *SCALE,
    *SENSOR_TOPICS,
    *MODEL,
    *COMMON,
)
CAMERA_PARAMETERS = {"source": str, "calibration": str, "loop": bool} | SHARED_PARAMETERS
REMAPPINGS = [("image", "image_raw")]


def nodes(context: LaunchContext) -> list[Action]:
    """Return both nodes, in one process or one each, and the viewer."""
    camera = {"camera_node": given(context, CAMERA_PARAMETERS)}
    remappings = [*REMAPPINGS, *sensor_remappings(context)]
    has_odometry = any(topic == ODOMETRY for topic, _ in remappings)
    depth = {"depth_node": given(context, DEPTH_PARAMETERS) | scale_parameters(context, has_odometry)}
    files = launching.parameter_files(context, [*camera, *depth], "camera_launch.yaml")
    shown = viewers(context, {"": "image_raw"})
    if is_true(context, "one_process"):
        return [
            launching.our_node(context, "camera_depth_nodes", files, camera | depth, remappings),
            *shown,
        ]
    return [
        launching.our_node(context, "camera_node", files, camera),
        launching.our_node(context, "depth_node", files, depth, remappings),
        *shown,
    ]


def generate_launch_description() -> LaunchDescription:
    """Return the description that `ros2 launch` runs."""
    return launching.description(ARGUMENTS, nodes)
