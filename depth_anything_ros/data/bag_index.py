"""The index of a recording: its topics of useful types, with their messages' number, times and first content."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from depth_anything_ros.data.bag_messages import Recording, Stamped
from depth_anything_ros.geometry.frame_tree import FrameTree

IMAGE, COMPRESSED, INFO = (f"sensor_msgs/msg/{name}" for name in ("Image", "CompressedImage", "CameraInfo"))


IMU = "sensor_msgs/msg/Imu"


SOURCES = {
    "depth_image": ("depth", IMAGE),
    "point_cloud": ("points", "sensor_msgs/msg/PointCloud2"),
    "laser_scan": ("scan", "sensor_msgs/msg/LaserScan"),
    "range": ("range", "sensor_msgs/msg/Range"),
}
"""By source: the option that names its topic, and the topic's type."""


TRANSFORMS = ("tf2_msgs/msg/TFMessage", "tf/msg/tfMessage")


KINDS = {IMAGE, COMPRESSED, INFO, IMU, *TRANSFORMS, *(kind for _, kind in SOURCES.values())}
"""The types of topics that a recording needs."""


@dataclass
class TopicIndex:
    """One topic of a recording.

    Attributes:
        kind: its type.
        first: its first message.
        frame_id: Frame_id of that message.
        count: number of its messages.
        times: the time of each message, seconds; empty in `peek_index`.
    """

    kind: str
    first: Any
    frame_id: str
    count: int = 0
    times: list[float] = field(default_factory=list)


def read_index(recording: Recording) -> tuple[dict[str, TopicIndex], FrameTree]:
    """Read the times of all messages of useful types, and the transforms.

    Raises `DataError` if the bag cannot be read.
    """
    kinds = {topic: kind for topic, kind in recording.kinds().items() if kind in KINDS}
    index: dict[str, TopicIndex] = {}
    tree = FrameTree()
    for one in recording.messages(set(kinds)):
        if kinds[one.topic] in TRANSFORMS:
            tree.add(one.message, one.topic.endswith("tf_static"))
            continue
        if one.topic not in index:
            index[one.topic] = TopicIndex(kinds[one.topic], one.message, one.frame_id)
        index[one.topic].times.append(one.time)
        index[one.topic].count += 1
    return index, tree


def peek_index(reader: Any) -> dict[str, TopicIndex]:
    """Return the topics of useful types, with the first message of each that can be read.

    Args:
        reader: Reader of a bag, from `data.bags.open_bag`.
    """
    index: dict[str, TopicIndex] = {}
    for one in reader.connections:
        if one.msgtype not in KINDS or one.msgtype in TRANSFORMS or not one.msgcount:
            continue
        if one.topic in index:
            index[one.topic].count += one.msgcount
            continue
        for _, received, content in reader.messages([one]):
            with suppress(Exception):  # rosbags raises errors of any kind
                first = Stamped.of(one.topic, reader.deserialize(content, one.msgtype), 1e-9 * received)
                index[one.topic] = TopicIndex(one.msgtype, first.message, first.frame_id, one.msgcount)
                break
    return index
