"""A bag that is written: complete under its name at the end, or not there at all. Written without ROS."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from depth_anything_ros.data.bag_paths import METADATA
from depth_anything_ros.data.depth_files import import_for
from depth_anything_ros.data.frame import DataError
from depth_anything_ros.data.mcap_storage import Message, without_copies
from depth_anything_ros.system.atomic_file import is_left_behind, naming, partial_of

MCAP = ".mcap"
VERSION = 9
"""Of the metadata: that of ROS 2 Jazzy and later; earlier releases read the .mcap file."""


def check_output(path: Path, overwrite: bool) -> None:
    """Check that a bag may be written.

    Args:
        path: a folder, or a file whose name ends with .mcap.
        overwrite: whether it may replace a bag.

    Raises:
        DataError: it exists and may not be replaced, or is no bag.
    """
    if not os.path.lexists(path):
        return
    if not overwrite:
        raise DataError(f"{path} exists: choose another name, or give --overwrite")
    is_bag = path.is_file() if path.suffix == MCAP else (path / METADATA).is_file()
    if not is_bag:
        raise DataError(f"{path} exists and is no bag, so it is not overwritten: choose another name")


class BagOutput:
    """Writes a ROS 2 bag in the format mcap under a temporary name. `finish` renames it; `discard` removes it.

    Args:
        path: a folder, or a file whose name ends with .mcap.

    Raises:
        OSError: it cannot be written.
    """

    def __init__(self, path: Path) -> None:
        rosbag2 = import_for("rosbags.rosbag2", path)
        self._path, self._temporary = path, partial_of(path)
        self._topics: dict[str, Any] = {}
        path.parent.mkdir(parents=True, exist_ok=True)
        _remove_left_behind(path)
        name = path.name.removesuffix(MCAP)
        self._bag = self._temporary / name
        self._writer = rosbag2.Writer(self._bag, version=VERSION, storage_plugin=rosbag2.StoragePlugin.MCAP)
        storages = self._writer.STORAGE_PLUGINS
        mcap = rosbag2.StoragePlugin.MCAP
        self._writer.STORAGE_PLUGINS = {**storages, mcap: without_copies(storages[mcap])}
        with naming(path):
            self._writer.open()

    def add_topic(self, topic: str, kind: str, typestore: Any, qos: Sequence[Any] = ()) -> None:
        """Add a topic.

        Args:
            topic: its name.
            kind: its type.
            typestore: of rosbags, with this type.
            qos: the offered profiles.
        """
        if topic not in self._topics:
            self._topics[topic] = self._writer.add_connection(
                topic, kind, typestore=typestore, offered_qos_profiles=qos
            )

    def write(self, topic: str, time: int, content: Message) -> None:
        """Write a message.

        Args:
            topic: from `add_topic`.
            time: nanoseconds, when it was received.
            content: the serialized message.

        Raises:
            OSError: it cannot be written; the error names the bag.
        """
        with naming(self._path):
            self._writer.write(self._topics[topic], time, content)

    def finish(self, is_complete: bool = True) -> Path:
        """Close the bag, give it its name, and return that.

        Args:
            is_complete: False: the name says "partial".

        Raises:
            OSError: it cannot be written; the error names the bag.
        """
        with naming(self._path):
            self._writer.close()
            path = self._path if is_complete else _free_partial_name(self._path)
            written = self._bag / f"{self._bag.name}{MCAP}" if path.suffix == MCAP else self._bag
            old = self._temporary / "old"
            if path.is_dir():
                path.rename(old)
            os.replace(written, path)
        shutil.rmtree(self._temporary, ignore_errors=True)
        return path

    def discard(self) -> None:
        """Remove what was written. Does nothing after `finish`."""
        with suppress(Exception):  # rosbags may have closed it
            self._writer.abort()
        shutil.rmtree(self._temporary, ignore_errors=True)


def _free_partial_name(path: Path) -> Path:
    """Return a name for an incomplete bag that nothing has."""
    suffix = path.suffix if path.suffix == MCAP else ""
    stem, number = f"{path.name.removesuffix(suffix)}_partial", 1
    candidate = path.with_name(stem + suffix)
    while os.path.lexists(candidate):
        number += 1
        candidate = path.with_name(f"{stem}_{number}{suffix}")
    return candidate


def _remove_left_behind(path: Path) -> None:
    """Remove what killed processes that wrote the same bag left behind."""
    for folder in path.parent.glob(f".{path.name}.*.partial"):
        if folder.is_dir() and is_left_behind(folder):
            shutil.rmtree(folder, ignore_errors=True)
