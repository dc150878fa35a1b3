"""Images of every encoding in a ROS 2 bag decode like the same messages over rclpy."""

from __future__ import annotations

import itertools

import cv2
import numpy as np
import pytest

pytest.importorskip("rclpy", reason="the messages of ROS 2 are not installed")

from bag_files import TYPES, header, put_bag
from encoded_images import (
    CHANNEL_ORDERS,
    CONVERTED,
    JPEGS,
    compressed_message,
    file_of,
    image_message,
    mosaic,
    picture,
)

from depth_anything_ros.data.bags import BagSet
from depth_anything_ros.images.intensity import InputRange
from depth_anything_ros.ros.io.image_decoding import ENCODINGS, ImageDecoder

FULL = InputRange("full")


def recorded(message):
    """The same message in the type of rosbags."""
    data = np.frombuffer(message.data, np.uint8)
    if hasattr(message, "format"):
        return TYPES.types["sensor_msgs/msg/CompressedImage"](header(0), message.format, data)
    return TYPES.types["sensor_msgs/msg/Image"](
        header(0), message.height, message.width, message.encoding, message.is_bigendian, message.step, data
    )


def test_bag_images_of_every_encoding_match_node(tmp_path):
    rgb = picture(24, 30)
    messages = {}
    for index, encoding in enumerate(ENCODINGS):
        padding, big_endian = 6 * (index % 2), index % 3 == 0
        messages[f"/camera/{encoding}"] = image_message(rgb, encoding, padding=padding, big_endian=big_endian)
    put_bag(tmp_path / "bag", {topic: [(1, recorded(message))] for topic, message in messages.items()})
    full = BagSet(topics=tuple(messages), input_range=FULL)
    names = list(full.names(tmp_path / "bag"))
    assert len(names) == len(ENCODINGS) == len({*CHANNEL_ORDERS, *CONVERTED})
    for name in names:
        topic = name.partition("#")[0]
        image, encoding = full.read_image(tmp_path / "bag", name), topic.split("/")[2]
        assert np.array_equal(image, ImageDecoder(FULL).decode(messages[topic])), topic
        requested = rgb[..., :1] if CHANNEL_ORDERS.get(encoding) == (0,) else rgb
        assert np.abs(image.astype(int) - requested).max() <= (0 if encoding in CHANNEL_ORDERS else 4), topic
        if encoding in ("mono16", "bgr16", "bayer_rggb16"):
            image = BagSet().read_image(tmp_path / "bag", name)
            assert np.array_equal(image, ImageDecoder().decode(messages[topic])), topic


def test_bag_images_of_every_file_format_match_node(tmp_path):
    rgb = picture(24, 30)
    formats = itertools.cycle(("", "image/jpeg", ".jpg", "mjpeg", "jpeg"))
    messages = {
        f"/jpeg/{index}": compressed_message(jpeg + bytes(9999), kind)
        for index, (jpeg, kind) in enumerate(zip(JPEGS.values(), formats, strict=False))
    }
    for kind in ("png", "webp", "bmp", "tiff"):
        messages[f"/{kind}"] = compressed_message(file_of(rgb, kind), f"bgr8; {kind} compressed bgr8")
    mosaic_file = file_of(mosaic(rgb, "bayer_rggb8"), "png")
    messages["/mosaic"] = compressed_message(mosaic_file, "bayer_rggb8; png compressed ")
    turned = cv2.imencode(".png", rgb[..., ::-1].astype(np.uint16) * 256)[1].tobytes()
    messages["/deep"] = compressed_message(turned, "rgb16; png compressed ")
    put_bag(tmp_path / "bag", {topic: [(1, recorded(message))] for topic, message in messages.items()})
    names = list(BagSet().names(tmp_path / "bag"))
    assert len(names) == len(messages)
    for name in names:
        image = BagSet().read_image(tmp_path / "bag", name)
        assert np.array_equal(image, ImageDecoder().decode(messages[name.partition("#")[0]])), name
