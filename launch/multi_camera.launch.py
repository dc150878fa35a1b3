"""Depth for several running cameras, in one process with one copy of the model. RViz shows all of them.

ros2 launch depth_anything_ros multi_camera.launch.py cameras:=front,left image:=/{camera}/image_rect
"""

from __future__ import annotations

import os
from pathlib import Path

from launch import LaunchContext, LaunchDescription
from launch.action import Action

from depth_anything_ros.ros import launching
from depth_anything_ros.ros.depth_node.parameters import check_camera_names
from depth_anything_ros.ros.launch_arguments import (
    COMMON,
    MODEL,
    RUNNING_CAMERA,
    Argument,
    check_topic,
    full_name,
    value_of,
)
from depth_anything_ros.ros.parameter_files import texts
from depth_anything_ros.ros.scale_launch_arguments import SCALE, SENSOR_TOPICS, sensor_remappings
from depth_anything_ros.ros.viewers import viewers

NAME = "{camera}"
ARGUMENTS = (
    Argument(
        "cameras",
        "",
        "names of the cameras, separated by commas; each is the namespace of that camera's outputs; default: those in "
        "params_file, else left,right",
    ),
    Argument("image", "/{camera}/image_rect", "topic of a camera's images; {camera} is replaced by its name"),
    Argument("camera_info", "", "topic of its camera_info, with {camera} too; default: next to the image topic"),
    Argument("namespace", "depth", "namespace of the node and of the topics that it publishes"),
    *SCALE,
    *SENSOR_TOPICS,
    *RUNNING_CAMERA,
    *MODEL,
    *COMMON,
)


def nodes(context: LaunchContext) -> list[Action]:
    """Return the depth node and the viewer. Raise `ValueError` if the cameras would share a topic."""
    cameras = _cameras(context)
    check_camera_names(cameras)
    patterns = {name: value_of(context, name) for name in ("image", "camera_info")}
    for name, pattern in patterns.items():
        if len(cameras) > 1 and pattern and NAME not in pattern:
            raise ValueError(
                f"{name}:={pattern} is the same topic for every camera; write {NAME} for the camera's name"
            )
        if pattern:
            check_topic(name, pattern.replace(NAME, cameras[0]))
    remappings = [
        (f"{camera}/{name}", pattern.replace(NAME, camera))
        for camera in cameras
        for name, pattern in patterns.items()
        if pattern
    ]
    sensors = sensor_remappings(context)  # one sensor may serve all cameras: its topic need not contain {camera}
    remappings += [(f"{camera}/{inner}", topic.replace(NAME, camera)) for camera in cameras for inner, topic in sensors]
    image = patterns["image"] or f"{NAME}/image"
    return [
        launching.depth_of_running_cameras(context, remappings, {"cameras": cameras}),
        *viewers(context, {camera: image.replace(NAME, camera) for camera in cameras}),
    ]


def _cameras(context: LaunchContext) -> list[str]:
    """Return the camera names in the argument ``cameras``, or else in ``params_file``; the topics depend on them."""
    given_names, own = value_of(context, "cameras"), os.path.expanduser(value_of(context, "params_file"))
    if not given_names and Path(own).is_file():
        given_names = ",".join(texts(own, full_name(context, "depth_node"), "cameras"))
    names = [name.strip() for name in (given_names or "left,right").split(",")]
    if not all(names):
        raise ValueError(f"cameras:={given_names} has an empty name; give names such as front,left")
    return names


def generate_launch_description() -> LaunchDescription:
    """Return the description that `ros2 launch` runs."""
    return launching.description(ARGUMENTS, nodes)
