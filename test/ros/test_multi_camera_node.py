"""One depth node with one model and several cameras: each gets its own depth and its share of the work."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("rclpy", reason="ROS 2 is not installed")
pytest.importorskip("onnx", reason="the test models are written with onnx")

from confidence_models import write_confidence_model, write_free_batch_model
from depth_node_graph import (
    ERROR,
    INFO,
    WARN,
    Client,
    floats,
    node_and_client,  # noqa: F401 - the fixture `graph`
    private_context,  # noqa: F401 - the fixture `context`
)
from encoded_images import image_message
from known_models import write_constant_model, write_fragile_model, write_red_model
from ros_messages import camera_info
from sensor_msgs.msg import Image
from waiting import load_factor

from depth_anything_ros.processing import camera_info_buffer
from depth_anything_ros.ros.depth_node.node import DepthNode
from depth_anything_ros.ros.depth_node.worker import MAX_FAILED_BATCHES

RELATIVE, CONFIDENCE = "inverse_depth/image", "confidence/image"
SIZE = (24, 30)
Rig = Callable[..., tuple[DepthNode, dict[str, Client]]]


@pytest.fixture
def rig(graph, context) -> Iterator[Rig]:
    """Start a node for some cameras, and a client for each that sends its images and subscribes to its outputs."""
    clients: list[Client] = []

    def start(model: Path, *names: str, listens_to: str = RELATIVE, **parameters: object) -> tuple[DepthNode, dict]:
        node, _ = graph(model, (), cameras=list(names), **parameters)
        own = {
            name: Client((listens_to,), context=context, namespace=f"{node.get_namespace()}/{name}") for name in names
        }
        clients.extend(own.values())
        for client in own.values():
            client.wait_for_node()
        return node, own

    yield start
    for client in clients:
        client.destroy_node()


def flat(size: tuple[int, int], red: int, green: int = 0, encoding: str = "rgb8") -> Image:
    return image_message(np.full((*size, 3), (red, green, 9), np.uint8), encoding)


def slow_model(tmp_path: Path) -> Path:
    return write_constant_model(tmp_path / "slow.onnx", np.full((4, 6), 2.0), slowness=3)


@contextmanager
def flood(client: Client, rate: float, brightness: int = 0) -> Iterator[None]:
    """Publish a camera's images at this rate in the background."""
    stop = threading.Event()

    def run() -> None:
        started = time.monotonic()
        for number in count():
            if stop.wait(max(0.0, started + number / rate - time.monotonic())):
                return
            client.publish_image(flat((4, 6), brightness))

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


@pytest.mark.parametrize("batches", [True, False], ids=["in batches", "one by one"])
def test_each_camera_gets_depth_of_its_own_images(rig, tmp_path, batches):
    write = write_free_batch_model if batches else write_red_model
    cameras = {"left": (SIZE, "rgb8"), "right": ((48, 60), "bgr8"), "top": ((31, 17), "bgra8"), "rear": (SIZE, "rgb16")}
    # By itself a node takes dark images of 16 bits for those of a camera of 10.
    node, clients = rig(write(tmp_path / "model.onnx", SIZE), *cameras, rear__input_range="full")
    assert node._estimator.batches == batches
    together = 0
    for number in range(25):
        sent = {}
        for index, (name, (size, encoding)) in enumerate(cameras.items()):
            image = flat(size, 10 * number + index, encoding=encoding)
            # Stamps that no two cameras share.
            sent[name] = clients[name].publish_image(image, nanoseconds=(1000 * index + number + 1) * 10**9)
        for index, name in enumerate(cameras):
            depth = clients[name].wait_for(RELATIVE, sent[name])
            assert (depth.height, depth.width, depth.header) == (*cameras[name][0], sent[name].header)
            assert floats(depth) == pytest.approx((10 * number + index) / 255, abs=2e-3)
        times = [list(stream.statistics.model_seconds)[-1:] for stream in node.streams.values()]
        together += len({tuple(last) for last in times}) < len(cameras)
    for index, name in enumerate(cameras):
        assert {message.header.stamp.sec // 1000 for message in clients[name].received[RELATIVE]} == {index}
        assert node.streams[name].statistics.dropped.total() == 0
    assert (together > 0) == batches


def test_each_camera_gets_its_own_confidence(rig, tmp_path):
    _, clients = rig(write_confidence_model(tmp_path / "model.onnx", SIZE, batch="batch"), "left", "right")
    confidences: dict[str, list[Image]] = {name: [] for name in clients}
    for name, client in clients.items():
        client.create_subscription(Image, CONFIDENCE, confidences[name].append, 10)
    for number in range(10):
        sent = {
            name: client.publish_image(flat(SIZE, 20 + number + 50 * index, 120 + number + 50 * index))
            for index, (name, client) in enumerate(clients.items())
        }
        for index, (name, client) in enumerate(clients.items()):
            assert floats(client.wait_for(RELATIVE, sent[name])) * 255 == pytest.approx(20 + number + 50 * index, abs=1)
            client.spin_until(lambda: len(confidences[name]) > number, "the confidence")  # noqa: B023
            assert floats(confidences[name][-1]) * 255 == pytest.approx(120 + number + 50 * index, abs=1)
            assert confidences[name][-1].header == sent[name].header


def test_slow_camera_keeps_every_image_beside_flooding_camera(rig, tmp_path):
    node, clients = rig(slow_model(tmp_path), "front", "rear", backend="onnxruntime")
    rear = node.streams["rear"].statistics
    with flood(clients["front"], 100.0):
        for _ in range(8):
            clients["rear"].wait_for(RELATIVE, clients["rear"].publish_image(flat((4, 6), 1)))
            time.sleep(0.2)  # of its period
    assert (rear.received, rear.published, rear.dropped.total()) == (8, 8, 0)
    assert node.streams["front"].statistics.dropped["newer came"] > 20
    longest = max(node.streams["front"].statistics.model_seconds)
    # The frame at work, then this one.
    assert max(rear.total_seconds) < 2 * longest + max(rear.model_seconds) + 0.2 * load_factor()


@pytest.mark.parametrize("batches", [True, False], ids=["in batches", "one by one"])
def test_priorities_set_shares_under_overload(rig, tmp_path, batches):
    model = write_free_batch_model(tmp_path / "slow.onnx", (4, 6), slowness=3) if batches else slow_model(tmp_path)
    node, clients = rig(model, "front", "rear", front__priority=3)
    assert node._estimator.batches == batches
    with flood(clients["front"], 100.0), flood(clients["rear"], 100.0):
        front, rear = (node.streams[name].statistics for name in ("front", "rear"))
        clients["front"].spin_until(lambda: front.published >= 30 and rear.published >= 6, "the frames")
    assert front.dropped["newer came"] > 0
    assert 2.0 < front.published / rear.published < 4.5


def test_each_camera_has_its_own_max_rate(rig, tmp_path):
    quick = write_constant_model(tmp_path / "quick.onnx", np.full((4, 6), 2.0))
    node, clients = rig(quick, "front", "rear", rear__max_rate=5.0)
    front, rear = (node.streams[name].statistics for name in ("front", "rear"))
    started = time.monotonic()
    with flood(clients["front"], 50.0), flood(clients["rear"], 50.0):
        clients["front"].spin_until(lambda: front.published >= 40, "the frames")
    assert 1 <= rear.published <= 5 * (time.monotonic() - started) + 2


def test_failing_camera_does_not_disturb_others(rig, tmp_path):
    node, clients = rig(write_fragile_model(tmp_path / "model.onnx", (4, 6)), "left", "right")
    for number in range(1, 4):
        clients["left"].publish_image(flat((4, 6), 255))
        image = clients["right"].publish_image(flat((4, 6), 9))
        assert np.all(floats(clients["right"].wait_for(RELATIVE, image)) == 1.0)
        failed = node.streams["left"].statistics
        clients["right"].spin_until(lambda: failed.dropped["model failed"] == number, "the failure")  # noqa: B023
    assert clients["left"].received[RELATIVE] == []
    log = clients["right"].log
    clients["right"].spin_until(
        lambda: any(entry.level == ERROR and entry.msg.startswith("left: frame lost: ") for entry in log), "its line"
    )


def test_repeatedly_failing_batches_are_disabled_with_message(rig, tmp_path):
    model = write_free_batch_model(tmp_path / "model.onnx", (4, 6), fragile=True)
    node, clients = rig(model, "left", "right")
    assert node._worker.batch > 1
    client, left, right = clients["right"], node.streams["left"].statistics, node.streams["right"].statistics
    with flood(clients["left"], 100.0, brightness=255), flood(client, 100.0):
        client.spin_until(lambda: node._worker.batch == 1, "the end of batches")
        counts = left.dropped["model failed"], right.published
        client.spin_until(lambda: left.dropped["model failed"] > counts[0] + 1, "the bad frames, one by one")
        client.spin_until(lambda: right.published > counts[1] + 1, "the good frames, one by one")
    assert right.dropped.keys() <= {"newer came"}
    assert left.published == 0
    for level, text in ((WARN, "a batch failed"), (ERROR, f"{MAX_FAILED_BATCHES} batches in a row failed")):
        client.spin_until(
            lambda: any(entry.level == level and entry.msg.startswith(text) for entry in client.log),  # noqa: B023
            text,
        )


def test_each_camera_has_own_scale_and_geometry(rig, tmp_path):
    model = write_constant_model(tmp_path / "model.onnx", np.full((4, 6), 2.0))
    scales = {"left__scale__a": 1.0, "left__scale__b": 0.0, "right__scale__a": 0.25, "right__scale__b": 0.0}
    _, clients = rig(model, "left", "right", listens_to="points", **scales)
    for client, depth, focal in ((clients["left"], 0.5, 100.0), (clients["right"], 2.0, 200.0)):
        info = camera_info(6, 4, p=[focal, 0.0, 3.0, 0.0, 0.0, focal, 2.0, 0.0, 0.0, 0.0, 1.0, 0.0])
        cloud = client.publish_until_cloud(flat((4, 6), 1), info)
        x, _, z, _ = np.frombuffer(cloud.data, np.float32)[:4]
        assert (x, z) == pytest.approx((-3.0 / focal * depth, depth))


def test_cameras_share_one_model_that_cleanup_frees(rig, graph, tmp_path):
    model = write_constant_model(tmp_path / "model.onnx", np.full((4, 6), 2.0))
    node, clients = rig(model, "left", "right", "top")
    assert {id(stream._estimator) for stream in node.streams.values()} == {id(node._estimator)}
    node.trigger_deactivate()
    node.trigger_cleanup()
    assert not any(stream._estimator for stream in node.streams.values())
    for client in clients.values():
        client.spin_until(lambda: not client.count_publishers(RELATIVE), "the end of the topics")  # noqa: B023


def test_camera_without_subscribers_costs_nothing(graph, context, tmp_path):
    model = write_constant_model(tmp_path / "model.onnx", np.full((4, 6), 2.0))
    _, client = graph(model, (), cameras=["left", "right"])
    client.create_subscription(Image, f"left/{RELATIVE}", lambda _: None, 10)
    client.spin_until(lambda: client.count_subscribers("left/image"), "the subscription")
    assert client.count_subscribers("right/image") == client.count_subscribers("right/camera_info") == 0
    client.wait_for_line(INFO, "model: known")
    assert len([line for line in client.lines(INFO) if line.startswith("model: ")]) == 1


def test_camera_waiting_for_camera_info_blocks_no_other(rig, tmp_path, monkeypatch):
    monkeypatch.setattr(camera_info_buffer, "PATIENCE", 1e4)
    node, clients = rig(write_constant_model(tmp_path / "model.onnx", np.full((4, 6), 2.0)), "left", "right")
    left, right = clients["left"], clients["right"]

    def publish_pair() -> bool:
        image = left.publish_image(flat((4, 6), 0))
        info = camera_info(6, 4)
        info.header.stamp = image.header.stamp
        left.publish_info(info)
        return node.streams["left"].input.infos.awaits((1, 0))

    left.spin_until(publish_pair, "pairs to be the habit")
    alone = left.publish_image(flat((4, 6), 0))
    left.spin_until(lambda: node.streams["left"]._awaited == (alone.header.stamp.sec, 123456789), "the image")
    for _ in range(3):
        right.wait_for(RELATIVE, right.publish_image(flat((4, 6), 0)))
    assert not [message for message in left.received[RELATIVE] if message.header.stamp == alone.header.stamp]
    info = camera_info(6, 4)
    info.header.stamp = alone.header.stamp
    left.publish_info(info)
    left.wait_for(RELATIVE, alone)


def test_each_camera_has_its_own_sensors(graph, context, tmp_path):
    """They are subscribed while that camera's depth is."""
    model = write_constant_model(tmp_path / "model.onnx", np.full(SIZE, 2.0))
    sources = {"scale__source": ["point_cloud", "motion"], "scale__odometry": "topic"}
    node, _ = graph(model, (), cameras=["left", "right"], **sources)
    client = Client((), context=context, namespace=f"{node.get_namespace()}/left")
    client.listen("depth/image_rect")

    def subscribed(camera: str) -> bool:
        topics = ("scale/points", "scale/odometry")
        return all(client.count_subscribers(f"{node.get_namespace()}/{camera}/{topic}") for topic in topics)

    client.spin_until(lambda: subscribed("left"), "the sensors of the left camera")
    assert not client.count_subscribers(f"{node.get_namespace()}/right/scale/points")
    assert not client.count_subscribers(f"{node.get_namespace()}/right/scale/odometry")
    client.destroy_node()
