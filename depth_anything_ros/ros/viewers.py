"""What shows a camera and its depth, for the launch files: RViz, and the page for browsers."""

from __future__ import annotations

from collections.abc import Mapping

from launch import LaunchContext
from launch.action import Action
from launch.substitutions.substitution_failure import SubstitutionFailure
from launch_ros.actions import Node
from launch_ros.substitutions import ExecutableInPackage
from rclpy.expand_topic_name import expand_topic_name

from depth_anything_ros.ros import launching
from depth_anything_ros.ros.apt_packages import apt_command
from depth_anything_ros.ros.launch_arguments import SHARED_PARAMETERS, full_name, given, is_true, value_of
from depth_anything_ros.ros.rviz_file import write_rviz_file
from depth_anything_ros.system.extras import require


def viewers(context: LaunchContext, images: Mapping[str, str]) -> list[Action]:
    """Return the viewers that the arguments ``rviz`` and ``view`` ask for. The page shows the first camera.

    Args:
        context: the launch context.
        images: topic of the images by the camera's name; the name of a single camera is empty.

    Raises:
        RuntimeError: RViz or the publisher of its frame is not installed; the message names the packages.
        MissingPackagesError: the page's server is not installed.
    """
    return [*_rviz(context, images), *_page(context, *next(iter(images.items())))]


def _page(context: LaunchContext, camera: str, image: str) -> list[Action]:
    if not is_true(context, "view"):
        return []
    require("aiohttp")
    values = {"host": value_of(context, "view_host"), "port": int(value_of(context, "view_port")), "camera": camera}
    if transport := _transport(context):
        values["image_transport"] = transport
    topic = "/".join(filter(None, (camera, "image")))
    return [launching.our_node(context, "view_node", [], {"view_node": values}, [(topic, image)], is_needed=False)]


def _rviz(context: LaunchContext, images: Mapping[str, str]) -> list[Action]:
    """Return RViz and the frame of its viewpoint. RViz needs z up, where an optical frame has z forward.

    Args:
        context: the launch context.
        images: topic of the images by the camera's name.

    Raises:
        RuntimeError: RViz or the publisher of the frame is not installed; the message names the packages.
    """
    if not is_true(context, "rviz"):
        return []
    publisher, rviz = ("tf2_ros", "static_transform_publisher"), ("rviz2", "rviz2")
    if missing := [package for package, executable in (rviz, publisher) if not _has(context, package, executable)]:
        raise RuntimeError(
            f"rviz:=true needs {' and '.join(missing)}, which are not installed: run {apt_command(missing)}, or "
            "omit rviz:=true"
        )
    turn = ["--qx", "0.5", "--qy", "-0.5", "--qz", "0.5", "--qw", "0.5"]  # x forward, z up (REP 103)
    # The view is the child of the camera frame, so that a robot's own transforms stay valid.
    frames = ["--frame-id", value_of(context, "rviz_frame"), "--child-frame-id", "camera_view"]
    namespace, _, node = full_name(context, "depth_node").rpartition("/")
    suffix = "/compressed" if _transport(context) == "compressed" else ""
    shown = {camera: expand_topic_name(image, node, namespace or "/") + suffix for camera, image in images.items()}
    return [
        Node(package=publisher[0], executable=publisher[1], arguments=[*frames, *turn]),
        Node(
            package=rviz[0],
            executable=rviz[1],
            namespace=value_of(context, "namespace"),
            arguments=["-d", write_rviz_file(namespace, shown)],
            parameters=[given(context, SHARED_PARAMETERS)],
        ),
    ]


def _transport(context: LaunchContext) -> str:
    """Return the value of the argument ``image_transport``, which camera.launch.py does not have."""
    return context.launch_configurations.get("image_transport", "")


def _has(context: LaunchContext, package: str, executable: str) -> bool:
    """Return whether launch finds an executable."""
    try:
        ExecutableInPackage(package=package, executable=executable).perform(context)
    except (LookupError, SubstitutionFailure):
        return False
    return True
