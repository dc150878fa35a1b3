"""Messages of any type in ROS bags, in the order of the recording; read without ROS."""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from depth_anything_ros.data.bags import open_bag

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Stamped:
    """One message.

    Attributes:
        topic: its topic.
        time: seconds: the stamp of its header; if it has none or a stamp of zero, the time of its receipt.
        frame_id: of its header; "" without one.
        message: from rclpy or rosbags.
    """

    topic: str
    time: float
    frame_id: str
    message: Any

    @classmethod
    def of(cls, topic: str, message: Any, received: float) -> Stamped:
        """Return a message with its time.

        Args:
            topic: its topic.
            message: the message.
            received: seconds, the time of its receipt.
        """
        header = getattr(message, "header", None)
        if header is None:
            return cls(topic, received, "", message)
        stamp = header.stamp
        return cls(topic, stamp.sec + 1e-9 * stamp.nanosec or received, header.frame_id, message)


class Recording(Protocol):
    """Messages that can be read several times: a bag, or what was recorded from live topics."""

    def kinds(self) -> dict[str, str]:
        """Return the type of each topic, such as ``sensor_msgs/msg/Image``."""
        ...

    def messages(self, topics: Collection[str]) -> Iterator[Stamped]:
        """Yield the messages of some topics, in the order of their receipt."""
        ...


@dataclass(frozen=True)
class BagRecording:
    """The messages of a ROS 1 or ROS 2 bag. Needs rosbags. Both methods raise `DataError` if it cannot be read."""

    path: Path

    def __str__(self) -> str:
        return str(self.path)

    def kinds(self) -> dict[str, str]:
        """Return the type of each topic that has messages."""
        with open_bag(self.path) as reader:
            return {one.topic: one.msgtype for one in reader.connections if one.msgcount}

    def messages(self, topics: Collection[str]) -> Iterator[Stamped]:
        """Yield the messages of some topics. Damaged messages are skipped, with a warning that counts them."""
        damaged: dict[str, int] = {}
        with open_bag(self.path) as reader:
            connections = [one for one in reader.connections if one.topic in topics]
            for connection, received, content in reader.messages(connections) if connections else ():
                try:
                    message = reader.deserialize(content, connection.msgtype)
                except Exception:  # rosbags raises errors of any kind
                    damaged[connection.topic] = damaged.get(connection.topic, 0) + 1
                    continue
                yield Stamped.of(connection.topic, message, 1e-9 * received)
        for topic, count in damaged.items():
            _log.warning("%s: left out %d damaged messages of %s", self.path, count, topic)


@dataclass(frozen=True)
class HeldRecording:
    """Messages in memory.

    Attributes:
        name: for reports.
        types: the type of each topic.
        held: the messages, in the order of their receipt.
    """

    name: str
    types: dict[str, str]
    held: list[Stamped]

    def __str__(self) -> str:
        return self.name

    def kinds(self) -> dict[str, str]:
        """Return the type of each topic that has messages."""
        received = {one.topic for one in self.held}
        return {topic: kind for topic, kind in self.types.items() if topic in received}

    def messages(self, topics: Collection[str]) -> Iterator[Stamped]:
        """Yield the messages of some topics."""
        return (one for one in self.held if one.topic in topics)
