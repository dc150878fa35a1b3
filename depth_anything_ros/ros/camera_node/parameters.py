"""The camera node's parameters, with their descriptions and limits. All are read-only after start."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from rcl_interfaces.msg import FloatingPointRange, IntegerRange, ParameterDescriptor
from rclpy.node import Node

from depth_anything_ros.capture.sources import SOURCES
from depth_anything_ros.ros.process.unknown_parameters import warn_of_unknown


@dataclass(frozen=True)
class CameraParameters:
    """The values. 0 and an empty string mean the source's default. ``horizontal_field_of_view`` is in degrees."""

    source: str
    frame_rate: float
    width: int
    height: int
    pixel_format: str
    loop: bool
    wait_for_subscribers: int
    frame_id: str
    calibration: str
    horizontal_field_of_view: float


def declare_camera_parameters(node: Node, others: Collection[str] = ()) -> CameraParameters:
    """Declare every parameter and return the values.

    Args:
        node: the camera node.
        others: names of parameters that belong to other nodes of the process, see `warn_of_unknown`.

    Raises:
        ParameterException: a value is invalid (rclpy).
    """

    def declare(name: str, default: Any, description: str, limits: tuple[Any, Any] | None = None) -> Any:
        descriptor = ParameterDescriptor(description=description, read_only=True)
        if limits and isinstance(default, int):
            descriptor.integer_range = [IntegerRange(from_value=limits[0], to_value=limits[1], step=1)]
        elif limits:
            descriptor.floating_point_range = [FloatingPointRange(from_value=limits[0], to_value=limits[1])]
        # Dynamic typing lets `source:=0`, which ROS reads as an integer, select the first webcam too.
        descriptor.dynamic_typing = name == "source"
        return node.declare_parameter(name, default, descriptor).value

    sides = (0, 16384)
    parameters = CameraParameters(
        source=str(declare("source", "0", f"The source of the images: {SOURCES}.")),
        frame_rate=declare("frame_rate", 0.0, "Frames per second; 0: the source's own.", (0.0, 1000.0)),
        width=declare("width", 0, "Image width to request from a webcam, in pixels; 0: its default.", sides),
        height=declare("height", 0, "Image height to request from a webcam, in pixels; 0: its default.", sides),
        pixel_format=declare(
            "pixel_format",
            "auto",
            "Format to request from a webcam: mjpeg, yuyv, uyvy or a FourCC; auto: mjpeg if available; empty: default.",
        ),
        loop=declare("loop", False, "Play a file again when it ends; false: the node ends with it."),
        wait_for_subscribers=declare(
            "wait_for_subscribers", 0, "Number of subscribers to image_raw before a file starts to play.", (0, 1000)
        ),
        frame_id=declare("frame_id", "camera_optical_frame", "Optical frame of the camera (REP 103)."),
        calibration=declare(
            "calibration", "", "camera_info YAML: a path, file:///path or package://package/path; empty: none."
        ),
        horizontal_field_of_view=declare(
            "horizontal_field_of_view",
            60.0,
            "Degrees from the left to the right edge; used when no calibration fits the images.",
            (1.0, 179.0),
        ),
    )
    warn_of_unknown(node, others)
    return parameters
