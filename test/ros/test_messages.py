"""Arrays as messages, without a graph; and the messages that other tests send."""

from __future__ import annotations

import sys

import numpy as np
import pytest

pytest.importorskip("rclpy", reason="the messages of ROS 2 are not installed")

from sensor_msgs.msg import PointField
from std_msgs.msg import Header

from depth_anything_ros.ros.io.messages import OutputMessages


def test_output_messages_describe_their_bytes():
    messages = OutputMessages(height=5, width=7, stride=2)
    header = Header(frame_id="lens")
    for reusable, encoding, pixel_bytes in (
        (messages.depth, "32FC1", 4),
        (messages.inverse_depth, "32FC1", 4),
        (messages.confidence, "32FC1", 4),
        (messages.millimeters, "16UC1", 2),
        (messages.color, "bgr8", 3),
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


def test_cloud_without_color_has_no_rgb_field():
    messages = OutputMessages(height=5, width=7, stride=1, colored=False)
    cloud = messages.points.message
    assert (cloud.point_step, cloud.row_step, len(cloud.data)) == (12, 84, 5 * 84)
    assert [field.name for field in cloud.fields] == ["x", "y", "z"]
    assert messages.fit(5, 7, 1, colored=False)
    assert not messages.fit(5, 7, 1, colored=True)
