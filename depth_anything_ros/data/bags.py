"""Images in ROS bags, read without ROS by the decoder of the node."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from depth_anything_ros.data.bag_paths import why_no_bag
from depth_anything_ros.data.depth_files import import_for
from depth_anything_ros.data.frame import DataError, as_jpeg
from depth_anything_ros.data.image_set import ImageSet
from depth_anything_ros.images.image_messages import BadImageError, ImageDecoder, check_image, is_compressed
from depth_anything_ros.images.intensity import InputRange, warn_of_file

_log = logging.getLogger(__name__)
_VIDEO_KINDS = ("ffmpeg_image_transport_msgs/msg/FFMPEGPacket", "foxglove_msgs/msg/CompressedVideo")
_DECODER = 2
"""Another number whenever the same message gives another picture."""
_DEPTH_WORDS = re.compile("depth|disparity")
_PICTURE_WORDS = re.compile("(?<![a-z])(ir|infra|infrared|thermal|lwir|mwir|swir|nir|mono|gr[ae]y)(?![a-z])")
"""Words in the name of a topic, between slashes, underscores and digits."""


@dataclass(frozen=True)
class BagSet(ImageSet):
    """Images in ROS bags, ROS 1 or 2, raw or compressed, ``seconds_apart`` at least; called BAG#TOPIC#NANOSECONDS.

    Needs rosbags, no ROS. ``images`` is the pattern of the bags: folders of ROS 2, files of ROS 1. ``topics``: those to
    read, whatever they hold; default: every one that holds pictures, going by `_left_out`. ``input_range``: of 16-bit
    images, each taken by itself.
    """

    name: str = "bags"
    title: str = "ROS bags"
    terms: str = "yours"
    homepage: str = ""
    images: str = "."
    seconds_apart: float = 1.0
    topics: tuple[str, ...] = ()

    def names(self, root: Path) -> Iterator[str]:
        """Topic by topic, in the order of time; ``root`` is the bag itself.

        A topic that is taken for depth is left out, with a warning that names it.
        """
        with _bag(root) as reader:
            for connection in reader.connections:
                if connection.msgtype in _VIDEO_KINDS:
                    why = f"is a video ({connection.msgtype}); record what image_transport republish makes of it"
                    _log.warning("left out: %s of %s %s", connection.topic, root, why)
            for connection in self._connections(reader, root):
                last, times, count = None, set(), 0
                for _, time, content in reader.messages(connections=[connection]):
                    count += 1
                    times = times if len(times) > 1 else {*times, time}
                    if last is None and not self.topics:
                        why = _left_out(connection.topic, reader.deserialize(content, connection.msgtype))
                        if why:
                            _log.warning("left out: %s of %s %s", connection.topic, root, why)
                            break
                    if last is None or time - last >= 1e9 * self.seconds_apart:
                        yield f"{connection.topic}#{time}"
                        last = time
                if count > 1 and len(times) == 1:
                    why = f"all of its {count} messages carry the time {last}, so that the first alone is read"
                    _log.warning("%s of %s: %s", connection.topic, root, why)

    def empty_message(self, root: Path) -> str:
        """What there is in place of images."""
        with _bag(root) as reader:
            counts = {one.topic: (one.msgcount, one.msgtype) for one in reader.connections}
        if not any(count for count, _ in counts.values()):
            return f"{root} is an empty bag: it has no messages; record it again, or give another"
        said = ", ".join(f"{topic} ({kind})" for topic, (count, kind) in sorted(counts.items()) if count)
        return f"{root} has no image on a topic that is read; it has {said}"

    def _connections(self, reader: Any, root: Path) -> list[Any]:
        """The topics to read. Raises `DataError` where one that was asked for is not there."""
        found = _image_topics(reader)
        if lacking := set(self.topics) - {one.topic for one in found}:
            there = ", ".join(sorted({one.topic for one in found})) or "none"
            raise DataError(f"{root} has no images on {', '.join(sorted(lacking))}; it has them on: {there}")
        return [one for one in found if not self.topics or one.topic in self.topics]

    def read_image(self, root: Path, name: str) -> np.ndarray:
        """One image, RGB uint8 (H, W, 3)."""
        topic, _, time = name.rpartition("#")
        with _bag(root, name) as reader:
            connections = [one for one in _image_topics(reader) if one.topic == topic]
            for connection, _, content in reader.messages(connections, start=int(time), stop=int(time) + 1):
                message = reader.deserialize(content, connection.msgtype)
                return _picture(message, f"{root}: {name}", self.input_range)
        raise DataError(f"{root} has no image {name}")

    def read_file(self, root: Path, name: str) -> tuple[str, bytes]:
        """The image as JPEG."""
        return "jpg", as_jpeg(self.read_image(root, name))

    def file_size(self, root: Path, name: str) -> None:
        """Not known: messages are no files."""
        return None

    def sources(self, root: Path, name: str) -> tuple[Path, ...]:
        """The bag: one file, or those of its folder."""
        return tuple(sorted(root.iterdir())) if root.is_dir() else (root,)

    def reader_version(self, root: Path) -> str:
        """What decodes messages."""
        return f"decoder {_DECODER}"

    def stamp(self, root: Path, name: str) -> str:
        """As every set's, and what decodes messages: shards that another decoder made are made anew."""
        return f"{super().stamp(root, name)} {_DECODER}"


@contextmanager
def _bag(path: Path, image: str = "") -> Iterator[Any]:
    """A reader of a bag. Raises `DataError`, naming the bag, and the image that is looked for."""
    module = import_for("rosbags.highlevel", path)
    what = f"{image} of {path}" if image else path
    if advice := why_no_bag(path):
        raise DataError(f"cannot read {what}: {advice}")
    try:
        with module.AnyReader([path]) as reader:
            yield reader
    except (DataError, ImportError, MemoryError):
        raise
    except Exception as error:  # rosbags, mcap and sqlite raise whatever they stumble over
        raise DataError(
            f"cannot read {what}: {type(error).__name__}: {error}; where a recorder was killed or a copy is cut short, "
            "`mcap recover` mends a .mcap and `rosbag reindex` a .bag"
        ) from error


def _image_topics(reader: Any) -> list[Any]:
    kinds = ("sensor_msgs/msg/Image", "sensor_msgs/msg/CompressedImage")
    return [connection for connection in reader.connections if connection.msgtype in kinds]


def _left_out(topic: str, message: Any) -> str | None:
    """Why a topic is left out that begins with this Image or CompressedImage: it is taken for depth. None: it is not.

    Depth is 16UC1 in millimeters or 32FC1 in meters (REP 118). Thermal cameras publish 16UC1 too, and some drivers
    depth as mono16: of 16 bits the topic's name decides where it says which.
    """
    said = message.format if is_compressed(message) else message.encoding
    if re.match("(16S|32S|32F|64F)C", said):
        return f"holds no picture but numbers, depth perhaps ({said})"
    try:
        check_image(message)
    except BadImageError as error:
        if error.cause == "compressed depth":
            return f"holds depth ({said})"
    says_depth, says_picture = (bool(words.search(topic.lower())) for words in (_DEPTH_WORDS, _PICTURE_WORDS))
    if says_depth and said.startswith(("16UC1", "mono16")):
        return f"is taken for depth ({said}, by its name); to read it as pictures, name it with --topic"
    if said.startswith("16UC1") and not says_picture:
        return "is taken for depth (16UC1 is, by REP 118); to read it as pictures, name it with --topic"
    return None


def _picture(message: Any, name: str, input_range: InputRange) -> np.ndarray:
    """An Image or CompressedImage, RGB uint8 (H, W, 3)."""
    decoder = ImageDecoder(input_range)
    try:
        image = np.ascontiguousarray(decoder.decode(message))
    except BadImageError as error:
        raise DataError(f"{name} cannot be read: {error}") from error
    warn_of_file(name, decoder.note)
    return image
