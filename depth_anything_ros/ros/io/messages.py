"""Reusable messages. Each is created once for a size, and its bytes are overwritten for every frame.

`data.frombytes` sets up the bytes, because it is the only way that is fast on every distribution: an assignment copies
byte by byte and, on Humble, also checks each byte. rclpy serializes a message while it publishes, so the message may be
overwritten as soon as publish returns.
"""

from __future__ import annotations

import sys
from functools import cached_property

import numpy as np
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from sensor_msgs.msg import Image, PointCloud2, PointField
from std_msgs.msg import Header

from depth_anything_ros.postprocessing.point_cloud import organized_size
from depth_anything_ros.processing.measured_scale import ScaleReport
from depth_anything_ros.processing.outputs import ENCODINGS, PIXELS

_IS_BIG_ENDIAN = sys.byteorder == "big"


class ReusableImage:
    """An Image message and its pixels.

    Attributes:
        message: the message.
        pixels: a view of its bytes: float32 (H, W) for 32FC1, uint16 (H, W) for 16UC1, uint8 (H, W, 3) for bgr8.
    """

    def __init__(self, encoding: str, height: int, width: int) -> None:
        dtype, channels = PIXELS[encoding]
        step = width * channels * np.dtype(dtype).itemsize
        self.message = Image(height=height, width=width, encoding=encoding, step=step, is_bigendian=_IS_BIG_ENDIAN)
        self.message.data.frombytes(bytes(height * step))
        shape = (height, width) if channels == 1 else (height, width, channels)
        self.pixels = np.frombuffer(self.message.data, dtype).reshape(shape)

    def stamped(self, header: Header) -> Image:
        """Set the header and return the message."""
        self.message.header = header
        return self.message


class ReusablePointCloud:
    """An organized PointCloud2 of x, y, z and, if colored, rgb. ``bytes`` is the flat uint8 view to fill."""

    def __init__(self, height: int, width: int, colored: bool) -> None:
        names = ("x", "y", "z", "rgb") if colored else ("x", "y", "z")
        point_step = 4 * len(names)
        self.message = PointCloud2(
            height=height,
            width=width,
            fields=[
                PointField(name=name, offset=4 * index, datatype=PointField.FLOAT32, count=1)
                for index, name in enumerate(names)
            ],
            is_bigendian=_IS_BIG_ENDIAN,
            point_step=point_step,
            row_step=width * point_step,
            is_dense=False,
        )
        self.message.data.frombytes(bytes(height * width * point_step))
        self.bytes = np.frombuffer(self.message.data, np.uint8)

    def stamped(self, header: Header) -> PointCloud2:
        """Set the header and return the message."""
        self.message.header = header
        return self.message


class OutputMessages:
    """The messages of one output size, cloud stride and cloud type. Each is created at its first use."""

    def __init__(self, height: int, width: int, stride: int, colored: bool = True) -> None:
        self.height, self.width, self.stride, self.colored = height, width, stride, colored

    def fit(self, height: int, width: int, stride: int, colored: bool = True) -> bool:
        """Return whether these messages have this size, stride and cloud type."""
        return (self.height, self.width, self.stride, self.colored) == (height, width, stride, colored)

    @cached_property
    def depth(self) -> ReusableImage:
        """Depth in meters, 32FC1."""
        return ReusableImage(ENCODINGS["depth"], self.height, self.width)

    @cached_property
    def millimeters(self) -> ReusableImage:
        """Depth in millimeters, 16UC1 (REP 118)."""
        return ReusableImage(ENCODINGS["millimeters"], self.height, self.width)

    @cached_property
    def sigma(self) -> ReusableImage:
        """Standard deviation of depth in meters, 32FC1."""
        return ReusableImage(ENCODINGS["sigma"], self.height, self.width)

    @cached_property
    def inverse_depth(self) -> ReusableImage:
        """The unscaled output of a relative model, 32FC1."""
        return ReusableImage(ENCODINGS["inverse_depth"], self.height, self.width)

    @cached_property
    def confidence(self) -> ReusableImage:
        """The model's confidence, 32FC1, in the model's unit; larger is more certain."""
        return ReusableImage(ENCODINGS["confidence"], self.height, self.width)

    @cached_property
    def color(self) -> ReusableImage:
        """Depth as a color image, bgr8."""
        return ReusableImage(ENCODINGS["color"], self.height, self.width)

    @cached_property
    def points(self) -> ReusablePointCloud:
        """The point cloud."""
        return ReusablePointCloud(*organized_size(self.height, self.width, self.stride), self.colored)


def scale_message(header: Header, report: ScaleReport) -> DiagnosticArray:
    """Return the message of the topic ``scale``.

    Args:
        header: of the image.
        report: of its scale.
    """
    level = DiagnosticStatus.WARN if report.is_warning else DiagnosticStatus.OK
    pairs = [KeyValue(key=key, value=value) for key, value in report.values.items()]
    return DiagnosticArray(
        header=header, status=[DiagnosticStatus(level=level, name="scale", message=report.text, values=pairs)]
    )
