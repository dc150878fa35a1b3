"""Record some topics into a bag for a few seconds."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from functools import partial
from pathlib import Path

from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from rclpy.subscription import Subscription

from depth_anything_ros.data.bag_output import BagOutput
from depth_anything_ros.ros.io.topic_events import no_subscription_events

LIVE = QoSProfile(depth=10, reliability=ReliabilityPolicy.BEST_EFFORT)
KEPT = QoSProfile(depth=100, durability=DurabilityPolicy.TRANSIENT_LOCAL, reliability=ReliabilityPolicy.RELIABLE)
STATIC_TRANSFORMS = "/tf_static"


class Recording:
    """A recording from its creation until `finish` or `discard`. For the executor's thread.

    Args:
        node: Node that subscribes.
        topics: Topics and their types. Topics without a publisher are left out.
        path: Path of the bag, which must not exist.

    Raises:
        OSError: The bag cannot be written.
    """

    def __init__(self, node: Node, topics: Mapping[str, type], path: Path) -> None:
        from rosbags.typesys import Stores, get_typestore

        self._node, self._counts = node, Counter[str]()
        self._problem: OSError | None = None
        self._output, self._subscriptions = BagOutput(path), list[Subscription]()
        typestore = get_typestore(Stores.ROS2_JAZZY)
        for topic, message_type in topics.items():
            if not node.count_publishers(topic):
                continue
            self._output.add_topic(topic, _name_of(message_type), typestore)
            self._subscriptions.append(
                node.create_subscription(
                    message_type,
                    topic,
                    partial(self._write, topic),
                    KEPT if topic == STATIC_TRANSFORMS else LIVE,
                    raw=True,
                    event_callbacks=no_subscription_events(),
                )
            )

    def _write(self, topic: str, content: bytes) -> None:
        if self._problem is None:
            try:
                self._output.write(topic, self._node.get_clock().now().nanoseconds, content)
                self._counts[topic] += 1
            except OSError as error:  # a full disk; `finish` reports it
                self._problem = error

    def finish(self) -> tuple[Path, Mapping[str, int]]:
        """Return the bag and the number of messages by topic. Raises `OSError` if it could not be written."""
        self._unsubscribe()
        if self._problem is not None:
            self._output.discard()
            raise self._problem
        return self._output.finish(), self._counts

    def discard(self) -> None:
        """End the recording without a bag."""
        self._unsubscribe()
        self._output.discard()

    def _unsubscribe(self) -> None:
        while self._subscriptions:
            self._node.destroy_subscription(self._subscriptions.pop())


def _name_of(message_type: type) -> str:
    """Return a message type's name, such as "sensor_msgs/msg/Image"."""
    return f"{message_type.__module__.partition('.')[0]}/msg/{message_type.__name__}"
