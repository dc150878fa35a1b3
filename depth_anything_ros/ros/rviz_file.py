"""The RViz file of a launch: rviz/camera.rviz with full topic names, and the displays of every camera."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from typing import Any

import yaml

from depth_anything_ros.system.package_share import share_directory

IMAGE = "image_raw"
"""The topic in rviz/camera.rviz that stands for the camera's images. All others are the depth node's."""


def write_rviz_file(namespace: str, images: Mapping[str, str]) -> str:
    """Write a temporary RViz file and return its path.

    The names are absolute, so RViz shows the right topics in any namespace.

    Args:
        namespace: full namespace of the depth node, such as "/camera".
        images: full topic of the images by the camera's name; the name of a single camera is empty.
    """
    configuration = yaml.safe_load((share_directory() / "rviz" / "camera.rviz").read_text(encoding="utf-8"))
    manager = configuration["Visualization Manager"]
    with_topic = [display for display in manager["Displays"] if "Topic" in display]
    others = [display for display in manager["Displays"] if "Topic" not in display]
    of_cameras = [
        _display(display, namespace, camera, image) for camera, image in images.items() for display in with_topic
    ]
    manager["Displays"] = [*of_cameras, *others]
    with tempfile.NamedTemporaryFile("w", prefix="launch_", suffix=".rviz", delete=False, encoding="utf-8") as file:
        yaml.safe_dump(configuration, file, sort_keys=False, allow_unicode=True)
    return file.name


def _display(display: Mapping[str, Any], namespace: str, camera: str, image: str) -> dict[str, Any]:
    """Return a display of rviz/camera.rviz for one camera."""
    topic = display["Topic"]["Value"]
    output = "/".join([namespace.rstrip("/"), *filter(None, [camera]), topic])
    return {
        **display,
        "Name": f"{display['Name']} {camera}".rstrip(),
        "Topic": {**display["Topic"], "Value": image if topic == IMAGE else output},
    }
