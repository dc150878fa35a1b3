"""A camera (or file) and its depth: camera_node and depth_node in one namespace, with RViz if wanted.

ros2 launch depth_anything_ros camera.launch.py source:=/dev/video0 rviz:=true
"""

from __future__ import annotations

from launch import LaunchContext, LaunchDescription
from launch.action import Action
from launch.actions import OpaqueFunction
from launch_ros.actions import Node

from depth_anything_ros import launching
from depth_anything_ros.launching import BOOLEANS, COMMON, DEPTH_PARAMETERS, MODEL, Argument

ARGUMENTS = (
    Argument("source", "", "a camera's number, /dev/videoN, a video, an image, a folder, or a URL; default: 0"),
    Argument("calibration", "", "camera_info YAML of the camera: path, file:// or package:// URL"),
    Argument("loop", "", "start a file again when it ends (default), or end with it", ("", *BOOLEANS)),
    Argument("one_process", "false", "both nodes in one process, which hand images over without DDS", BOOLEANS),
    Argument("namespace", "camera", "namespace of both nodes and their topics"),
    *MODEL,
    *COMMON,
)
CAMERA_PARAMETERS = {"source": str, "calibration": str, "loop": bool}
REMAPPINGS = [("image", "image_raw")]


def nodes(context: LaunchContext) -> list[Action]:
    files = launching.parameter_files(context, "camera_launch.yaml")
    sim_time = {"use_sim_time": launching.typed("use_sim_time", bool)}
    camera = launching.given(context, CAMERA_PARAMETERS)
    if launching.value_of(context, "one_process") == "true":
        values = {**camera, **launching.given(context, DEPTH_PARAMETERS), **sim_time}
        values["autostart"] = launching.typed("autostart", bool)
        options = launching.node_options("camera_depth_nodes")
        return [Node(parameters=[*files, values], remappings=REMAPPINGS, **options)]
    camera_node = Node(
        name="camera_node", parameters=[*files, {**camera, **sim_time}], **launching.node_options("camera_node")
    )
    return [camera_node, *launching.depth_node(context, files, {}, REMAPPINGS)]


def generate_launch_description() -> LaunchDescription:
    return LaunchDescription(
        [
            *launching.declared(ARGUMENTS),
            *launching.fast_dds(),
            OpaqueFunction(function=nodes),
            *launching.viewer(),
        ]
    )
