"""Cameras that change, restart, are slow or flood the node; subscribers that stall and disappear."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator

import numpy as np
import pytest

pytest.importorskip("rclpy", reason="ROS 2 is not installed")
pytest.importorskip("onnx", reason="the test models are written with onnx")

from depth_node_graph import (
    PATIENCE,
    Client,
    floats,
    node_and_client,  # noqa: F401 - the fixture `graph`
    picture,
    positions,
    private_context,  # noqa: F401 - the fixture `context`
    wait_until_reliable,
)
from encoded_images import image_message
from known_models import write_constant_model
from ros_messages import camera_info
from sensor_msgs.msg import CameraInfo, Image
from waiting import limit, load_factor, wait_until

from depth_anything_ros.processing import camera_info_buffer
from depth_anything_ros.ros.depth_node.node import DepthNode

DEPTH = "depth/image_rect"
LISTENER = """
import os, rclpy, sys
from sensor_msgs.msg import Image
rclpy.init()
node = rclpy.create_node("listener", namespace=sys.argv[1])
node.create_subscription(Image, "depth/image_rect", lambda _: print("heard", flush=True), 10)
rclpy.spin(node)
"""


@pytest.fixture
def quick(tmp_path):
    return write_constant_model(tmp_path / "quick.onnx", np.full((4, 6), 2.0), nominal_scale=(1.0, 0.0))


def small() -> Image:
    return image_message(picture(4, 6), "rgb8")


def wait_until_all_counted(node: DepthNode, client: Client) -> None:
    """Wait until images have arrived and each of them is counted."""
    counts = node.statistics
    client.spin_until(
        lambda: counts.published + counts.ignored + counts.skipped + counts.dropped.total() == counts.received > 0,
        f"every image to be accounted for: {counts.summary()}",
    )


def publish_at(client: Client, rate: float, seconds: float) -> list[Image]:
    """Publish images at a rate."""
    images, started = [], time.monotonic()
    for number in range(round(rate * seconds)):
        time.sleep(max(0.0, started + number / rate - time.monotonic()))
        images.append(client.publish_image(small()))
    return images


def publish_image_and_wait(node: DepthNode, client: Client, image: Image) -> None:
    """Publish an image and return as soon as the node has received it."""
    before = node.statistics.received
    client.publish_image(image)
    wait_until(lambda: node.statistics.received > before, "the image", PATIENCE, lambda: time.sleep(0.0002))


def zoomed(number: int) -> tuple[Image, CameraInfo]:
    """The image and camera_info of a camera whose size and focal length change with every frame."""
    width, height = 60 + 6 * (number % 3), 40 + 4 * (number % 3)
    focal = 100.0 + number
    projection = [focal, 0.0, width / 2, 0.0, 0.0, focal + 0.5, height / 2, 0.0, 0.0, 0.0, 1.0, 0.0]
    return image_message(picture(height, width), "rgb8"), camera_info(width, height, p=projection)


@pytest.mark.parametrize("image_first", [True, False], ids=["image first", "camera_info first"])
def test_each_image_gets_camera_info_of_its_stamp(graph, quick, monkeypatch, image_first):
    """image_transport's CameraPublisher sends the image first."""
    monkeypatch.setattr(camera_info_buffer, "PATIENCE", 0.5)
    node, client = graph(quick, ("points", "depth/camera_info"))
    wait_until_reliable(client, "image", "camera_info")  # what comes while the inputs are made anew is lost
    for number in range(40):
        image, info = zoomed(number)
        info.header.stamp.sec, info.header.stamp.nanosec = 1 + number, 123456789
        if image_first:
            publish_image_and_wait(node, client, image)
            client.publish_info(info)
        else:
            client.publish_info(info)
            client.publish_image(image)
        if number == 0:  # nothing says yet that they come in pairs
            wait_until_all_counted(node, client)
            continue
        cloud = client.wait_for("points", image)
        sent = client.wait_for("depth/camera_info", image)
        assert (sent.width, sent.height, sent.p.tolist()) == (info.width, info.height, info.p.tolist())
        assert (cloud.width, cloud.height) == (info.width, info.height)
        x, y, z = np.moveaxis(positions(cloud), 2, 0)
        v, u = np.mgrid[: info.height, : info.width]
        assert x == pytest.approx((u - info.p[2]) / info.p[0] * z, abs=1e-6)
        assert y == pytest.approx((v - info.p[6]) / info.p[5] * z, abs=1e-6)


def test_lost_camera_info_affects_only_its_image(graph, quick, monkeypatch):
    monkeypatch.setattr(camera_info_buffer, "PATIENCE", 0.5)
    node, client = graph(quick, ("points", "depth/camera_info"))
    for number in range(12):
        image, info = zoomed(3 * number)
        info.header.stamp.sec, info.header.stamp.nanosec = 1 + number, 123456789
        publish_image_and_wait(node, client, image)
        is_lost = number in (5, 8)
        if not is_lost:
            client.publish_info(info)
        if number == 0:
            wait_until_all_counted(node, client)
            continue
        sent = client.wait_for("depth/camera_info", image)
        assert (sent.p[0] == info.p[0]) != is_lost


def test_restarted_camera_is_followed(graph, quick):
    _, client = graph(quick, (DEPTH, "points"))
    client.publish_until_cloud(small(), camera_info(6, 4))
    for publisher in (client._image_publisher, client._info_publisher):
        client.destroy_publisher(publisher)
    client._image_publisher = client.create_publisher(Image, "image", 5)
    client._info_publisher = client.create_publisher(CameraInfo, "camera_info", 5)
    client.received["points"].clear()
    client.publish_until_cloud(small(), camera_info(6, 4))


def test_one_hertz_camera_has_every_image_processed(graph, quick):
    node, client = graph(quick, (DEPTH,))
    images = publish_at(client, 1.0, 3.0)
    client.wait_for(DEPTH, images[-1])
    assert len(client.received[DEPTH]) == 3
    assert max(node.statistics.total_seconds) < 0.5 * load_factor()


def test_two_hundred_hertz_camera_counts_every_image(graph, quick):
    node, client = graph(quick, (DEPTH,))
    images = publish_at(client, 200.0, 1.5)
    client.wait_for(DEPTH, images[-1])
    wait_until_all_counted(node, client)
    counts = node.statistics
    assert set(counts.dropped) <= {"newer came"}
    assert counts.published > 50 / load_factor()
    assert max(list(counts.total_seconds)[-50:]) < 0.5 * load_factor()  # nothing queues


def test_max_rate_limits_published_rate(graph, quick):
    node, client = graph(quick, (DEPTH,), max_rate=20.0)
    counts, started = node.statistics, time.monotonic()
    while counts.published < 12 or counts.skipped < 60:
        publish_at(client, 100.0, 0.5)
        assert time.monotonic() - started < limit(PATIENCE)
    wait_until_all_counted(node, client)
    assert counts.published <= 20 * (time.monotonic() - started) + 2


def test_camera_at_max_rate_loses_nothing(graph, quick):
    node, client = graph(quick, (DEPTH,), max_rate=8.0)
    images = publish_at(client, 8.0, 2.0)
    wait_until_all_counted(node, client)
    assert node.statistics.received >= len(images) - 2 * load_factor()  # a machine that stumbles delivers fewer
    assert node.statistics.skipped <= load_factor()  # a machine that stumbles sends two at once


@pytest.fixture
def listener() -> Iterator[Callable[[str], subprocess.Popen]]:
    """Start a reliable subscriber in its own process."""
    processes: list[subprocess.Popen] = []

    def start(namespace: str) -> subprocess.Popen:
        command = [sys.executable, "-c", LISTENER, namespace]
        processes.append(subprocess.Popen(command, stdout=subprocess.PIPE, text=True))
        return processes[-1]

    yield start
    for process in processes:
        process.kill()
        process.wait(limit(PATIENCE))


def test_stalled_or_killed_subscriber_blocks_nothing(graph, tmp_path, listener):
    model = write_constant_model(tmp_path / "large.onnx", np.full((480, 640), 2.0), nominal_scale=(1.0, 0.0))
    node, client = graph(model, (DEPTH,))
    process = listener(node.get_namespace())
    client.spin_until(lambda: client.count_subscribers(DEPTH) == 2, "the other listener")
    large = image_message(picture(480, 640), "rgb8")
    os.set_blocking(process.stdout.fileno(), False)

    def heard() -> bool:
        image = client.publish_image(large)
        assert np.all(floats(client.wait_for(DEPTH, image)) == 0.5)
        return bool(process.stdout.readline())

    client.spin_until(heard, "the other listener to hear it")
    for number in (signal.SIGSTOP, signal.SIGKILL):
        process.send_signal(number)
        for _ in range(30):
            client.wait_for(DEPTH, client.publish_image(large))


def test_subscribers_may_come_and_go_while_frames_run(graph, quick):
    node, client = graph(quick, (DEPTH,))
    for number in range(30):
        listeners = [client.listen(topic) for topic in ("points", "depth/image_raw", "depth/image_color")[: number % 4]]
        for _ in range(3):
            client.publish_image(small())
        for listener in listeners:
            client.destroy_subscription(listener)
    client.wait_for(DEPTH, client.publish_image(small()))
    wait_until_all_counted(node, client)
    assert set(node.statistics.dropped) <= {"newer came"}
