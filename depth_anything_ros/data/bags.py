"""Images in ROS bags, read without ROS by the image decoder of the node."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from depth_anything_ros.data.bag_paths import bag_problem
from depth_anything_ros.data.depth_files import import_for
from depth_anything_ros.data.frame import DataError, as_jpeg
from depth_anything_ros.data.image_set import ImageSet
from depth_anything_ros.images.image_messages import BadImageError, ImageDecoder, check_image, is_compressed
from depth_anything_ros.images.intensity import InputRange, warn_of_file

_log = logging.getLogger(__name__)
_VIDEO_KINDS = ("ffmpeg_image_transport_msgs/msg/FFMPEGPacket", "foxglove_msgs/msg/CompressedVideo")
_DECODER = 2
"""Increase it whenever the same message decodes to different pixels."""
_DEPTH_WORDS = re.compile("depth|disparity")
_PICTURE_WORDS = re.compile("(?<![a-z])(ir|infra|infrared|thermal|lwir|mwir|swir|nir|mono|gr[ae]y)(?![a-z])")
"""Words in a topic name, between slashes, underscores and digits."""


@dataclass(frozen=True)
class BagSet(ImageSet):
    """Images in ROS 1 or ROS 2 bags, raw or compressed. An image is called BAG#TOPIC#NANOSECONDS.

    Needs rosbags, but no ROS. ``input_range`` applies to each 16-bit image by itself.

    Attributes:
        images: the pattern of the bags: folders for ROS 2, files for ROS 1.
        seconds_apart: the minimum time between two images.
        topics: topics to read without a check of their content; default: all topics with pictures, see `skip_reason`.
    """

    name: str = "bags"
    title: str = "ROS bags"
    terms: str = "yours"
    homepage: str = ""
    images: str = "."
    seconds_apart: float = 1.0
    topics: tuple[str, ...] = ()

    def names(self, root: Path) -> Iterator[str]:
        """Yield the images topic by topic, in time order. ``root`` is the bag.

        A topic that seems to contain depth is skipped with a warning.
        """
        with open_bag(root) as reader:
            for connection in reader.connections:
                if connection.msgtype in _VIDEO_KINDS:
                    why = f"is a video ({connection.msgtype}); record the output of image_transport republish"
                    _log.warning("left out: %s of %s %s", connection.topic, root, why)
            for connection in self._connections(reader, root):
                last, times, count = None, set(), 0
                for _, time, content in reader.messages(connections=[connection]):
                    count += 1
                    times = times if len(times) > 1 else {*times, time}
                    if last is None and not self.topics:
                        why = skip_reason(connection.topic, reader.deserialize(content, connection.msgtype))
                        if why:
                            _log.warning("left out: %s of %s %s", connection.topic, root, why)
                            break
                    if last is None or time - last >= 1e9 * self.seconds_apart:
                        yield f"{connection.topic}#{time}"
                        last = time
                if count > 1 and len(times) == 1:
                    why = f"all of its {count} messages have the time {last}, so only the first one is read"
                    _log.warning("%s of %s: %s", connection.topic, root, why)

    def empty_message(self, root: Path) -> str:
        """Return the error message with the topics of the bag."""
        with open_bag(root) as reader:
            counts = {one.topic: (one.msgcount, one.msgtype) for one in reader.connections}
        if not any(count for count, _ in counts.values()):
            return f"{root} is an empty bag without messages; record it again, or give another"
        topics = ", ".join(f"{topic} ({kind})" for topic, (count, kind) in sorted(counts.items()) if count)
        return f"{root} has no topic with images; its topics are {topics}"

    def _connections(self, reader: Any, root: Path) -> list[Any]:
        """Return the topics to read. Raises `DataError` if a requested topic is missing."""
        found = _image_topics(reader)
        if missing := set(self.topics) - {one.topic for one in found}:
            present = ", ".join(sorted({one.topic for one in found})) or "none"
            raise DataError(f"{root} has no images on {', '.join(sorted(missing))}; topics with images: {present}")
        return [one for one in found if not self.topics or one.topic in self.topics]

    def read_image(self, root: Path, name: str) -> np.ndarray:
        """Read one image.

        Args:
            root: the bag.
            name: the image.

        Returns:
            RGB uint8 (H, W, 3).

        Raises:
            DataError: the bag or the image is damaged or missing.
        """
        topic, _, time = name.rpartition("#")
        with open_bag(root, name) as reader:
            connections = [one for one in _image_topics(reader) if one.topic == topic]
            for connection, _, content in reader.messages(connections, start=int(time), stop=int(time) + 1):
                message = reader.deserialize(content, connection.msgtype)
                return _picture(message, f"{root}: {name}", self.input_range)
        raise DataError(f"{root} has no image {name}")

    def read_file(self, root: Path, name: str) -> tuple[str, bytes]:
        """Return the image as JPEG.

        Args:
            root: the bag.
            name: the image.

        Raises:
            DataError: the bag or the image is damaged or missing.
        """
        return "jpg", as_jpeg(self.read_image(root, name))

    def file_size(self, root: Path, name: str) -> None:
        """Return None: messages are not files.

        Args:
            root: the bag.
            name: the image.
        """
        return None

    def sources(self, root: Path, name: str) -> tuple[Path, ...]:
        """Return the bag: one file, or the files of its folder.

        Args:
            root: the bag.
            name: the image.
        """
        return tuple(sorted(root.iterdir())) if root.is_dir() else (root,)

    def reader_version(self, root: Path) -> str:
        """Return the version of the decoder."""
        return f"decoder {_DECODER}"

    def stamp(self, root: Path, name: str) -> str:
        """Return the stamp of the files with the version of the decoder, so a new decoder packs shards again.

        Args:
            root: the bag.
            name: the image.
        """
        return f"{super().stamp(root, name)} {_DECODER}"


@contextmanager
def open_bag(path: Path, image: str = "") -> Iterator[Any]:
    """Open a bag for reading with rosbags, for a block that does nothing else.

    Args:
        path: the bag.
        image: the requested image, for errors.

    Raises:
        DataError: the bag cannot be read, also within the block; the message names the bag and the image.
    """
    with bag_reader(path, image) as reader:
        try:
            yield reader
        except (DataError, ImportError, MemoryError):
            raise
        except Exception as error:  # rosbags, mcap and sqlite raise errors of any kind
            raise DataError(_unreadable(path, image, error)) from error


@contextmanager
def bag_reader(path: Path, image: str = "") -> Iterator[Any]:
    """Open a bag for reading with rosbags. Errors of the block pass unchanged.

    Args:
        path: the bag.
        image: the requested image, for errors.

    Raises:
        DataError: the bag cannot be opened; the message names the bag and the image.
    """
    module, types = import_for("rosbags.highlevel", path), import_for("rosbags.typesys", path)
    if problem := bag_problem(path):
        raise DataError(f"cannot read {_requested(path, image)}: {problem}")
    standard = types.get_typestore(types.Stores.ROS2_HUMBLE)  # Humble's .db3 files do not define their types
    try:
        reader = module.AnyReader([path], default_typestore=standard)
        reader.open()
    except MemoryError:
        raise
    except Exception as error:  # rosbags, mcap and sqlite raise errors of any kind
        raise DataError(_unreadable(path, image, error)) from error
    try:
        yield reader
    finally:
        reader.close()


def _requested(path: Path, image: str) -> str:
    return f"{image} of {path}" if image else str(path)


def _unreadable(path: Path, image: str, error: Exception) -> str:
    return (
        f"cannot read {_requested(path, image)}: {type(error).__name__}: {error}. If the recorder was killed or the "
        "copy is truncated, `mcap recover` repairs a .mcap file and `rosbag reindex` a .bag file"
    )


def _image_topics(reader: Any) -> list[Any]:
    kinds = ("sensor_msgs/msg/Image", "sensor_msgs/msg/CompressedImage")
    return [connection for connection in reader.connections if connection.msgtype in kinds]


def skip_reason(topic: str, message: Any) -> str | None:
    """Return why a topic that begins with this message is skipped as depth, or None if it is read.

    Depth is 16UC1 in millimeters or 32FC1 in meters (REP 118). Thermal cameras also publish 16UC1, and some drivers
    publish depth as mono16. For 16 bits the topic's name decides if it is clear.

    Args:
        topic: its name.
        message: an Image or CompressedImage.
    """
    encoding = message.format if is_compressed(message) else message.encoding
    if re.match("(16S|32S|32F|64F)C", encoding):
        return f"contains numbers, maybe depth, not pictures ({encoding})"
    try:
        check_image(message)
    except BadImageError as error:
        if error.cause == "compressed depth":
            return f"contains depth ({encoding})"
    says_depth, says_picture = (bool(words.search(topic.lower())) for words in (_DEPTH_WORDS, _PICTURE_WORDS))
    if says_depth and encoding.startswith(("16UC1", "mono16")):
        return f"seems to contain depth ({encoding}, from its name); to read it as pictures, give it with --topic"
    if encoding.startswith("16UC1") and not says_picture:
        return "seems to contain depth (16UC1, see REP 118); to read it as pictures, give it with --topic"
    return None


def _picture(message: Any, name: str, input_range: InputRange) -> np.ndarray:
    """Decode an Image or CompressedImage, RGB uint8 (H, W, 3)."""
    decoder = ImageDecoder(input_range)
    try:
        image = np.ascontiguousarray(decoder.decode(message))
    except BadImageError as error:
        raise DataError(f"{name} cannot be read: {error}") from error
    warn_of_file(name, decoder.note)
    return image
