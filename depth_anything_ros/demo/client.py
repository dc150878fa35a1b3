"""A client that measures the topics of the camera node and the depth node."""

from __future__ import annotations

import time
from collections import OrderedDict
from dataclasses import dataclass

import numpy as np
from rclpy.node import Node
from rclpy.qos import QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import CameraInfo, Image, PointCloud2

from depth_anything_ros.geometry.camera import Camera
from depth_anything_ros.postprocessing.point_cloud import POINT_STEP

WARM_UP_FRAMES = 5
"""Complete frames before the measurement: messages queued during discovery arrive in a burst."""
WAITING_FRAMES = 100
"""Maximum number of incomplete frames. They include those that the model skipped."""
TOPICS = {"image": "image_raw", "depth": "depth/image_rect", "cloud": "points", "info": "depth/camera_info"}
TYPES = {"image": Image, "depth": Image, "cloud": PointCloud2, "info": CameraInfo}


@dataclass(frozen=True)
class ReceivedFrame:
    """All messages of one timestamp.

    ``image`` uint8 (H, W, 3) BGR, ``depth`` float32 (H, W) in meters, ``cloud`` uint8, the bytes of an organized
    cloud of the same size, ``camera`` the intrinsics of all three.
    """

    image: np.ndarray
    depth: np.ndarray
    cloud: np.ndarray
    camera: Camera


@dataclass(frozen=True)
class Arrivals:
    """Rates in Hz by topic, and latencies: seconds from timestamp to arrival (50th and 95th percentile)."""

    rates: dict[str, float]
    latencies: dict[str, tuple[float, float]]


class Client(Node):
    """Subscribes to the topics of a namespace, and measures messages after `WARM_UP_FRAMES`.

    ``frame`` is the latest complete frame, None before the first. ``complete`` is the number of complete frames.
    """

    def __init__(self, namespace: str) -> None:
        super().__init__("demo_client", namespace=namespace)
        self.frame: ReceivedFrame | None = None
        self.complete = 0
        self._waiting: OrderedDict[tuple[int, int], dict[str, object]] = OrderedDict()
        self._arrivals: dict[str, list[tuple[float, float]]] = {name: [] for name in TOPICS}
        quality = QoSProfile(depth=5, reliability=ReliabilityPolicy.RELIABLE)
        for name, topic in TOPICS.items():
            self.create_subscription(
                TYPES[name], topic, lambda message, name=name: self._receive(name, message), quality
            )

    def _receive(self, name: str, message: Image | PointCloud2 | CameraInfo) -> None:
        stamp = message.header.stamp
        if self.complete >= WARM_UP_FRAMES:
            latency = self.get_clock().now().nanoseconds * 1e-9 - (stamp.sec + stamp.nanosec * 1e-9)
            self._arrivals[name].append((time.monotonic(), latency))
        messages = self._waiting.setdefault((stamp.sec, stamp.nanosec), {})
        messages[name] = message
        if len(messages) == len(TOPICS):
            self.frame = received_frame(**self._waiting.pop((stamp.sec, stamp.nanosec)))
            self.complete += 1
        elif len(self._waiting) > WAITING_FRAMES:
            self._waiting.popitem(last=False)

    @property
    def measured(self) -> int:
        """Return the number of complete frames after the warm-up."""
        return max(0, self.complete - WARM_UP_FRAMES)

    def missing(self) -> str:
        """Return the topics without any message, or which other condition is missing, in words."""
        came = {name for messages in self._waiting.values() for name in messages}
        return ", ".join(self.resolve_topic_name(topic) for name, topic in TOPICS.items() if name not in came) or (
            "messages with equal timestamps"
        )

    def arrivals(self) -> Arrivals:
        """Return the rates and latencies so far, of topics with at least two messages."""
        rates, latencies = {}, {}
        for name, arrivals in self._arrivals.items():
            if len(arrivals) < 2:
                continue
            times, delays = np.array(arrivals).T
            rates[name] = float((len(times) - 1) / (times[-1] - times[0]))
            latencies[name] = tuple(float(delay) for delay in np.percentile(delays, (50, 95)))
        return Arrivals(rates, latencies)


def received_frame(image: Image, depth: Image, cloud: PointCloud2, info: CameraInfo) -> ReceivedFrame:
    """Return the arrays of the messages.

    Args:
        image: bgr8.
        depth: 32FC1.
        cloud: organized, with color, of the size of ``depth``.
        info: of ``depth``.

    Raises:
        ValueError: a message is not of this form.
    """
    promised = (image.encoding, depth.encoding, cloud.point_step) == ("bgr8", "32FC1", POINT_STEP)
    if not promised or (depth.height, depth.width) != (cloud.height, cloud.width):
        raise ValueError(
            f"received {image.encoding} image, {depth.encoding} depth of {depth.width}x{depth.height} and a cloud of "
            f"{cloud.width}x{cloud.height} with {cloud.point_step} bytes per point"
        )
    return ReceivedFrame(
        np.frombuffer(image.data, np.uint8).reshape(image.height, image.width, 3),
        np.frombuffer(depth.data, np.float32).reshape(depth.height, depth.width),
        np.frombuffer(cloud.data, np.uint8),
        Camera(info.width, info.height, info.k[0], info.k[4], info.k[2], info.k[5]),
    )
