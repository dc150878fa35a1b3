"""Depth for several cameras that run already, from one process with one copy of the model; RViz shows the first.

ros2 launch depth_anything_ros multi_camera.launch.py cameras:=front,left image:=/{camera}/image_rect
"""

from __future__ import annotations

from launch import LaunchContext, LaunchDescription
from launch.action import Action

from depth_anything_ros import launching
from depth_anything_ros.launch_arguments import (
    COMMON,
    MODEL,
    RUNNING_CAMERA,
    Argument,
    check_topic,
    value_of,
)
from depth_anything_ros.nodes.parameters import check_camera_names

NAME = "{camera}"
ARGUMENTS = (
    Argument("cameras", "left,right", "names of the cameras, with commas between; each is a namespace of its outputs"),
    Argument("image", "/{camera}/image_rect", "topic of a camera's images, {camera} being its name"),
    Argument("camera_info", "", "topic of its camera_info, likewise; default: beside the images"),
    Argument("namespace", "depth", "namespace of the node and of what it publishes"),
    *RUNNING_CAMERA,
    *MODEL,
    *COMMON,
)


def nodes(context: LaunchContext) -> list[Action]:
    """The depth node and the viewer. Raises `ValueError` for arguments that do not tell the cameras apart."""
    cameras = [name.strip() for name in value_of(context, "cameras").split(",")]
    if not all(cameras):
        raise ValueError(f"cameras:={','.join(cameras)} leaves a name empty; give names such as front,left")
    check_camera_names(cameras)
    patterns = {name: value_of(context, name) for name in ("image", "camera_info")}
    for name, pattern in patterns.items():
        if len(cameras) > 1 and pattern and NAME not in pattern:
            raise ValueError(f"{name}:={pattern} is the same topic for every camera; put {NAME} where its name stands")
        if pattern:
            check_topic(name, pattern.replace(NAME, cameras[0]))
    remappings = [
        (f"{camera}/{name}", pattern.replace(NAME, camera))
        for camera in cameras
        for name, pattern in patterns.items()
        if pattern
    ]
    return [
        launching.depth_of_running_cameras(context, remappings, {"cameras": cameras}),
        *launching.viewer(context, remappings[0][1], cameras[0]),
    ]


def generate_launch_description() -> LaunchDescription:
    """What `ros2 launch` asks for."""
    return launching.description(ARGUMENTS, nodes)
