"""The depth node on a real ROS 2 graph: what it publishes, field by field, and what it does about bad input."""

from __future__ import annotations

import itertools
import math
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("rclpy", reason="ROS 2 is not installed")
pytest.importorskip("onnx", reason="the test models are written with onnx")

import rclpy
from known_models import write_constant_model, write_fragile_model, write_red_model
from rcl_interfaces.msg import Log
from rcl_interfaces.srv import DescribeParameters, ListParameters, SetParameters
from rclpy.context import Context
from rclpy.executors import SingleThreadedExecutor
from rclpy.logging import LoggingSeverity
from rclpy.node import Node
from rclpy.parameter import Parameter
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from rclpy.signals import SignalHandlerOptions
from sensor_msgs.msg import CameraInfo, Image, PointCloud2
from test_messages import camera_info, image_message

from depth_anything_ros.geometry.camera import Camera
from depth_anything_ros.nodes.depth_node import DepthNode
from depth_anything_ros.runtime.estimator import Estimator

PATIENCE = 120.0  # seconds; only a failing test, or a very busy machine, waits so long
OUTPUTS = {
    "depth/image_rect": Image,
    "depth/camera_info": CameraInfo,
    "points": PointCloud2,
    "depth/image_color": Image,
    "inverse_depth/image": Image,
}
_names = itertools.count()


class Client(Node):
    """A camera and all its listeners: publishes images, keeps whatever the depth node publishes and logs."""

    def __init__(self, listens_to: tuple[str, ...] = tuple(OUTPUTS), **node_arguments: object) -> None:
        super().__init__("camera", **node_arguments)
        self.received: dict[str, list] = {topic: [] for topic in OUTPUTS}
        self.log: list[Log] = []
        self._image_publisher = self.create_publisher(Image, "image", 5)
        self._info_publisher = self.create_publisher(CameraInfo, "camera_info", 5)
        for topic in listens_to:
            self.listen(topic)
        log_qos = QoSProfile(
            depth=1000, reliability=ReliabilityPolicy.RELIABLE, durability=DurabilityPolicy.TRANSIENT_LOCAL
        )
        self.create_subscription(Log, "/rosout", self.log.append, log_qos)
        self._executor = SingleThreadedExecutor(context=self.context)
        self._executor.add_node(self)
        self._stamps = itertools.count(1)

    def destroy_node(self) -> None:
        self._executor.shutdown()
        super().destroy_node()

    def listen(self, topic: str) -> None:
        self.create_subscription(OUTPUTS[topic], topic, self.received[topic].append, 10)

    def spin_until(self, condition: Callable[[], object], what: str) -> None:
        assert self._spin(condition, PATIENCE), f"waited {PATIENCE} s in vain for {what}"

    def _spin(self, condition: Callable[[], object], seconds: float) -> bool:
        deadline = time.monotonic() + seconds
        while not condition() and time.monotonic() < deadline:
            self._executor.spin_once(timeout_sec=0.02)
        return bool(condition())

    def wait_for_node(self) -> None:
        """Until the depth node hears this client."""
        publishers = (self._image_publisher, self._info_publisher)
        self.spin_until(lambda: all(publisher.get_subscription_count() for publisher in publishers), "the node's input")

    def publish_info(self, info: CameraInfo) -> None:
        self._info_publisher.publish(info)

    def publish_image(self, message: Image) -> Image:
        """Publishes with a stamp that no other image has."""
        message.header.stamp.sec = next(self._stamps)
        message.header.stamp.nanosec = 123456789
        message.header.frame_id = "left_eye_optical_frame"
        self._image_publisher.publish(message)
        return message

    def wait_for(self, topic: str, image: Image) -> Image:
        """The message of that topic that was made of this image."""

        def found() -> list:
            return [message for message in self.received[topic] if message.header.stamp == image.header.stamp]

        self.spin_until(found, f"{topic} of image {image.header.stamp.sec}")
        return found()[0]

    def publish_until_cloud(self, message: Image, info: CameraInfo) -> PointCloud2:
        """Publishes image and camera_info like a camera, anew every so often, until a cloud is made of the image.

        What is sent first may come before the node has discovered who sends it and who listens to it.
        """
        first = None

        def clouds() -> list[PointCloud2]:
            return [cloud for cloud in self.received["points"] if cloud.header.stamp.sec >= first]

        for _ in range(int(PATIENCE / 0.5)):
            self.publish_info(info)
            stamp = self.publish_image(message).header.stamp.sec
            first = stamp if first is None else first
            if self._spin(clouds, 0.5):
                return clouds()[-1]
        raise AssertionError(f"no cloud within {PATIENCE} s")

    def lines(self, level: int) -> list[str]:
        own = self.get_namespace().strip("/").replace("/", ".")
        return [entry.msg for entry in self.log if entry.level == level and entry.name == f"{own}.depth_node"]

    def wait_for_line(self, level: int, text: str) -> str:
        self.spin_until(lambda: any(text in line for line in self.lines(level)), f"a line of log with {text!r}")
        return next(line for line in self.lines(level) if text in line)


INFO, WARN, ERROR = (int(level) for level in (LoggingSeverity.INFO, LoggingSeverity.WARN, LoggingSeverity.ERROR))


@pytest.fixture(scope="module")
def context() -> Iterator[Context]:
    context = Context()
    rclpy.init(context=context, args=[], signal_handler_options=SignalHandlerOptions.NO)
    yield context
    rclpy.shutdown(context=context)


@pytest.fixture
def graph(context: Context) -> Iterator[Callable[..., tuple[DepthNode, Client]]]:
    """Starts a depth node, spun by a thread of its own, and a camera; every test in its own namespace."""
    nodes: list[Node] = []
    spinners: list[tuple[SingleThreadedExecutor, threading.Thread]] = []

    def start(
        model: Path, listens_to: tuple[str, ...] = tuple(OUTPUTS), **parameters: object
    ) -> tuple[DepthNode, Client]:
        shared = {"context": context, "namespace": f"/graph_{os.getpid()}_{next(_names)}"}
        overrides = [Parameter(name.replace("__", "."), value=value) for name, value in parameters.items()]
        node = DepthNode(Estimator(model, threads=1), parameter_overrides=overrides, **shared)
        client = Client(listens_to, **shared)
        nodes.extend([client, node])
        executor = SingleThreadedExecutor(context=context)
        executor.add_node(node)
        spinners.append((executor, threading.Thread(target=executor.spin)))
        spinners[-1][1].start()
        client.wait_for_node()
        return node, client

    yield start
    for executor, thread in spinners:
        executor.shutdown()
        thread.join()
    for node in nodes:
        node.destroy_node()


def floats(message: Image) -> np.ndarray:
    return np.frombuffer(message.data, np.float32).reshape(message.height, message.width)


def positions(cloud: PointCloud2) -> np.ndarray:
    return np.frombuffer(cloud.data, np.float32).reshape(cloud.height, cloud.width, 4)[..., :3]


def picture(height: int = 48, width: int = 64, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


def plane(camera: Camera, normal: np.ndarray, distance: float) -> np.ndarray:
    """Inverse depth, float64 (H, W), of the plane normal · point = distance: 1/Z = normal · (x, y, 1) / distance."""
    v, u = np.mgrid[0 : camera.height, 0 : camera.width]
    directions = camera.back_project(np.stack([u, v], axis=-1), np.ones((camera.height, camera.width)))
    return directions @ normal / distance


# What is published


def test_every_field_of_every_output(graph, tmp_path):
    inverse_depth = np.linspace(0.05, 4.0, 48 * 64, dtype=np.float32).reshape(48, 64)
    model = write_constant_model(tmp_path / "model.onnx", inverse_depth)
    _, client = graph(model, scale__a=2.0, scale__b=0.1, min_depth=0.25, max_depth=4.0)
    rgb = picture()
    info = camera_info(64, 48)
    image = image_message(rgb, "bgr8", padding=3)
    client.publish_until_cloud(image, info)
    client.publish_image(image)
    received = {topic: client.wait_for(topic, image) for topic in OUTPUTS if topic != "points"}

    for topic, message in received.items():
        assert message.header == image.header, topic
        assert (message.height, message.width) == (48, 64), topic
    for topic, encoding, step in (
        ("depth/image_rect", "32FC1", 256),
        ("inverse_depth/image", "32FC1", 256),
        ("depth/image_color", "bgr8", 192),
    ):
        message = received[topic]
        assert (message.encoding, message.step, len(message.data)) == (encoding, step, 48 * step)
        assert message.is_bigendian == (sys.byteorder == "big")

    assert np.array_equal(floats(received["inverse_depth/image"]), inverse_depth)
    expected = 1 / (2.0 * inverse_depth + 0.1)
    depth = floats(received["depth/image_rect"])
    inside = (expected >= 0.25) & (expected <= 4.0)
    assert depth[inside] == pytest.approx(expected[inside], rel=1e-5)
    assert np.all(depth[expected > 4.0] == np.inf)
    assert np.all(depth[expected < 0.25] == -np.inf)

    sent = received["depth/camera_info"]
    info.header = image.header
    assert sent == info
    colours = np.frombuffer(received["depth/image_color"].data, np.uint8).reshape(48, 64, 3)
    far, near = colours[0].mean(axis=0), colours[-1].mean(axis=0)
    assert far[0] > far[2]  # blue
    assert near[2] > near[0]  # red

    cloud = client.wait_for("points", image)
    assert (cloud.header, cloud.height, cloud.width) == (image.header, 48, 64)
    assert (cloud.point_step, cloud.row_step, len(cloud.data)) == (16, 1024, 48 * 1024)
    assert (cloud.is_dense, cloud.is_bigendian) == (False, sys.byteorder == "big")
    assert [(field.name, field.offset, field.datatype) for field in cloud.fields] == [
        ("x", 0, 7),
        ("y", 4, 7),
        ("z", 8, 7),
        ("rgb", 12, 7),
    ]
    points = positions(cloud)
    assert np.array_equal(np.isnan(points), np.repeat(~inside[..., np.newaxis], 3, axis=2))
    assert np.array_equal(points[inside][:, 2], depth[inside])
    packed = np.frombuffer(cloud.data, np.uint8).reshape(48, 64, 16)
    assert np.array_equal(packed[..., 14:11:-1], rgb)


@pytest.mark.parametrize(
    ("output", "size"),
    [
        ("inverse_depth", (480, 640)),
        ("inverse_depth", (240, 320)),  # exact, since the inverse depth of a plane is affine in the pixels
        ("depth", (480, 640)),
    ],
)
def test_a_plane_comes_back_planar_to_a_millimetre(graph, tmp_path, output, size):
    """A tilted floor seen by the camera of P; halved outputs test the half pixel of the scaled camera_info too."""
    normal = np.array([0.1, 0.9, 0.35]) / np.linalg.norm([0.1, 0.9, 0.35])
    info = camera_info(640, 480)
    inverse = plane(Camera(640, 480, info.p[0], info.p[5], info.p[2], info.p[6]), normal, distance=1.2)
    inverse = np.where(inverse > 1 / 30, inverse, 0)  # above the horizon, or farther than we look
    if output == "inverse_depth":
        values, parameters = (inverse - 0.02) / 3.0, {"scale__a": 3.0, "scale__b": 0.02}
    else:
        values, parameters = 1 / np.maximum(inverse, 1e-6), {}
    model = write_constant_model(tmp_path / "model.onnx", values, output)
    _, client = graph(model, ("points",), max_depth=10.0, output__height=size[0], output__width=size[1], **parameters)
    cloud = client.publish_until_cloud(image_message(picture(480, 640), "rgb8"), info)
    assert (cloud.height, cloud.width) == size

    points = positions(cloud)
    points = points[np.isfinite(points[..., 2])].astype(np.float64)
    assert len(points) > 0.4 * size[0] * size[1]
    assert points[:, 2].max() > 5.0
    assert np.abs(points @ normal - 1.2).max() < 1e-3
    _, _, axes = np.linalg.svd(points - points.mean(axis=0), full_matrices=False)
    assert abs(axes[2] @ normal) == pytest.approx(1.0, abs=1e-9)


def test_a_metric_model_needs_no_scale_and_has_no_inverse_depth(graph, tmp_path):
    depth = np.array([[0.05, 1.5, 79.0, 81.0, np.nan, -1.0]], np.float32)
    node, client = graph(write_constant_model(tmp_path / "model.onnx", depth, "depth"), ("depth/image_rect",))
    image = client.publish_image(image_message(picture(1, 6), "rgb8"))
    received = floats(client.wait_for("depth/image_rect", image))
    expected = np.array([[-np.inf, 1.5, 79.0, np.inf, np.nan, -np.inf]], np.float32)
    assert np.array_equal(received, expected, equal_nan=True)
    topics = dict(client.get_publisher_names_and_types_by_node("depth_node", node.get_namespace()))
    assert f"{node.get_namespace()}/depth/image_rect" in topics
    assert f"{node.get_namespace()}/inverse_depth/image" not in topics


def test_every_encoding_gives_the_same_depth(graph, tmp_path):
    _, client = graph(write_red_model(tmp_path / "model.onnx", (48, 64)), ("inverse_depth/image",))
    grey = np.repeat(picture()[..., :1], 3, axis=2)
    for encoding, rgb in [("mono8", grey), *((name, picture()) for name in ("rgb8", "bgr8", "rgba8", "bgra8", "8UC3"))]:
        image = client.publish_image(image_message(rgb, encoding, padding=5))
        received = floats(client.wait_for("inverse_depth/image", image))
        assert received == pytest.approx(rgb[..., 0] / np.float32(255), abs=1e-6), encoding


def test_the_nominal_scale_is_used_and_called_nominal(graph, tmp_path):
    model = write_constant_model(tmp_path / "model.onnx", np.full((4, 6), 2.0), nominal_scale=(0.25, 0.5))
    _, client = graph(model)
    image = client.publish_image(image_message(picture(4, 6), "rgb8"))
    assert floats(client.wait_for("depth/image_rect", image)) == pytest.approx(1.0)
    client.wait_for_line(INFO, "NOMINAL, not measured: a = 0.25, b = 0.5")


def test_without_a_scale_only_inverse_depth_is_published(graph, tmp_path):
    _, client = graph(write_constant_model(tmp_path / "model.onnx", np.full((4, 6), 2.0)))
    client.publish_info(camera_info(6, 4))
    for _ in range(3):
        image = client.publish_image(image_message(picture(4, 6), "rgb8"))
        client.wait_for("inverse_depth/image", image)
        client.wait_for("depth/image_color", image)
    assert client.received["depth/image_rect"] == client.received["points"] == []
    client.wait_for_line(WARN, "For metres set scale.a and scale.b")
    assert len(client.lines(WARN)) == 1


# What is not computed


def test_nothing_is_computed_for_nobody(graph, tmp_path):
    model = write_constant_model(tmp_path / "model.onnx", np.full((4, 6), 2.0), nominal_scale=(1.0, 0.0))
    node, client = graph(model, listens_to=())
    for number in range(1, 4):
        client.publish_image(image_message(picture(4, 6), "rgb8"))
        client.spin_until(lambda count=number: node.statistics.received == count, "the image's arrival")
    assert (node.statistics.ignored, node.statistics.published) == (3, 0)

    client.listen("depth/image_color")
    publishes = node.count_subscribers
    client.spin_until(lambda: publishes("depth/image_color") == 1, "the subscription")
    image = client.publish_image(image_message(picture(4, 6), "rgb8"))
    client.wait_for("depth/image_color", image)
    client.spin_until(lambda: node.statistics.published == 1, "the count")
    assert len(node.statistics.model_seconds) == len(node.statistics.total_seconds) == 1
    assert node.statistics.total_seconds[0] > node.statistics.model_seconds[0] > 0


def test_camera_info_alone_takes_no_model(graph, tmp_path):
    model = write_constant_model(tmp_path / "model.onnx", np.full((4, 6), 2.0), nominal_scale=(1.0, 0.0))
    node, client = graph(model, listens_to=("depth/camera_info",))
    while not client.received["depth/camera_info"]:
        client.publish_info(camera_info(6, 4))
        before = node.statistics.received
        image = client.publish_image(image_message(picture(4, 6), "rgb8"))
        client.spin_until(lambda: node.statistics.received > before, "the image's arrival")  # noqa: B023
    assert client.received["depth/camera_info"][0].header.stamp.sec <= image.header.stamp.sec
    assert node.statistics.published == len(node.statistics.model_seconds) == 0


def test_the_latest_frame_wins(graph, tmp_path):
    slow = write_constant_model(tmp_path / "model.onnx", np.full((4, 6), 2.0), slowness=6)
    node, client = graph(slow, ("inverse_depth/image",))
    for _ in range(20):
        image = client.publish_image(image_message(picture(4, 6), "rgb8"))
        client.spin_until(lambda: node.statistics.received == image.header.stamp.sec, "the image's arrival")  # noqa: B023
    client.wait_for("inverse_depth/image", image)
    client.spin_until(
        lambda: node.statistics.published + node.statistics.dropped["newer came"] == 20, "every frame accounted for"
    )
    assert node.statistics.dropped["newer came"] > 0
    stamps = [message.header.stamp.sec for message in client.received["inverse_depth/image"]]
    assert stamps == sorted(stamps)
    assert re.search(
        r"20 images in, \d+ published, 0 for nobody, \d+ dropped \(newer came\)", node.statistics.summary()
    )


# What bad input gets


def test_bad_images_are_dropped_counted_and_named_once(graph, tmp_path):
    model = write_constant_model(tmp_path / "model.onnx", np.full((4, 6), 2.0))
    node, client = graph(model, ("inverse_depth/image",))

    def bad(**fields: object) -> Image:
        message = image_message(picture(4, 6), "rgb8")
        for name, value in fields.items():
            setattr(message, name, value)
        return message

    faults = [{"encoding": "bayer_rggb8"}, {"step": 17}, {"height": 5}, {"height": 3}, {"width": 0}, {"height": 0}]
    for number, fields in enumerate(faults * 2, start=1):
        client.publish_image(bad(**fields))
        client.spin_until(lambda count=number: node.statistics.dropped.total() == count, f"{fields} to be dropped")
    assert node.statistics.dropped == {"encoding bayer_rggb8": 2, "step": 2, "data size": 4, "zero size": 4}
    client.wait_for("inverse_depth/image", client.publish_image(image_message(picture(4, 6), "rgb8")))
    for fix in (
        "'bayer_rggb8' is not understood; have the camera publish one of rgb8",
        "fix the driver's step or encoding",
        "fix the driver's height, step or data",
        "check the driver's resolution",
    ):
        client.wait_for_line(WARN, fix)
    assert len([line for line in client.lines(WARN) if line.startswith("frame dropped")]) == 4


@pytest.mark.parametrize(
    ("info", "complaint"),
    [
        (None, "nothing has come on"),
        (camera_info(6, 4, k=[0.0] * 9), "K of zero"),
        (camera_info(12, 8), "for 12x8 pixels, but the image has 6x4"),
    ],
    ids=["missing", "uncalibrated", "another size"],
)
def test_without_a_fitting_camera_info_depth_goes_on_and_the_cloud_waits(graph, tmp_path, info, complaint):
    model = write_constant_model(tmp_path / "model.onnx", np.full((4, 6), 2.0), nominal_scale=(1.0, 0.0))
    _, client = graph(model)
    if info is not None:
        client.publish_info(info)
    for _ in range(10):
        image = client.publish_image(image_message(picture(4, 6), "rgb8"))
        client.wait_for("depth/image_rect", image)
    assert client.received["points"] == client.received["depth/camera_info"] == []
    client.wait_for_line(WARN, complaint)
    assert len([line for line in client.lines(WARN) if complaint in line]) == 1

    client.publish_until_cloud(image_message(picture(4, 6), "rgb8"), camera_info(6, 4))


def test_a_frame_on_which_the_model_fails_is_lost_alone(graph, tmp_path):
    node, client = graph(write_fragile_model(tmp_path / "model.onnx", (4, 6)), ("inverse_depth/image",))
    for number in (1, 2):
        client.publish_image(image_message(np.full((4, 6, 3), 255, np.uint8), "rgb8"))
        client.spin_until(lambda count=number: node.statistics.dropped["model failed"] == count, "the failure")
    image = client.publish_image(image_message(np.zeros((4, 6, 3), np.uint8), "rgb8"))
    assert np.all(floats(client.wait_for("inverse_depth/image", image)) == 1.0)
    client.wait_for_line(ERROR, "frame lost")
    assert len(client.lines(ERROR)) == 1


def test_the_node_follows_a_change_of_size(graph, tmp_path):
    model = write_red_model(tmp_path / "model.onnx", (48, 64), nominal_scale=(1.0, 0.5))
    _, client = graph(model, points__stride=2)
    for height, width in ((48, 64), (96, 128), (30, 40), (48, 64)):
        image = image_message(picture(height, width), "rgb8")
        cloud = client.publish_until_cloud(image, camera_info(width, height))
        depth = client.wait_for("depth/image_rect", image)
        assert (depth.height, depth.width, len(depth.data)) == (height, width, 4 * height * width)
        assert (cloud.height, cloud.width) == (height // 2, width // 2)
        assert client.received["depth/camera_info"][-1].width == width


# Parameters


def call(client: Client, service_type: type, name: str, request: object) -> object:
    service = client.create_client(service_type, f"depth_node/{name}")
    client.spin_until(service.service_is_ready, name)
    future = service.call_async(request)
    client.spin_until(future.done, f"the answer of {name}")
    return future.result()


def set_parameter(client: Client, name: str, value: object) -> tuple[bool, str]:
    request = SetParameters.Request(parameters=[Parameter(name, value=value).to_parameter_msg()])
    (result,) = call(client, SetParameters, "set_parameters", request).results
    return result.successful, result.reason


def test_live_parameters_act_at_the_next_frame(graph, tmp_path):
    model = write_constant_model(tmp_path / "model.onnx", np.array([[0.1, 1.0, 5.0]], np.float32))
    _, client = graph(model)

    def depth() -> np.ndarray:
        image = client.publish_image(image_message(picture(1, 3), "rgb8"))
        return floats(client.wait_for("depth/image_rect", image))[0]

    assert set_parameter(client, "scale.a", 1.0)[0]
    client.wait_for_line(WARN, "scale.a and scale.b go together")
    assert set_parameter(client, "scale.b", 0.0)[0]
    client.wait_for_line(INFO, "scale set: a = 1, b = 0")
    assert depth() == pytest.approx([10.0, 1.0, 0.2])
    assert set_parameter(client, "max_depth", 9.0)[0]
    assert set_parameter(client, "min_depth", 0.5)[0]
    assert depth().tolist() == [np.inf, 1.0, -np.inf]
    assert set_parameter(client, "scale.a", 2.0)[0]
    assert depth() == pytest.approx([5.0, 0.5, -np.inf])


@pytest.mark.parametrize(
    ("name", "value", "reason"),
    [
        ("min_depth", 80.0, "min_depth and max_depth: depth limits are 80.0 to 80.0 m"),
        ("max_depth", -1.0, "max_depth"),
        ("scale.a", -1.0, "scale.a is -1.0, must be positive"),
        ("scale.b", math.inf, "scale.b is inf, must be finite"),
        ("points.stride", 0, "points.stride"),
        ("model", "vitl", "read-only"),
        ("rectified", False, "read-only"),
    ],
)
def test_parameters_that_may_not_be_set_are_refused_with_a_reason(graph, tmp_path, name, value, reason):
    node, client = graph(write_constant_model(tmp_path / "model.onnx", np.ones((1, 3))))
    before = node.get_parameter(name).value
    successful, answer = set_parameter(client, name, value)
    assert not successful
    assert reason in answer or reason.replace("-", "_") in answer
    assert str(node.get_parameter(name).value) == str(before)


def test_every_parameter_describes_itself_and_stands_in_the_file(graph, tmp_path, repository):
    yaml = pytest.importorskip("yaml", reason="PyYAML is not installed")
    node, client = graph(write_constant_model(tmp_path / "model.onnx", np.ones((1, 3))))
    (section,) = yaml.safe_load((repository / "config" / "depth_node.yaml").read_text()).values()
    in_file: dict[str, object] = {}
    for name, value in section["ros__parameters"].items():
        in_file |= (
            {f"{name}.{key}": inner for key, inner in value.items()} if isinstance(value, dict) else {name: value}
        )
    declared = call(client, ListParameters, "list_parameters", ListParameters.Request()).result.names
    of_rclpy = ("qos_overrides.", "use_sim_time", "start_type_description_service")
    own = [name for name in declared if not name.startswith(of_rclpy)]
    assert sorted(in_file) == sorted(own)
    assert {name: str(node.get_parameter(name).value) for name in own} == {
        name: str(value) for name, value in in_file.items()
    }
    answer = call(client, DescribeParameters, "describe_parameters", DescribeParameters.Request(names=own))
    assert [descriptor.name for descriptor in answer.descriptors] == own
    assert all(descriptor.description for descriptor in answer.descriptors)


@pytest.mark.parametrize("namespace", ["/", "/left/eye"])
def test_the_parameter_file_reaches_the_node_in_any_namespace(context, tmp_path, repository, namespace):
    text = (repository / "config" / "depth_node.yaml").read_text()
    changed = tmp_path / "parameters.yaml"
    changed.write_text(text.replace("max_depth: 80.0", "max_depth: 33.0"))
    model = Estimator(write_constant_model(tmp_path / "model.onnx", np.ones((1, 3))))
    arguments = ["--ros-args", "--params-file", str(changed)]
    node = DepthNode(model, context=context, namespace=namespace, cli_args=arguments)
    assert node.get_parameter("max_depth").value == 33.0
    node.destroy_node()


# The process


def run_node(*parameters: str, **environment: str) -> subprocess.Popen:
    options = [word for parameter in parameters for word in ("-p", parameter)]
    return subprocess.Popen(
        [sys.executable, "-m", "depth_anything_ros.nodes.depth_node", "--ros-args", *options],
        env={**os.environ, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["SIGINT", "SIGTERM"])
def test_a_process_serves_and_ends_in_order(context, tmp_path, number):
    model = write_constant_model(tmp_path / "model.onnx", np.full((480, 640), 2.0), nominal_scale=(1.0, 0.0))
    process = run_node(f"model:={model}", "threads:=1")
    client = Client(("depth/image_rect", "points"), context=context)
    try:
        client.wait_for_node()
        cloud = client.publish_until_cloud(image_message(picture(480, 640), "rgb8"), camera_info())
        assert positions(cloud)[..., 2] == pytest.approx(0.5)
        assert floats(client.received["depth/image_rect"][-1]) == pytest.approx(0.5)
        process.send_signal(number)
        output, _ = process.communicate(timeout=PATIENCE)
    finally:
        process.kill()
        process.wait()
        client.destroy_node()
    assert process.returncode == 0, output
    assert "Traceback" not in output
    assert re.search(r"\d+ images in, \d+ published", output)


def truncated(path: Path) -> Path:
    write_constant_model(path, np.ones((40, 60)))
    path.write_bytes(path.read_bytes()[:3000])
    return path


@pytest.mark.parametrize(
    ("make", "complaint"),
    [
        (lambda path: path, "no such model file"),
        (truncated, "model.onnx"),
    ],
    ids=["absent", "truncated"],
)
def test_a_model_that_is_absent_or_damaged_ends_the_process_with_one_line(tmp_path, make, complaint):
    process = run_node(f"model:={make(tmp_path / 'model.onnx')}")
    output, _ = process.communicate(timeout=PATIENCE)
    assert process.returncode == 1
    lines = [line for line in output.splitlines() if "FATAL" in line]
    assert len(lines) == 1
    assert complaint in lines[0]
    assert "Traceback" not in output


def test_a_parameter_out_of_range_ends_the_process_with_one_line():
    process = run_node("max_depth:=-3.0")
    output, _ = process.communicate(timeout=PATIENCE)
    assert process.returncode == 1
    assert len([line for line in output.splitlines() if "FATAL" in line and "max_depth" in line]) == 1
    assert "Traceback" not in output
