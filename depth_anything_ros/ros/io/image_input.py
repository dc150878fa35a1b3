"""The input of one camera: subscriptions that are open only while needed, and checks on each image.

The checks are its timestamp, `max_age` and `max_rate`.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from rclpy.callback_groups import MutuallyExclusiveCallbackGroup
from rclpy.node import Node
from rclpy.qos import HistoryPolicy, QoSProfile, ReliabilityPolicy
from rclpy.utilities import get_rmw_implementation_identifier
from sensor_msgs.msg import CameraInfo, CompressedImage, Image
from std_msgs.msg import Header

from depth_anything_ros.processing.camera_info_buffer import CameraInfoBuffer, Stamp
from depth_anything_ros.processing.stamp_order import StampOrder
from depth_anything_ros.ros.depth_node.frame_statistics import FrameStatistics
from depth_anything_ros.ros.io.adaptive_subscription import AdaptiveSubscription
from depth_anything_ros.ros.io.image_decoding import BadImageError, check_image
from depth_anything_ros.ros.io.intra_process import LocalImages
from depth_anything_ros.ros.io.topic_advice import published_topics, why_silent
from depth_anything_ros.ros.io.topic_names import info_topic, remapped
from depth_anything_ros.ros.process.middleware import other_users

# The default while there is no publisher: best effort and volatile match every publisher.
IMAGE_QOS = QoSProfile(depth=1, history=HistoryPolicy.KEEP_LAST, reliability=ReliabilityPolicy.BEST_EFFORT)
INFO_QOS = QoSProfile(depth=5, history=HistoryPolicy.KEEP_LAST, reliability=ReliabilityPolicy.BEST_EFFORT)
NO_STAMP = (
    "have no timestamp (0): their age is unknown, max_age has no effect, camera_info is not matched by time, and tf2 "
    "interprets 0 as the latest transform; configure the driver to stamp each image with its capture time"
)
STAMP_FAULTS = {
    "duplicate stamp": "configure the driver to stamp each image with its own capture time",
    "out of order": "check with `ros2 topic info -v` whether two nodes publish on the topic",
}
TOO_OLD = (
    "for a bag, set use_sim_time:=true and play it with --clock; for a camera on another machine, synchronize the "
    "clocks; or set max_age to 0"
)
JITTER = 0.25
"""Share of a period by which a frame may be early: a camera at exactly the maximum rate jitters."""


@dataclass(frozen=True)
class CameraFrame:
    """An image on its way to the worker.

    Attributes:
        header: header of the image.
        source: the message, or RGB pixels uint8 (H, W, 3) from a camera node of the same process.
        received: arrival time in seconds of `time.perf_counter`.
        info: camera_info, only for images from the same process.
    """

    header: Header
    source: Image | CompressedImage | np.ndarray
    received: float
    info: CameraInfo | None = None

    @property
    def stamp(self) -> Stamp:
        """The timestamp in seconds and nanoseconds."""
        return self.header.stamp.sec, self.header.stamp.nanosec


class ImageInput:
    """Receives one camera's images and camera_info, and passes on the images that pass the checks.

    Args:
        node: the node that subscribes.
        prefix: prefix of its topic names: "" or "NAME/".
        transport: "raw" or "compressed".
        statistics: counts each image and each reason for a drop.
        on_image: receives each image that passes, in the executor's thread.
        on_info: receives the timestamp of each camera_info, in the same thread.
        warn: receives each kind of fault and its message, once per kind.
        local: source of the images if a camera node runs in the same process.

    Attributes:
        has_zero_stamps: whether the latest image had a timestamp of zero.
    """

    def __init__(
        self,
        node: Node,
        prefix: str,
        transport: str,
        statistics: FrameStatistics,
        on_image: Callable[[CameraFrame], None],
        on_info: Callable[[Stamp], None],
        warn: Callable[[str, str], None],
        local: LocalImages | None = None,
    ) -> None:
        self.infos = CameraInfoBuffer()
        self.stamps = StampOrder()
        self.max_rate, self.max_age = 0.0, 0.0
        self.has_zero_stamps = False
        self._node, self._prefix, self._transport, self._local = node, prefix, transport, local
        self._statistics, self._pass_on, self._on_info_stamp, self._warn = statistics, on_image, on_info, warn
        self._group = MutuallyExclusiveCallbackGroup()
        self._lock = threading.RLock()
        self._subscriptions = [] if local is not None else self._topics()
        self._is_open = False
        self._due, self._last_arrival = 0.0, 0.0

    @property
    def source(self) -> str:
        """The source of the images, for messages."""
        return self.image_topic if self._local is None else "the camera node of this process"

    @property
    def publishers(self) -> int:
        """The number of publishers of the image topic."""
        return self._node.count_publishers(self.image_topic)

    @property
    def is_unpublished(self) -> bool:
        """Whether nobody publishes the images."""
        return self._local is None and not self.publishers

    @property
    def why_silent(self) -> str:
        """Why no image arrives, with the fix, in one line."""
        return self._why_silent("image", self._subscriptions[1])

    @property
    def why_no_info(self) -> str:
        """Why no camera_info arrives, with the fix, in one line."""
        if self._local is not None:
            return "the camera node of this process publishes none"
        return self._why_silent("camera_info", self._subscriptions[0])

    def _why_silent(self, name: str, topic: AdaptiveSubscription) -> str:
        argument, topics = f"{self._prefix}{name}", published_topics(self._node)
        reason = why_silent(argument, topic.topic, topic.type_name, topic.profile, topic.publishers, topics)
        lost = other_users(get_rmw_implementation_identifier()) if topic.publishers else ""
        return topic.failure or (f"{reason}; {lost}" if lost else reason)

    @property
    def silence(self) -> float | None:
        """Seconds without an image; None while the input is closed, or if images come from the same process."""
        return time.perf_counter() - self._last_arrival if self._is_open and self._local is None else None

    @property
    def image_topic(self) -> str:
        """The resolved name of the image topic."""
        image = self._node.resolve_topic_name(f"{self._prefix}image")
        if self._transport == "raw":
            return image
        return remapped(self._node, f"{self._prefix}image/compressed") or f"{image}/compressed"

    @property
    def info_topic(self) -> str:
        """The resolved name of camera_info: its remapping, else next to the image topic, as in image_transport."""
        image = self.image_topic
        image = image.removesuffix("/compressed") if self._transport == "compressed" else image
        return info_topic(self._node, f"{self._prefix}camera_info", image)

    def read_overrides(self) -> None:
        """Read the ``qos_overrides`` of the topics. Raise `ValueError` for an invalid one."""
        for subscription in self._subscriptions:
            subscription.read_overrides()

    def adapt(self) -> None:
        """Subscribe again if the publishers' quality of service has changed. Call it periodically."""
        with self._lock:
            for subscription in self._subscriptions:
                subscription.adapt()

    def set_open(self, is_open: bool) -> None:
        """Open or close the subscriptions; do nothing if they already are. Thread-safe."""
        with self._lock:
            if is_open == self._is_open:
                return
            self._is_open = is_open
            if is_open:
                self.stamps.reset()
                self._due, self._last_arrival = 0.0, time.perf_counter()
            if self._local is not None:
                self._local.receive(self._on_local_image if is_open else None)
            elif is_open:
                for subscription in self._subscriptions:
                    subscription.open()
            else:
                for subscription in self._subscriptions:
                    subscription.close()
                self.infos.clear()

    def _topics(self) -> list[AdaptiveSubscription]:
        """Return the subscriptions of camera_info and images, in this order: drivers often send pairs in this order."""
        kind = CompressedImage if self._transport == "compressed" else Image
        # An old image is useless, so only camera_info follows transient_local durability.
        both, one = ("reliability", "durability"), ("reliability",)
        node, group = self._node, self._group
        return [
            AdaptiveSubscription(node, CameraInfo, self.info_topic, self._on_info, group, INFO_QOS, both),
            AdaptiveSubscription(node, kind, self.image_topic, self._on_image, group, IMAGE_QOS, one),
        ]

    def _on_info(self, message: CameraInfo) -> None:
        self.infos.put(message)
        self._on_info_stamp((message.header.stamp.sec, message.header.stamp.nanosec))

    def _on_image(self, message: Image | CompressedImage) -> None:
        received = self._last_arrival = time.perf_counter()
        self._statistics.receive()
        if not self._is_admitted(message.header):
            return
        try:
            check_image(message)
        except BadImageError as error:
            self._statistics.drop(error.cause, str(error))
            self._warn(error.fault, f"frame dropped: {error}")
            return
        self._pass_on(CameraFrame(message.header, message, received))

    def _on_local_image(self, image: np.ndarray, info: CameraInfo) -> None:
        received = time.perf_counter()
        self._statistics.receive()
        if self._is_admitted(info.header):
            self._pass_on(CameraFrame(info.header, image[..., ::-1], received, info))

    def _is_admitted(self, header: Header) -> bool:
        """Return whether an image passes the checks of its timestamp and the rate; count it if not."""
        stamp = header.stamp.sec * 1_000_000_000 + header.stamp.nanosec
        self.has_zero_stamps = stamp == 0
        if self.has_zero_stamps:
            self._warn("no stamp", f"the images from {self.source} {NO_STAMP}")
        jumps = self.stamps.jumps
        fault = self.stamps.fault(stamp)
        if self.stamps.jumps != jumps:
            self._node.get_logger().info(f"{self.image_topic}: time jumped back, continuing from there")
        if fault is not None:
            self._statistics.drop(fault, STAMP_FAULTS[fault])
            return False
        age = 1e-9 * (self._node.get_clock().now().nanoseconds - stamp) if self.max_age and stamp else 0.0
        if age > self.max_age:
            self._statistics.drop("too old", f"{age:.1f} s old on arrival, max_age is {self.max_age:g}; {TOO_OLD}")
            return False
        if not self._is_due():
            self._statistics.skip()
            return False
        return True

    def _is_due(self) -> bool:
        """Return whether the maximum rate permits a frame now."""
        if not self.max_rate:
            return True
        now, period = time.monotonic(), 1.0 / self.max_rate
        if now < self._due - JITTER * period:
            return False
        self._due = (self._due if now - self._due < period else now) + period
        return True
