"""ROS bags with images, written without ROS."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from rosbags.rosbag2 import StoragePlugin, Writer
from rosbags.typesys import Stores, get_typestore

TYPES = get_typestore(Stores.ROS2_HUMBLE)


def header(seconds: float) -> Any:
    stamp = TYPES.types["builtin_interfaces/msg/Time"](int(seconds), int(seconds % 1 * 1e9))
    return TYPES.types["std_msgs/msg/Header"](stamp, "camera")


def raw(image: np.ndarray, encoding: str, padding: int = 0) -> Any:
    rows = image.reshape(len(image), -1).view(np.uint8)
    rows = np.pad(rows, ((0, 0), (0, padding)))
    size = image.shape[:2]
    return TYPES.types["sensor_msgs/msg/Image"](header(0), *size, encoding, 0, rows.shape[1], rows.ravel())


def put_bag(
    path: Path, topics: dict[str, Sequence[tuple[float, Any]]], storage: StoragePlugin = StoragePlugin.MCAP
) -> None:
    """Write a ROS 2 bag without ROS: per topic, messages and their times in seconds."""
    with Writer(path, version=9, storage_plugin=storage) as writer:
        for topic, messages in topics.items():
            kind = messages[0][1].__msgtype__
            connection = writer.add_connection(topic, kind, typestore=TYPES)
            for seconds, message in messages:
                writer.write(connection, round(1e9 * seconds), TYPES.serialize_cdr(message, kind))
