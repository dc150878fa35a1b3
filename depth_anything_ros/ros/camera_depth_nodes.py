"""A camera node and a depth node in one process. Images pass by reference, without DDS."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from rclpy.node import Node

from depth_anything_ros.ros.camera_node.node import CameraNode
from depth_anything_ros.ros.depth_node.node import DepthNode
from depth_anything_ros.ros.io.intra_process import LocalImages
from depth_anything_ros.ros.process.runner import run_nodes

NOTHING: Mapping[str, Any] = {}


def run_camera_and_depth(
    arguments: Sequence[str] | None = None,
    camera_options: Mapping[str, Any] = NOTHING,
    depth_options: Mapping[str, Any] = NOTHING,
    others: Mapping[str, Callable[[], Node]] = NOTHING,
) -> int:
    """Run both nodes until the source ends or a signal arrives.

    Args:
        arguments: command line with its ROS arguments; default: ``sys.argv``.
        camera_options: further arguments of `CameraNode`.
        depth_options: further arguments of `DepthNode`.
        others: create further nodes of the process, by name.

    Returns:
        The process's exit status.
    """
    images = LocalImages()
    # Both nodes are created and the source is opened before the model loads. No frame of a file is lost meanwhile.
    nodes = [
        lambda: DepthNode(local_images=images, **depth_options),
        lambda: CameraNode(local_images=images, starts=False, **camera_options),
    ]
    return run_nodes("camera", [*nodes, *others.values()], arguments, later=["camera_node", *others])


def main(arguments: Sequence[str] | None = None) -> int:
    """Run both nodes. Return the process's exit status."""
    return run_camera_and_depth(arguments)


if __name__ == "__main__":
    sys.exit(main())
