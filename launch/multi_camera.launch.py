"""Depth for several cameras that run already, from one process with one copy of the model.

ros2 launch depth_anything_ros multi_camera.launch.py cameras:=front,left image:=/{camera}/image_raw
"""

from __future__ import annotations

from launch import LaunchContext, LaunchDescription
from launch.action import Action
from launch.actions import OpaqueFunction

from depth_anything_ros import launching
from depth_anything_ros.launching import COMMON, MODEL, Argument

ARGUMENTS = (
    Argument("cameras", "left,right", "names of the cameras, with commas between; each is a namespace of its outputs"),
    Argument("image", "/{camera}/image_raw", "topic of a camera's images, {camera} being its name"),
    Argument("camera_info", "", "topic of its camera_info, likewise; default: beside the images"),
    Argument(
        "image_transport",
        "",
        "raw (default), or compressed: JPEG or PNG on IMAGE/compressed",
        ("", "raw", "compressed"),
    ),
    Argument("namespace", "depth", "namespace of the node and of what it publishes"),
    *MODEL,
    *COMMON,
)


def nodes(context: LaunchContext) -> list[Action]:
    cameras = [name.strip() for name in launching.value_of(context, "cameras").split(",")]
    topics = {name: launching.value_of(context, name) for name in ("image", "camera_info")}
    remappings = [
        (f"{camera}/{name}", topic.replace("{camera}", camera))
        for camera in cameras
        for name, topic in topics.items()
        if topic
    ]
    parameters = {"cameras": cameras, **launching.given(context, {"image_transport": str})}
    return launching.depth_node(context, launching.parameter_files(context), parameters, remappings)


def generate_launch_description() -> LaunchDescription:
    return LaunchDescription(
        [
            *launching.declared(ARGUMENTS),
            *launching.fast_dds(),
            OpaqueFunction(function=nodes),
            *launching.viewer(),
        ]
    )
