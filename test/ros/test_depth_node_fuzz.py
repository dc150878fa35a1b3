"""Arbitrary input over DDS: the node survives, the next good image gives depth, and stamps are never invented."""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Callable

import numpy as np
import pytest

pytest.importorskip("rclpy", reason="ROS 2 is not installed")
pytest.importorskip("onnx", reason="the test models are written with onnx")

from depth_node_graph import (
    OUTPUTS,
    PATIENCE,
    Client,
    Picture,
    floats,
    node_and_client,  # noqa: F401 - the fixture `graph`
    private_context,  # noqa: F401 - the fixture `context`
    wait_until_reliable,
)
from encoded_images import compressed_message, file_of, image_message, picture
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from known_models import write_constant_model
from rclpy.publisher import Publisher
from rclpy.serialization import serialize_message
from ros_messages import camera_info
from sensor_msgs.msg import CameraInfo, CompressedImage, Image, RegionOfInterest
from waiting import wait_until

from depth_anything_ros.ros.depth_node.node import DepthNode
from depth_anything_ros.ros.io.image_decoding import ENCODINGS

HEIGHT, WIDTH = 6, 8
DEPTH = "depth/image_rect"
STAMPS = st.tuples(st.integers(-(2**31), 2**31 - 1), st.integers(0, 2**32 - 1))
SIDES = st.one_of(st.integers(0, 12), st.sampled_from([HEIGHT, WIDTH, 2**16, 2**31, 2**32 - 1]))
TEXT = st.text(max_size=12).map(lambda text: text.replace("\0", ""))
GOOD_IMAGE = image_message(picture(HEIGHT, WIDTH), "rgb8")
GOOD_INFO = camera_info(WIDTH, HEIGHT)
quickly = settings(max_examples=60, suppress_health_check=list(HealthCheck), derandomize=True, database=None)


@st.composite
def images(draw: st.DrawFn) -> Image:
    """Images from contradictory ones to valid ones of another kind."""
    encoding = draw(st.one_of(st.sampled_from(ENCODINGS), TEXT))
    message = Image(height=draw(SIDES), width=draw(SIDES), encoding=encoding, is_bigendian=draw(st.integers(0, 255)))
    message.step = draw(st.one_of(SIDES, st.sampled_from([message.width * k % 2**32 for k in (1, 2, 3, 4, 8)])))
    fitting = message.step * message.height
    sizes = [0, *(size for size in (fitting - 1, fitting, fitting + 1, fitting * 3 // 2) if 0 < size < 4000)]
    message.data.frombytes(bytes(draw(st.sampled_from(sizes))))
    return message


@st.composite
def files(draw: st.DrawFn) -> CompressedImage:
    """JPEG and PNG files, changed, cut or intact, with any format name."""
    kind = draw(st.sampled_from(["jpeg", "png"]))
    data = bytearray(file_of(picture(HEIGHT, WIDTH), kind))
    for _ in range(draw(st.integers(0, 3))):
        data[draw(st.integers(0, len(data) - 1))] = draw(st.integers(0, 255))
    cut = draw(st.one_of(st.just(len(data)), st.integers(0, len(data))))
    names = ["jpeg", "png", "bayer_rggb8; png compressed ", "mono8; jpeg compressed "]
    return compressed_message(bytes(data[:cut]), draw(st.one_of(st.sampled_from(names), TEXT)))


NUMBERS = st.one_of(st.sampled_from([0.0, -1.0, math.nan, math.inf, 1e-320, 1e300, 0.5]), st.floats(-1e3, 1e3))


def matrices(good: np.ndarray) -> st.SearchStrategy[list[float]]:
    """This matrix with some elements changed, or an arbitrary one."""
    changes = st.dictionaries(st.integers(0, len(good) - 1), NUMBERS, max_size=3)
    changed = changes.map(lambda new: [new.get(index, float(value)) for index, value in enumerate(good)])
    return st.one_of(changed, st.lists(NUMBERS, min_size=len(good), max_size=len(good)))


@st.composite
def infos(draw: st.DrawFn) -> CameraInfo:
    """Camera_info, mostly of the image's size so that not all are rejected for their size."""
    message = CameraInfo(height=HEIGHT, width=WIDTH, k=draw(matrices(GOOD_INFO.k)), p=draw(matrices(GOOD_INFO.p)))
    message.r = draw(matrices(GOOD_INFO.r))
    message.d = draw(st.one_of(st.just([]), st.just([0.1, -0.2, 0.0, 0.0, 0.0]), st.lists(NUMBERS, max_size=14)))
    models = ["plumb_bob", "rational_polynomial", "equidistant", ""]
    message.distortion_model = draw(st.one_of(st.sampled_from(models), TEXT))
    if draw(st.booleans()):
        message.height, message.width = draw(SIDES), draw(SIDES)
        message.binning_x, message.binning_y = draw(SIDES), draw(SIDES)
        sides = {name: draw(SIDES) for name in ("x_offset", "y_offset", "height", "width")}
        message.roi = RegionOfInterest(do_rectify=draw(st.booleans()), **sides)
    return message


class Rig:
    """One node that receives all examples."""

    def __init__(self, node: DepthNode, client: Client, publisher: Publisher | None = None) -> None:
        self.node, self.client, self._publisher = node, client, publisher
        self.sent: set[tuple[int, int]] = set()
        self._seconds = itertools.count(1000, 7)

    def send(self, message: Picture, stamp: tuple[int, int] | None = None) -> Picture:
        """Send an image and wait until the node has received it."""
        before = self.node.statistics.received
        if stamp is None:
            stamp = next(self._seconds), 0
        message.header.stamp.sec, message.header.stamp.nanosec = stamp
        self.sent.add(stamp)
        (self._publisher or self.client._image_publisher).publish(message)
        received = self.node.statistics
        wait_until(lambda: received.received > before, "the image", PATIENCE, lambda: time.sleep(0.0005))
        return message

    def send_pair(self, message: Picture, info: CameraInfo) -> Picture:
        """Send an image after its camera_info."""
        info.header.stamp.sec = stamp = next(self._seconds)
        info.header.stamp.nanosec = 0
        self.client.publish_info(info)
        return self.send(message, (stamp, 0))

    def check(self, good: Callable[[], Picture]) -> None:
        """Check that a good image gives depth and a cloud, at the latest after a second one confirms a time jump."""

        def come() -> bool:
            image = self.send_pair(good(), camera_info(WIDTH, HEIGHT))
            stamp = image.header.stamp
            return self.client.spin_for(
                lambda: all(
                    any(m.header.stamp == stamp for m in self.client.received[topic]) for topic in (DEPTH, "points")
                ),
                1.0,
            )

        assert any(come() for _ in range(5))
        for topic, messages in self.client.received.items():
            for message in messages:
                assert (message.header.stamp.sec, message.header.stamp.nanosec) in self.sent, topic
            messages.clear()
        assert "error" not in self.node.statistics.dropped, self.client.lines(40)


@pytest.fixture
def model(tmp_path):
    values = np.full((HEIGHT, WIDTH), 2.0)
    return write_constant_model(tmp_path / "model.onnx", values, nominal_scale=(1.0, 0.0))


def good_image() -> Image:
    return image_message(picture(HEIGHT, WIDTH), "rgb8")


def test_node_survives_arbitrary_images(graph, model):
    rig = Rig(*graph(model))

    @quickly
    @given(st.lists(st.tuples(images(), STAMPS), min_size=1, max_size=6))
    def run(batch: list[tuple[Image, tuple[int, int]]]) -> None:
        for message, stamp in batch:
            rig.send(message, stamp)
        rig.check(good_image)

    run()


def test_node_survives_arbitrary_compressed_images(graph, model):
    node, client = graph(model, (), image_transport="compressed")
    for topic in OUTPUTS:
        client.listen(topic)
    publisher = client.create_publisher(CompressedImage, "image/compressed", 5)
    wait_until_reliable(client, "image/compressed")
    rig = Rig(node, client, publisher)

    @quickly
    @given(st.lists(st.tuples(files(), STAMPS), min_size=1, max_size=6))
    def run(batch: list[tuple[CompressedImage, tuple[int, int]]]) -> None:
        for message, stamp in batch:
            rig.send(message, stamp)
        rig.check(lambda: compressed_message(file_of(picture(HEIGHT, WIDTH), "png"), "png"))

    run()


@pytest.mark.parametrize("rectified", [True, False], ids=["rectified", "raw"])
def test_arbitrary_camera_info_never_stops_depth(graph, model, rectified):
    rig = Rig(*graph(model, rectified=rectified))

    @settings(quickly, max_examples=150)
    @given(infos())
    @example(CameraInfo(height=HEIGHT, width=WIDTH))
    def run(info: CameraInfo) -> None:
        image = rig.send_pair(good_image(), info)
        depth = floats(rig.client.wait_for(DEPTH, image))
        assert np.all((depth == 0.5) | np.isnan(depth))
        for message in rig.client.received["depth/camera_info"]:
            assert np.all(np.isfinite(message.p))
            assert min(message.p[0], message.p[5]) > 0
        rig.check(good_image)

    run()


def test_node_survives_corrupt_serialized_images(graph, model):
    """Cut short, or of another length than they say; what the middleware makes of them must not end the node."""
    rig = Rig(*graph(model))
    good = serialize_message(GOOD_IMAGE)

    @quickly
    @given(st.dictionaries(st.integers(4, 60), st.integers(0, 255), max_size=4), st.integers(4, len(good)))
    def run(changes: dict[int, int], length: int) -> None:
        data = bytearray(good[:length])
        for position, value in changes.items():
            if position < length:
                data[position] = value
        rig.client._image_publisher.publish(bytes(data))
        # Its stamp may have been among the changes, or the good one's.
        rig.sent.add((GOOD_IMAGE.header.stamp.sec, GOOD_IMAGE.header.stamp.nanosec))
        rig.sent.add(tuple(int.from_bytes(data[start : start + 4], "little") for start in (4, 8)))
        rig.check(good_image)

    run()
