"""Camera node and depth node in one process: images pass by reference, and DDS carries only requested images."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest

pytest.importorskip("rclpy", reason="ROS 2 is not installed")
pytest.importorskip("onnx", reason="the test models are written with onnx")

from depth_node_graph import (
    Client,
    floats,
    private_context,  # noqa: F401 - the fixture `context`
)
from encoded_images import picture
from known_models import write_red_model
from rclpy.executors import SingleThreadedExecutor
from rclpy.parameter import Parameter
from sensor_msgs.msg import CameraInfo, Image
from waiting import limit

from depth_anything_ros.ros.camera_node.node import CameraNode
from depth_anything_ros.ros.depth_node.node import DepthNode
from depth_anything_ros.ros.io.intra_process import LocalImages
from depth_anything_ros.runtime.estimator import Estimator

RELATIVE, INFO_OUT = "inverse_depth/image", "depth/camera_info"


def test_local_images_reach_only_the_receiver():
    images, received = LocalImages(), []
    picture, info = np.zeros((2, 3, 3), np.uint8), CameraInfo(width=3)
    images.send(picture, info)
    assert not images.is_requested
    images.receive(lambda *pair: received.append(pair))
    assert images.is_requested
    images.send(picture, info)
    images.receive(None)
    images.send(picture, info)
    ((image, own),) = received
    assert image is picture
    assert own is info


def test_receive_none_waits_for_running_callback():
    images, entered, leave, order = LocalImages(), threading.Event(), threading.Event(), []

    def receive(_: np.ndarray, __: CameraInfo) -> None:
        entered.set()
        leave.wait(10.0)
        order.append("received")

    images.receive(receive)
    sender = threading.Thread(target=images.send, args=(np.zeros((1, 1, 3), np.uint8), CameraInfo()))
    sender.start()
    assert entered.wait(limit(10.0))
    ender = threading.Thread(target=lambda: (images.receive(None), order.append("ended")))
    ender.start()
    leave.set()
    sender.join()
    ender.join()
    assert order == ["received", "ended"]


Pair = tuple[LocalImages, DepthNode, Client]


@pytest.fixture
def pair(context, tmp_path: Path) -> Iterator[Pair]:
    """Both nodes in one executor, and a client without subscriptions."""
    folder = tmp_path / "pictures"
    folder.mkdir()
    assert cv2.imwrite(str(folder / "one.png"), picture(24, 30)[..., ::-1])
    images, shared = LocalImages(), {"context": context, "namespace": f"/local_{id(tmp_path)}"}
    model = write_red_model(tmp_path / "red.onnx", (24, 30), nominal_scale=(1.0, 0.1))
    nominal = Parameter("scale.nominal", value=True)
    depth = DepthNode(Estimator(model, threads=1), images, parameter_overrides=[nominal], **shared)
    depth.start()
    parameters = {"source": str(folder), "frame_rate": 50.0, "loop": True, "frame_id": "eye", "wait_for_subscribers": 0}
    overrides = [Parameter(name, value=value) for name, value in parameters.items()]
    camera = CameraNode(images, parameter_overrides=overrides, **shared)
    client = Client((), **shared)
    executor = SingleThreadedExecutor(context=context)
    for node in (depth, camera):
        executor.add_node(node)
    spinner = threading.Thread(target=executor.spin)
    spinner.start()
    yield images, depth, client
    executor.shutdown()
    spinner.join()
    for node in (client, camera, depth):
        node.destroy_node()


def test_depth_in_one_process_uses_no_dds_images(pair):
    images, depth, client = pair
    assert not images.is_requested
    listeners = [client.listen(topic) for topic in (RELATIVE, INFO_OUT, "points")]
    client.spin_until(lambda: len(client.received["points"]) >= 3, "the clouds")
    assert images.is_requested
    for topic in ("image", "image_raw", "camera_info"):
        assert client.count_subscribers(topic) == 0
    for message in client.received[RELATIVE]:
        assert floats(message) * 255 == pytest.approx(picture(24, 30)[..., 0], abs=1e-3)
        assert message.header.frame_id == "eye"
    stamps = [(message.header.stamp.sec, message.header.stamp.nanosec) for message in client.received[RELATIVE]]
    assert stamps == sorted(set(stamps))
    infos = {(info.header.stamp.sec, info.header.stamp.nanosec): info for info in client.received[INFO_OUT]}
    assert infos.keys() & set(stamps)
    assert all((info.width, info.height, info.k[2]) == (30, 24, 14.5) for info in infos.values())
    assert depth.statistics.dropped.keys() <= {"newer came"}

    for listener in listeners:
        client.destroy_subscription(listener)
    client.spin_until(lambda: not images.is_requested, "the end of the images")


def test_image_raw_subscriber_gets_same_stamps_in_one_process(pair):
    _, _, client = pair
    pictures: list[Image] = []
    client.create_subscription(Image, "image_raw", pictures.append, 10)
    client.listen(RELATIVE)

    def stamps(messages: list[Image]) -> set[tuple[int, int]]:
        return {(message.header.stamp.sec, message.header.stamp.nanosec) for message in messages}

    client.spin_until(lambda: len(stamps(pictures) & stamps(client.received[RELATIVE])) >= 3, "images with their depth")
    assert client.count_subscribers("image_raw") == 1


def test_inactive_node_requests_no_local_images(pair):
    images, depth, client = pair
    client.listen(RELATIVE)
    client.spin_until(lambda: client.received[RELATIVE], "the depth")
    depth.trigger_deactivate()
    assert not images.is_requested
    received = depth.statistics.received
    depth.trigger_activate()
    client.spin_until(lambda: depth.statistics.received > received, "images again")
    counts = depth.statistics
    depth.trigger_deactivate()
    assert counts.published + counts.ignored + counts.skipped + counts.dropped.total() == counts.received
