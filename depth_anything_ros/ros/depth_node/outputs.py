"""One camera's topics going out: what exists, who listens, and publishing what has been filled."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from rclpy.clock import Clock, ClockType
from rclpy.node import Node
from rclpy.publisher import Publisher
from rclpy.qos import HistoryPolicy, QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import CameraInfo, Image, PointCloud2
from std_msgs.msg import Header

from depth_anything_ros.postprocessing.depth_products import DepthBuffers
from depth_anything_ros.ros.io.messages import OutputMessages
from depth_anything_ros.ros.io.topic_events import TELLS_OF_LISTENERS, listener_events
from depth_anything_ros.ros.io.topic_qos import qos_overrides, with_policies

# A reliable publisher serves everyone; an old frame is worth little.
OUTPUT_QOS = QoSProfile(depth=2, history=HistoryPolicy.KEEP_LAST, reliability=ReliabilityPolicy.RELIABLE)
POLL = 0.1
"""Seconds between looks at who listens, where nobody tells."""

TOPICS = {
    "info": ("depth/camera_info", CameraInfo),
    "depth": ("depth/image_rect", Image),
    "millimeters": ("depth/image_raw", Image),
    "points": ("points", PointCloud2),
    "inverse_depth": ("inverse_depth/image", Image),
    "confidence": ("confidence/image", Image),
    "color": ("depth/image_color", Image),
}
"""By the names of `DepthBuffers`, in the order of publication: camera_info first, for consumers pair it with depth."""
NEEDS_DEPTH = ("depth", "millimeters", "points")
IMAGES = ("depth", "millimeters", "inverse_depth", "confidence", "color")


@dataclass(frozen=True)
class Requested:
    """The outputs, by name, that somebody listens to and that can be had."""

    names: frozenset[str]

    def __bool__(self) -> bool:
        return bool(self.names)

    def __contains__(self, name: str) -> bool:
        return name in self.names


class DepthOutputs:
    """The publishers of one camera.

    Args:
        node: whose publishers they are.
        prefix: what stands before the topics' names: "" or "NAME/".
        on_change: called in the executor's thread when a listener has come or gone.
    """

    def __init__(self, node: Node, prefix: str, on_change: Callable[[], None]) -> None:
        self._node, self._prefix, self._on_change = node, prefix, on_change
        self._publishers: dict[str, Publisher] = {}
        self._poll: Any = None

    def create(self, predicts_depth: bool, gives_confidence: bool) -> None:
        """Announces what a model can give, and takes back what another could."""
        absent = {"inverse_depth"} if predicts_depth else set()
        absent |= set() if gives_confidence else {"confidence"}
        for name in absent & self._publishers.keys():
            self._node.destroy_publisher(self._publishers.pop(name))
        for name in TOPICS.keys() - absent - self._publishers.keys():
            self._publishers[name] = self._create(*TOPICS[name])
        if not TELLS_OF_LISTENERS and self._poll is None:
            # Steady: simulated time may stand still.
            self._poll = self._node.create_timer(POLL, self._on_change, clock=Clock(clock_type=ClockType.STEADY_TIME))

    def _create(self, topic: str, message_type: type) -> Publisher:
        resolved = self._node.resolve_topic_name(self._prefix + topic)
        return self._node.create_publisher(
            message_type,
            self._prefix + topic,
            self._profile(topic),
            event_callbacks=listener_events(self._node, resolved, self._on_change),
        )

    def read_overrides(self) -> None:
        """Reads the ``qos_overrides`` of every topic. Raises `ValueError` for what is not understood."""
        for topic, _ in TOPICS.values():
            self._profile(topic)

    def _profile(self, topic: str) -> QoSProfile:
        resolved = self._node.resolve_topic_name(self._prefix + topic)
        return with_policies(OUTPUT_QOS, qos_overrides(self._node, resolved, "publisher", OUTPUT_QOS))

    def destroy(self) -> None:
        """Takes everything back."""
        if self._poll is not None:
            self._node.destroy_timer(self._poll)
            self._poll = None
        while self._publishers:
            self._node.destroy_publisher(self._publishers.popitem()[1])

    def requested(self, gives_depth: bool) -> Requested:
        """What is listened to; of what needs meters, only if there are any."""
        # A copy: the executor may take a topic back meanwhile.
        heard = {name for name, publisher in list(self._publishers.items()) if publisher.get_subscription_count()}
        return Requested(frozenset(heard if gives_depth else heard - set(NEEDS_DEPTH)))

    def arrays(self, requested: Requested, messages: OutputMessages, has_camera: bool) -> DepthBuffers:
        """Where to write what is wanted; the cloud waits for a camera."""
        arrays = {name: getattr(messages, name).pixels for name in IMAGES if name in requested}
        if has_camera and "points" in requested:
            arrays["points"] = messages.points.bytes
        return DepthBuffers(**arrays)

    def publish(self, header: Header, messages: OutputMessages, filled: DepthBuffers, info: CameraInfo | None) -> None:
        """Publishes what has been filled, and the camera_info if there is one, under the image's header."""
        for name in TOPICS:
            publisher = self._publishers.get(name)
            if publisher is None:
                continue
            if name == "info":
                if info is not None:
                    info.header = header
                    publisher.publish(info)
            elif getattr(filled, name) is not None:
                publisher.publish(getattr(messages, name).stamped(header))
