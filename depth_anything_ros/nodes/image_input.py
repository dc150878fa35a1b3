"""One camera's images on their way in: subscriptions that exist only while wanted, and what is refused at the door."""

from __future__ import annotations

import copy
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from rclpy.callback_groups import MutuallyExclusiveCallbackGroup
from rclpy.node import Node
from rclpy.qos import HistoryPolicy, QoSProfile, ReliabilityPolicy
from rclpy.qos_overriding_options import QoSOverridingOptions
from rclpy.subscription import Subscription
from sensor_msgs.msg import CameraInfo, CompressedImage, Image
from std_msgs.msg import Header

from depth_anything_ros.nodes.camera_info_buffer import CameraInfoBuffer
from depth_anything_ros.nodes.frame_statistics import FrameStatistics
from depth_anything_ros.nodes.image_decoding import BadImageError, check_image
from depth_anything_ros.nodes.local_images import LocalImages
from depth_anything_ros.nodes.stamp_order import StampOrder

# Best effort takes from every publisher, and a late image is worth nothing.
INPUT_QOS = QoSProfile(depth=1, history=HistoryPolicy.KEEP_LAST, reliability=ReliabilityPolicy.BEST_EFFORT)
JITTER = 0.25
"""Share of a period that a frame may come early and still count as due: a camera of just the greatest rate jitters."""


@dataclass(frozen=True)
class Frame:
    """An image on its way to the worker.

    ``source`` is the message, or RGB pixels (H, W, 3) that were handed over in the process, together with their
    camera_info ``info``. ``received`` is in seconds of `time.perf_counter`.
    """

    header: Header
    source: Image | CompressedImage | np.ndarray
    received: float
    info: CameraInfo | None = None

    @property
    def stamp(self) -> tuple[int, int]:
        """Seconds and nanoseconds."""
        return self.header.stamp.sec, self.header.stamp.nanosec


class ImageInput:
    """Receives one camera's images and camera_info, and hands on what deserves a look.

    Args:
        node: whose subscriptions they are.
        prefix: what stands before the names of its topics: "" or "NAME/".
        transport: "raw" or "compressed".
        statistics: told of each image, and of why it goes no farther.
        hand_on: gets each image that passes, in the executor's thread.
        warn: gets what is wrong with an image that does not, each fault once.
        local: where images come from instead, if a camera node lives in the same process.
    """

    def __init__(
        self,
        node: Node,
        prefix: str,
        transport: str,
        statistics: FrameStatistics,
        hand_on: Callable[[Frame], None],
        warn: Callable[[str, str], None],
        local: LocalImages | None = None,
    ) -> None:
        self.infos = CameraInfoBuffer()
        self.stamps = StampOrder()
        self.max_rate, self.max_age = 0.0, 0.0
        self._node, self._prefix, self._transport, self._local = node, prefix, transport, local
        self._statistics, self._hand_on, self._warn = statistics, hand_on, warn
        self._group = MutuallyExclusiveCallbackGroup()
        self._lock = threading.RLock()
        self._subscriptions: list[Subscription] = []
        self._is_open = False
        self._due, self._heard = 0.0, 0.0

    @property
    def source(self) -> str:
        """Where images come from, in words."""
        return self.image_topic if self._local is None else "the camera node of this process"

    @property
    def publishers(self) -> int:
        """How many there are of the topic that images come on."""
        return self._node.count_publishers(self.image_topic)

    @property
    def silence(self) -> float | None:
        """Seconds without an image; None while none is asked for, or a camera node hands them over."""
        return time.perf_counter() - self._heard if self._is_open and self._local is None else None

    @property
    def image_topic(self) -> str:
        """The resolved name of the topic that images come on."""
        base = self._node.resolve_topic_name(f"{self._prefix}image")
        return f"{base}/compressed" if self._transport == "compressed" else base

    @property
    def info_topic(self) -> str:
        """The resolved name of camera_info: where it was remapped to, else beside the image, as in image_transport."""
        plain = self._node.resolve_topic_name(f"{self._prefix}camera_info")
        unmapped = self._node.resolve_topic_name(f"{self._prefix}camera_info", only_expand=True)
        if plain != unmapped:
            return plain
        return self._node.resolve_topic_name(f"{self._prefix}image").rpartition("/")[0] + "/camera_info"

    def set_open(self, is_open: bool) -> None:
        """Subscribes, or ends the subscriptions; does nothing where that is done already. From any thread."""
        with self._lock:
            if is_open == self._is_open:
                return
            self._is_open = is_open
            if is_open:
                self.stamps.reset()
                self._due, self._heard = 0.0, time.perf_counter()
            if self._local is not None:
                self._local.receive(self._on_local_image if is_open else None)
            elif is_open:
                kind = CompressedImage if self._transport == "compressed" else Image
                self._subscribe(CameraInfo, self.info_topic, self.infos.put)
                self._subscribe(kind, self.image_topic, self._on_image)
            else:
                while self._subscriptions:
                    self._node.destroy_subscription(self._subscriptions.pop())
                self.infos.clear()

    def _subscribe(self, message_type: type, topic: str, callback: Callable) -> None:
        subscription = self._node.create_subscription(
            message_type,
            topic,
            callback,
            copy.copy(INPUT_QOS),  # overrides are written into it
            callback_group=self._group,
            qos_overriding_options=QoSOverridingOptions.with_default_policies(),
        )
        self._subscriptions.append(subscription)

    def _on_image(self, message: Image | CompressedImage) -> None:
        received = self._heard = time.perf_counter()
        self._statistics.receive()
        if not self._is_admitted(message.header):
            return
        try:
            check_image(message)
        except BadImageError as error:
            self._statistics.drop(error.cause)
            self._warn(error.fault, f"frame dropped: {error}")
            return
        self._hand_on(Frame(message.header, message, received))

    def _on_local_image(self, image: np.ndarray, info: CameraInfo) -> None:
        received = time.perf_counter()
        self._statistics.receive()
        if self._is_admitted(info.header):
            self._hand_on(Frame(info.header, image[..., ::-1], received, info))

    def _is_admitted(self, header: Header) -> bool:
        """Whether an image may pass by its stamp and the rate; counts it if not."""
        stamp = header.stamp.sec * 1_000_000_000 + header.stamp.nanosec
        jumps = self.stamps.jumps
        fault = self.stamps.fault(stamp)
        if self.stamps.jumps != jumps:
            self._node.get_logger().info(f"{self.image_topic}: time has gone back, going on from there")
        if fault is None and self.max_age and stamp:
            age = 1e-9 * (self._node.get_clock().now().nanoseconds - stamp)
            fault = "too old" if age > self.max_age else None
        if fault is not None:
            self._statistics.drop(fault)
            return False
        if not self._is_due():
            self._statistics.ignore()
            return False
        return True

    def _is_due(self) -> bool:
        """Whether the greatest rate leaves room for a frame now."""
        if not self.max_rate:
            return True
        now, period = time.monotonic(), 1.0 / self.max_rate
        if now < self._due - JITTER * period:
            return False
        self._due = (self._due if now - self._due < period else now) + period
        return True
