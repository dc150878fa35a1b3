"""The published topics of one camera: creation, subscribers, and publication."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from diagnostic_msgs.msg import DiagnosticArray
from rclpy.clock import Clock, ClockType
from rclpy.node import Node
from rclpy.publisher import Publisher
from rclpy.qos import HistoryPolicy, QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import CameraInfo, Image, PointCloud2
from std_msgs.msg import Header

from depth_anything_ros.postprocessing.depth_products import DepthBuffers
from depth_anything_ros.processing import outputs
from depth_anything_ros.processing.outputs import ENCODINGS, NEEDS_DEPTH, SCALE, absent_outputs
from depth_anything_ros.ros.io.messages import OutputMessages
from depth_anything_ros.ros.io.topic_events import HAS_MATCHED_EVENTS, subscriber_events
from depth_anything_ros.ros.io.topic_qos import qos_overrides, with_policies

# A reliable publisher also serves best-effort subscribers; a short queue, because old frames are of little use.
OUTPUT_QOS = QoSProfile(depth=2, history=HistoryPolicy.KEEP_LAST, reliability=ReliabilityPolicy.RELIABLE)
POLL = 0.1
"""Seconds between checks for subscribers, if rclpy has no matched events."""

TYPES = {"info": CameraInfo, "points": PointCloud2}
TOPICS = {name: (topic, TYPES.get(name, Image)) for name, topic in outputs.TOPICS.items()}
"""By the fields of `DepthBuffers`, in the order of publication: the topic and its type."""


@dataclass(frozen=True)
class Requested:
    """Names of the outputs that have subscribers and can be computed."""

    names: frozenset[str]

    def __bool__(self) -> bool:
        return bool(self.names)

    def __contains__(self, name: str) -> bool:
        return name in self.names


class DepthOutputs:
    """The publishers of one camera.

    Args:
        node: the node that owns the publishers.
        prefix: prefix of the topics: "" or "NAME/".
        on_change: called in the executor's thread when a subscriber connects or disconnects.
    """

    def __init__(self, node: Node, prefix: str, on_change: Callable[[], None]) -> None:
        self._node, self._prefix, self._on_change = node, prefix, on_change
        self._publishers: dict[str, Publisher] = {}
        self._scale: Publisher | None = None
        self._poll: Any = None

    def create(self, predicts_depth: bool, gives_confidence: bool, gives_sigma: bool) -> None:
        """Advertise the outputs of a model, and remove those of an earlier model.

        Args:
            predicts_depth: whether the model predicts depth, not inverse depth.
            gives_confidence: whether it predicts confidence.
            gives_sigma: whether the error of depth is known.
        """
        absent = absent_outputs(predicts_depth, gives_confidence, gives_sigma)
        for name in absent & self._publishers.keys():
            self._node.destroy_publisher(self._publishers.pop(name))
        for name in TOPICS.keys() - absent - self._publishers.keys():
            self._publishers[name] = self._create(*TOPICS[name])
        if gives_sigma and self._scale is None:
            self._scale = self._create(SCALE, DiagnosticArray)
        elif not gives_sigma and self._scale is not None:
            self._node.destroy_publisher(self._scale)
            self._scale = None
        if not HAS_MATCHED_EVENTS and self._poll is None:
            # Steady, because simulated time may stand still.
            self._poll = self._node.create_timer(POLL, self._on_change, clock=Clock(clock_type=ClockType.STEADY_TIME))

    def _create(self, topic: str, message_type: type) -> Publisher:
        return self._node.create_publisher(
            message_type,
            self._prefix + topic,
            self._profile(topic),
            event_callbacks=subscriber_events(self._on_change),
        )

    def read_overrides(self) -> None:
        """Read the ``qos_overrides`` of every topic. Raises `ValueError` for invalid ones."""
        for topic, _ in TOPICS.values():
            self._profile(topic)

    def _profile(self, topic: str) -> QoSProfile:
        resolved = self._node.resolve_topic_name(self._prefix + topic)
        return with_policies(OUTPUT_QOS, qos_overrides(self._node, resolved, "publisher", OUTPUT_QOS))

    def destroy(self) -> None:
        """Remove all publishers."""
        if self._poll is not None:
            self._node.destroy_timer(self._poll)
            self._poll = None
        if self._scale is not None:
            self._node.destroy_publisher(self._scale)
            self._scale = None
        while self._publishers:
            self._node.destroy_publisher(self._publishers.popitem()[1])

    def requested(self, gives_depth: bool) -> Requested:
        """Return the outputs that have subscribers; those in meters only if ``gives_depth``."""
        # A copy, because the executor may remove a topic meanwhile.
        heard = {name for name, publisher in list(self._publishers.items()) if publisher.get_subscription_count()}
        if self.scale_is_requested:
            heard.add(SCALE)
        return Requested(frozenset(heard if gives_depth else heard - set(NEEDS_DEPTH)))

    @property
    def scale_is_requested(self) -> bool:
        """Whether the topic ``scale`` has a subscriber."""
        publisher = self._scale
        return publisher is not None and bool(publisher.get_subscription_count())

    def arrays(self, requested: Requested, messages: OutputMessages, has_camera: bool) -> DepthBuffers:
        """Return the buffers to fill, inside the messages.

        Args:
            requested: outputs with subscribers.
            messages: the messages to publish.
            has_camera: whether the camera's intrinsics are known; the cloud needs them.
        """
        arrays = {name: getattr(messages, name).pixels for name in ENCODINGS if name in requested}
        if has_camera and "points" in requested:
            arrays["points"] = messages.points.bytes
        return DepthBuffers(**arrays)

    def publish(self, header: Header, messages: OutputMessages, filled: DepthBuffers, info: CameraInfo | None) -> None:
        """Publish the filled outputs and camera_info with the image's header.

        Args:
            header: stamp and frame id of the image.
            messages: the messages to publish.
            filled: which of them are filled.
            info: camera_info to publish, if any.
        """
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

    def publish_scale(self, report: DiagnosticArray) -> None:
        """Publish the scale of a frame, if sensors measure it."""
        publisher = self._scale
        if publisher is not None:
            publisher.publish(report)
