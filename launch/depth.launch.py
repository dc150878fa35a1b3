"""Depth for a camera that runs already: depth_node alone, with RViz if wanted.

ros2 launch depth_anything_ros depth.launch.py image:=/camera/image_rect
"""

from __future__ import annotations

from launch import LaunchContext, LaunchDescription
from launch.action import Action
from launch.actions import OpaqueFunction

from depth_anything_ros import launching
from depth_anything_ros.launching import COMMON, MODEL, Argument

ARGUMENTS = (
    Argument("image", "image", "topic of the images"),
    Argument("camera_info", "", "topic of their camera_info; default: beside the images, as image_transport has it"),
    Argument(
        "image_transport",
        "",
        "raw (default), or compressed: JPEG or PNG on IMAGE/compressed",
        ("", "raw", "compressed"),
    ),
    Argument("namespace", "camera", "namespace of the node and of what it publishes"),
    *MODEL,
    *COMMON,
)


def nodes(context: LaunchContext) -> list[Action]:
    remappings = [("image", launching.value_of(context, "image"))]
    camera_info = launching.value_of(context, "camera_info")
    if camera_info:
        remappings.append(("camera_info", camera_info))
    parameters = launching.given(context, {"image_transport": str})
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
