"""Messages of live topics, kept in memory for a while."""

from __future__ import annotations

import importlib
import logging
import math
import time
from collections.abc import Collection
from typing import Any

import rclpy
from rclpy.context import Context
from rclpy.executors import SingleThreadedExecutor
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy, qos_profile_sensor_data
from rclpy.signals import SignalHandlerOptions

from depth_anything_ros.data.bag_messages import HeldRecording, Stamped

IMAGE_INTERVAL = 0.5
"""Seconds between two pictures that are kept."""
MAX_BYTES = 2 << 30
"""Most bytes of images and clouds that are kept; the recording then ends early."""
PATIENCE = 10.0
"""Seconds until the first picture."""
_PERSISTENT = QoSProfile(depth=100, durability=DurabilityPolicy.TRANSIENT_LOCAL, reliability=ReliabilityPolicy.RELIABLE)
_log = logging.getLogger(__name__)


def record(seconds: float, kinds: Collection[str], pictures: Collection[str], chosen: Collection[str]) -> HeldRecording:
    """Record live topics.

    Args:
        seconds: how long, from the first picture on; without one, the recording ends after `PATIENCE`.
        kinds: the types of topics that are recorded.
        pictures: types of which only one message every `IMAGE_INTERVAL` is kept, unless its topic has "depth" in its
            name.
        chosen: topics with images and clouds to record, of these types; none: all.
    """
    context = Context()
    rclpy.init(context=context, args=[], signal_handler_options=SignalHandlerOptions.NO)
    try:
        recorder = _Recorder(context, kinds, pictures, chosen)
        recorder.run(seconds)
        return recorder.recording(seconds)
    finally:
        rclpy.shutdown(context=context)


class _Recorder:
    def __init__(
        self, context: Context, kinds: Collection[str], pictures: Collection[str], chosen: Collection[str]
    ) -> None:
        self._kinds, self._pictures, self._chosen = kinds, pictures, chosen
        self._node = rclpy.create_node("depth_anything_calibrate", context=context)
        self._executor = SingleThreadedExecutor(context=context)
        self._executor.add_node(self._node)
        self._types: dict[str, str] = {}
        self._held: list[Stamped] = []
        self._last: dict[str, float] = {}
        self._bytes = 0
        self._left_out: set[str] = set()
        self._picture_topics: set[str] = set()

    def run(self, seconds: float) -> None:
        """Receive messages from the first picture on; topics that appear meanwhile are recorded too."""
        end = time.monotonic() + PATIENCE
        looked, has_begun = 0.0, False
        while time.monotonic() < end and self._bytes < MAX_BYTES:
            if time.monotonic() - looked > 0.2:
                self._subscribe()
                looked = time.monotonic()
            self._executor.spin_once(timeout_sec=0.1)
            if not has_begun and self._last.keys() & self._picture_topics:
                has_begun, end = True, time.monotonic() + seconds
        if self._bytes >= MAX_BYTES:
            _log.warning("recording ended early: it has %d MB of images and clouds", self._bytes >> 20)
        self._executor.shutdown()
        self._node.destroy_node()

    def recording(self, seconds: float) -> HeldRecording:
        """Return what was received."""
        return HeldRecording(f"{seconds:g} s of live topics", self._types, self._held)

    def _subscribe(self) -> None:
        for topic, kinds in self._node.get_topic_names_and_types():
            kind = kinds[0]
            is_large = kind.rpartition("/")[2] in ("Image", "CompressedImage", "PointCloud2")
            is_left_out = is_large and self._chosen and topic not in self._chosen
            if kind not in self._kinds or topic in self._types or topic in self._left_out or is_left_out:
                continue
            package, _, name = kind.partition("/msg/")
            try:
                message_type = getattr(importlib.import_module(f"{package}.msg"), name)
            except ImportError:
                _log.warning("%s is not recorded: the package %s is not installed", topic, package)
                self._left_out.add(topic)
                continue
            self._types[topic] = kind
            if kind in self._pictures and "depth" not in topic:
                self._picture_topics.add(topic)
            qos = _PERSISTENT if topic.endswith("tf_static") else qos_profile_sensor_data
            self._node.create_subscription(message_type, topic, self._receiver(topic), qos)

    def _receiver(self, topic: str) -> Any:
        is_picture = topic in self._picture_topics

        def receive(message: Any) -> None:
            one = Stamped.of(topic, message, time.time())
            if is_picture and 0 <= one.time - self._last.get(topic, -math.inf) < IMAGE_INTERVAL:
                return  # a time before the last one is that of a bag that starts again
            self._last[topic] = one.time
            self._bytes += len(getattr(message, "data", b""))
            self._held.append(one)

        return receive
