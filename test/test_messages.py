"""Arrays to messages, without a graph; and the messages that other tests send."""

from __future__ import annotations

import sys

import numpy as np
import pytest

pytest.importorskip("rclpy", reason="the messages of ROS 2 are not installed")

from sensor_msgs.msg import CameraInfo, Image, PointField
from std_msgs.msg import Header

from depth_anything_ros.ros.io.messages import OutputMessages

CHANNEL_ORDERS = {
    "rgb8": (0, 1, 2),
    "bgr8": (2, 1, 0),
    "8UC3": (2, 1, 0),
    "rgba8": (0, 1, 2, 3),
    "bgra8": (2, 1, 0, 3),
}


def image_message(rgb: np.ndarray, encoding: str, padding: int = 0, whole_last_row: bool = True) -> Image:
    """An Image of these pixels, with so many stray bytes after each row."""
    height, width = rgb.shape[:2]
    if encoding == "mono8":
        rows = rgb[..., 0]
    else:
        rgba = np.concatenate([rgb, np.full((height, width, 1), 77, np.uint8)], axis=2)
        rows = rgba[..., CHANNEL_ORDERS[encoding]].reshape(height, -1)
    padded = np.pad(rows, ((0, 0), (0, padding)), constant_values=99)
    data = padded.tobytes()
    message = Image(height=height, width=width, encoding=encoding, step=padded.shape[1])
    message.data.frombytes(data if whole_last_row else data[: len(data) - padding])
    return message


def camera_info(width: int = 640, height: int = 480, **fields: object) -> CameraInfo:
    info = CameraInfo(width=width, height=height, distortion_model="plumb_bob", d=[0.1, -0.2, 0.0, 0.0, 0.0])
    info.header = Header(frame_id="lens")
    info.k = [500.5, 0.0, 321.25, 0.0, 502.5, 239.75, 0.0, 0.0, 1.0]
    info.r = np.eye(3).ravel()
    info.p = [480.0, 0.0, 318.0, -24.0, 0.0, 481.0, 241.0, 0.0, 0.0, 0.0, 1.0, 0.0]
    for name, value in fields.items():
        setattr(info, name, value)
    return info


def ideal_camera_info(width: int, height: int) -> CameraInfo:
    """Of a lens without distortion that nobody has anything to say against."""
    k = [float(width), 0.0, (width - 1) / 2, 0.0, float(width), (height - 1) / 2, 0.0, 0.0, 1.0]
    p = [*k[:3], 0.0, *k[3:6], 0.0, *k[6:], 0.0]
    return camera_info(width, height, d=[0.0] * 5, k=k, p=p)


def test_output_messages_describe_their_bytes():
    messages = OutputMessages(height=5, width=7, stride=2)
    header = Header(frame_id="lens")
    for reusable, encoding, pixel_bytes in (
        (messages.depth, "32FC1", 4),
        (messages.inverse_depth, "32FC1", 4),
        (messages.confidence, "32FC1", 4),
        (messages.millimetres, "16UC1", 2),
        (messages.colour, "bgr8", 3),
    ):
        image = reusable.stamped(header)
        assert (image.header, image.height, image.width, image.encoding) == (header, 5, 7, encoding)
        assert (image.step, len(image.data)) == (7 * pixel_bytes, 5 * 7 * pixel_bytes)
        assert image.is_bigendian == (sys.byteorder == "big")
    messages.depth.pixels[4, 6] = 1.5
    assert np.frombuffer(messages.depth.message.data, np.float32)[-1] == 1.5

    cloud = messages.points.stamped(header)
    assert (cloud.height, cloud.width, cloud.point_step, cloud.row_step) == (3, 4, 16, 64)
    assert (len(cloud.data), cloud.is_dense, cloud.header) == (3 * 64, False, header)
    assert [(field.name, field.offset, field.datatype, field.count) for field in cloud.fields] == [
        (name, offset, PointField.FLOAT32, 1) for name, offset in (("x", 0), ("y", 4), ("z", 8), ("rgb", 12))
    ]
    assert messages.fit(5, 7, 2)
    assert not messages.fit(5, 7, 1)


def test_a_cloud_without_colour_has_no_room_for_one():
    messages = OutputMessages(height=5, width=7, stride=1, coloured=False)
    cloud = messages.points.message
    assert (cloud.point_step, cloud.row_step, len(cloud.data)) == (12, 84, 5 * 84)
    assert [field.name for field in cloud.fields] == ["x", "y", "z"]
    assert messages.fit(5, 7, 1, coloured=False)
    assert not messages.fit(5, 7, 1, coloured=True)
