"""The camera node's parameters: what each means and what it may be. All are set at start only."""

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
    """Their values; 0 and an empty text stand for "as it comes". ``horizontal_field_of_view`` is in degrees."""

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
    """Declares every parameter and returns their values. Raises rclpy's `ParameterException`s for bad ones.

    ``others``: as for `warn_of_unknown`.
    """

    def declare(name: str, default: Any, description: str, limits: tuple[Any, Any] | None = None) -> Any:
        descriptor = ParameterDescriptor(description=description, read_only=True)
        if limits and isinstance(default, int):
            descriptor.integer_range = [IntegerRange(from_value=limits[0], to_value=limits[1], step=1)]
        elif limits:
            descriptor.floating_point_range = [FloatingPointRange(from_value=limits[0], to_value=limits[1])]
        # Typed dynamically, so that `source:=0`, which ROS reads as an integer, names the first webcam too.
        descriptor.dynamic_typing = name == "source"
        return node.declare_parameter(name, default, descriptor).value

    sides = (0, 16384)
    parameters = CameraParameters(
        source=str(declare("source", "0", f"What to show: {SOURCES}.")),
        frame_rate=declare("frame_rate", 0.0, "Frames per second; 0: the source's own.", (0.0, 1000.0)),
        width=declare("width", 0, "Image width to ask a webcam for, in pixels; 0: its own.", sides),
        height=declare("height", 0, "Image height to ask a webcam for, in pixels; 0: its own.", sides),
        pixel_format=declare(
            "pixel_format",
            "auto",
            "What to ask a webcam for: mjpeg, yuyv, uyvy or a FourCC; auto: mjpeg, where it has that; empty: its own.",
        ),
        loop=declare("loop", False, "Whether a file starts again when it ends; if not, the node ends."),
        wait_for_subscribers=declare(
            "wait_for_subscribers", 0, "Subscribers to image_raw that a file waits for before it starts.", (0, 1000)
        ),
        frame_id=declare("frame_id", "camera_optical_frame", "Optical frame of the camera (REP 103)."),
        calibration=declare(
            "calibration", "", "camera_info YAML: a path, file:///path or package://package/path; empty: none."
        ),
        horizontal_field_of_view=declare(
            "horizontal_field_of_view",
            60.0,
            "Degrees from the left to the right edge, assumed where there is no calibration.",
            (1.0, 179.0),
        ),
    )
    warn_of_unknown(node, others)
    return parameters
