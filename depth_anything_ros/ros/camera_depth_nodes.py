"""A camera node and a depth node in one process: images go from one to the other by reference, without DDS."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from typing import Any

from depth_anything_ros.ros.camera_node.node import CameraNode
from depth_anything_ros.ros.depth_node.node import DepthNode
from depth_anything_ros.ros.io.intra_process import LocalImages
from depth_anything_ros.ros.process.runner import run_nodes

NOTHING: Mapping[str, Any] = {}


def run_camera_and_depth(
    arguments: Sequence[str] | None = None,
    camera_options: Mapping[str, Any] = NOTHING,
    depth_options: Mapping[str, Any] = NOTHING,
) -> int:
    """Runs both until the source ends or a signal comes; returns the process's exit status.

    ``arguments`` is the command line with its ROS arguments (default: the process's own); the options are further
    arguments of the two nodes.
    """
    images = LocalImages()
    # Both are created, and the source opened, before the model is loaded; while it loads, no frame of a file goes by.
    nodes = [
        lambda: DepthNode(local_images=images, **depth_options),
        lambda: CameraNode(local_images=images, starts=False, **camera_options),
    ]
    return run_nodes("camera", nodes, arguments, later=["camera_node"])


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs both nodes; returns the process's exit status."""
    return run_camera_and_depth(arguments)


if __name__ == "__main__":
    sys.exit(main())
