"""A depth node and its only client on a real ROS 2 graph, each pair in its own namespace.

A test module imports the two fixtures by their functions' names; tests request `context` and `graph`.
"""

from __future__ import annotations

import itertools
import os
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rclpy
from rcl_interfaces.msg import Log
from rclpy.context import Context
from rclpy.executors import SingleThreadedExecutor
from rclpy.logging import LoggingSeverity
from rclpy.node import Node
from rclpy.parameter import Parameter
from rclpy.publisher import Publisher
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from rclpy.signals import SignalHandlerOptions
from rclpy.subscription import Subscription
from sensor_msgs.msg import CameraInfo, CompressedImage, Image, PointCloud2
from waiting import wait_until

from depth_anything_ros.ros.depth_node.node import DepthNode
from depth_anything_ros.runtime.estimator import Estimator

PATIENCE = 60.0  # seconds; only a failing test waits so long, and on a busy machine longer: see `waiting.limit`
OUTPUTS = {
    "depth/image_rect": Image,
    "depth/image_raw": Image,
    "depth/camera_info": CameraInfo,
    "points": PointCloud2,
    "depth/image_color": Image,
    "inverse_depth/image": Image,
}
Picture = Image | CompressedImage
_names = itertools.count()


class Client(Node):
    """A camera and all subscribers: publishes images, and stores the depth node's messages and logs."""

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

    def listen(self, topic: str) -> Subscription:
        return self.create_subscription(OUTPUTS[topic], topic, self.received[topic].append, 10)

    def spin_until(self, condition: Callable[[], object], what: str) -> None:
        wait_until(condition, what, PATIENCE, self.spin_once)

    def spin_for(self, condition: Callable[[], object], seconds: float) -> bool:
        """Return whether the condition becomes true within this time."""
        deadline = time.monotonic() + seconds
        while not condition() and time.monotonic() < deadline:
            self.spin_once()
        return bool(condition())

    def spin_once(self) -> None:
        self._executor.spin_once(timeout_sec=0.02)

    def wait_for_node(self) -> None:
        """Wait until the depth node receives from this client."""
        publishers = (self._image_publisher, self._info_publisher)
        self.spin_until(lambda: all(publisher.get_subscription_count() for publisher in publishers), "the node's input")

    def publish_info(self, info: CameraInfo) -> None:
        self._info_publisher.publish(info)

    def publish_image(
        self, message: Picture, publisher: Publisher | None = None, nanoseconds: int | None = None
    ) -> Picture:
        """Publish an image, with a unique timestamp unless one is given."""
        seconds = next(self._stamps)
        stamp = 10**9 * seconds + 123456789 if nanoseconds is None else nanoseconds
        message.header.stamp.sec, message.header.stamp.nanosec = divmod(stamp, 10**9)
        message.header.frame_id = "left_eye_optical_frame"
        (publisher or self._image_publisher).publish(message)
        return message

    def wait_for(self, topic: str, image: Picture) -> Any:
        """Return the message of the topic that was computed from this image."""

        def found() -> list:
            return [message for message in self.received[topic] if message.header.stamp == image.header.stamp]

        self.spin_until(found, f"{topic} of image {image.header.stamp.sec}")
        return found()[0]

    def publish_until_cloud(self, message: Image, info: CameraInfo) -> PointCloud2:
        """Publish image and camera_info like a camera until a cloud of the image arrives."""
        return self.publish_until("points", message, info)

    def publish_until(self, topic: str, message: Picture, info: CameraInfo | None = None) -> Any:
        """Publish an image repeatedly, like a camera, until a message of the topic is computed from it.

        The first messages to another process may arrive before it has discovered the publisher and its subscribers.
        """
        first, again = None, 0.0

        def made() -> list:
            return [one for one in self.received[topic] if first is not None and one.header.stamp.sec >= first]

        def publish_and_spin() -> None:
            nonlocal first, again
            if time.monotonic() >= again:
                if info is not None:
                    self.publish_info(info)
                stamp = self.publish_image(message).header.stamp.sec
                first = stamp if first is None else first
                again = time.monotonic() + 0.5
            self.spin_once()

        wait_until(made, f"{topic} of an image", PATIENCE, publish_and_spin)
        return made()[-1]

    def lines(self, level: int) -> list[str]:
        own = self.get_namespace().strip("/").replace("/", ".")
        return [entry.msg for entry in self.log if entry.level == level and entry.name == f"{own}.depth_node"]

    def wait_for_line(self, level: int, text: str) -> str:
        self.spin_until(lambda: any(text in line for line in self.lines(level)), f"a line of log with {text!r}")
        return next(line for line in self.lines(level) if text in line)


INFO, WARN, ERROR = (int(level) for level in (LoggingSeverity.INFO, LoggingSeverity.WARN, LoggingSeverity.ERROR))


@pytest.fixture(scope="module", name="context")
def private_context() -> Iterator[Context]:
    """ROS for the tests of one module, separate from the process's default context and its signal handlers."""
    context = Context()
    rclpy.init(context=context, args=[], signal_handler_options=SignalHandlerOptions.NO)
    yield context
    rclpy.shutdown(context=context)


@pytest.fixture(name="graph")
def node_and_client(context: Context) -> Iterator[Callable[..., tuple[DepthNode, Client]]]:
    """Start a depth node in its own thread, and a camera; every test has its own namespace."""
    nodes: list[Node] = []
    spinners: list[tuple[SingleThreadedExecutor, threading.Thread]] = []

    def start(
        model: Path, listens_to: tuple[str, ...] = tuple(OUTPUTS), remap: tuple[str, ...] = (), **parameters: object
    ) -> tuple[DepthNode, Client]:
        """Parameters may be named with `__` for a dot, and with `{namespace}`; remappings with the latter too."""
        namespace = f"/graph_{os.getpid()}_{next(_names)}"
        shared = {"context": context, "namespace": namespace}
        overrides = [
            Parameter(name.replace("__", ".").format(namespace=namespace), value=value)
            for name, value in {"scale__nominal": True, **parameters}.items()
        ]
        rules = [word.format(namespace=namespace) for rule in remap for word in ("-r", rule)]
        node = DepthNode(
            Estimator(model, threads=1), parameter_overrides=overrides, cli_args=["--ros-args", *rules], **shared
        )
        node.start()
        client = Client(listens_to, **shared)
        nodes.extend([client, node])
        executor = SingleThreadedExecutor(context=context)
        executor.add_node(node)
        spinners.append((executor, threading.Thread(target=executor.spin)))
        spinners[-1][1].start()
        if listens_to:
            client.wait_for_node()
        return node, client

    yield start
    for executor, thread in spinners:
        executor.shutdown()
        thread.join()
    for node in nodes:
        node.destroy_node()


@pytest.fixture(name="other_participant")
def node_of_another_participant() -> Iterator[Callable[[Client], Node]]:
    """Create a node "driver" beside a client, as in another process: a participant has each topic under one type."""
    context = Context()
    rclpy.init(context=context, args=[], signal_handler_options=SignalHandlerOptions.NO)
    nodes: list[Node] = []

    def create(client: Client) -> Node:
        nodes.append(Node("driver", context=context, namespace=client.get_namespace()))
        return nodes[-1]

    yield create
    for node in nodes:
        node.destroy_node()
    rclpy.shutdown(context=context)


def floats(message: Image) -> np.ndarray:
    return np.frombuffer(message.data, np.float32).reshape(message.height, message.width)


def positions(cloud: PointCloud2) -> np.ndarray:
    return np.frombuffer(cloud.data, np.float32).reshape(cloud.height, cloud.width, 4)[..., :3]


def picture(height: int = 48, width: int = 64, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


def wait_until_reliable(client: Client, *topics: str) -> None:
    """Wait until the node's inputs follow this client's publishers: messages during a new subscription are lost."""

    def is_reliable(topic: str) -> bool:
        endpoints = client.get_subscriptions_info_by_topic(client.resolve_topic_name(topic))
        return any(endpoint.qos_profile.reliability == ReliabilityPolicy.RELIABLE for endpoint in endpoints)

    client.spin_until(lambda: all(map(is_reliable, topics)), "reliable inputs")
