"""Images of one's own, or of anywhere: a folder, a list, videos, archives, bags."""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from depth_anything_ros.data.depth_files import import_for
from depth_anything_ros.data.frame import DataError, as_jpeg, decode_image, raise_what_may_pass, read_bytes
from depth_anything_ros.data.image_set import ImageSet, SampleParts, ending_of
from depth_anything_ros.data.path_pattern import folder_identity
from depth_anything_ros.data.tar_members import read_member, tar_members
from depth_anything_ros.runtime.frame_reader import IMAGE_SUFFIXES, VIDEO_SUFFIXES
from depth_anything_ros.runtime.image_messages import BadImageError, ImageDecoder, check_image, is_compressed
from depth_anything_ros.runtime.intensity import InputRange, warn_of_file

_log = logging.getLogger(__name__)
_PICTURE_ENDINGS = tuple(IMAGE_SUFFIXES)
_VIDEO_KINDS = ("ffmpeg_image_transport_msgs/msg/FFMPEGPacket", "foxglove_msgs/msg/CompressedVideo")
_DECODER = 2
"""Another number whenever the same message gives another picture."""
_DEPTH_WORDS = re.compile("depth|disparity")
_PICTURE_WORDS = re.compile(
    r"(?<![a-z])(ir|infra|infrared|thermal|lwir|mwir|swir|nir|mono|gr[ae]y|image_color)(?![a-z])"
)
"""Words in the name of a topic, between slashes, underscores and digits."""
_VIDEO_ENDING = f"(?i:{'|'.join(suffix[1:] for suffix in sorted(VIDEO_SUFFIXES))})"


@dataclass(frozen=True)
class FolderSet(ImageSet):
    """Every picture in a folder and in those below."""

    name: str = "folder"
    title: str = "a folder of pictures"
    terms: str = "yours"
    homepage: str = ""
    images: str = "**"

    def why_empty(self, root: Path) -> str:
        """Which files would be pictures."""
        return f"{root} holds no picture: no file ends with {', '.join(sorted(IMAGE_SUFFIXES))}"

    def names(self, root: Path) -> Iterator[str]:
        """Those whose ending says that they are pictures, in order, hidden ones left out.

        Links to folders are followed; a folder that is met again, by a loop of links or otherwise, is left out.
        """
        seen = set()
        for folder, folders, files in os.walk(root, onerror=_refuse, followlinks=True):
            identity = folder_identity(folder)
            if identity in seen:
                folders.clear()
                continue
            seen.add(identity)
            folders[:] = sorted(name for name in folders if not name.startswith("."))
            for name in sorted(files):
                if _is_picture(name):
                    yield (Path(folder) / name).relative_to(root).as_posix()


def _refuse(error: OSError) -> None:
    """What cannot be listed is no empty folder."""
    raise DataError(f"cannot list {error.filename}: {error.strerror}") from error


@dataclass(frozen=True)
class ListSet(FolderSet):
    """The pictures that a text file names, a path a line, from the folder that the list lies in or absolute."""

    name: str = "list"
    title: str = "a list of pictures"

    def names(self, root: Path) -> Iterator[str]:
        """In the order of the list, each once; ``root`` is the list. Empty lines and those after a # do not count."""
        lines = os.fsdecode(read_bytes(root)).splitlines()
        yield from dict.fromkeys(line.strip() for line in lines if line.strip() and not line.startswith("#"))

    def read_image(self, root: Path, name: str) -> np.ndarray:
        """One image, RGB uint8 (H, W, 3)."""
        return super().read_image(root.parent, name)

    def read_file(self, root: Path, name: str) -> tuple[str, bytes]:
        """The file as it is."""
        return super().read_file(root.parent, name)

    def parts(self, root: Path, name: str) -> SampleParts:
        """The picture's file."""
        ending, content = self.read_file(root, name)
        decode_image(content, str(root.parent / name))
        return SampleParts(ending, content)

    def sources(self, root: Path, name: str) -> tuple[Path, ...]:
        """The picture."""
        return super().sources(root.parent, name)


@dataclass(frozen=True)
class VideoSet(ImageSet):
    """Frames of videos, ``seconds_apart``; called VIDEO#MILLISECONDS. ``images`` is the pattern of the videos."""

    name: str = "videos"
    title: str = "videos in a folder"
    terms: str = "yours"
    homepage: str = ""
    images: str = "{video}.{ending}"
    fields: Mapping[str, str] = field(default_factory=lambda: {"ending": _VIDEO_ENDING})
    seconds_apart: float = 1.0

    def names(self, root: Path) -> Iterator[str]:
        """Video by video, in the order of time. A file that is no video is left out, with a warning that names it."""
        for fields in self._images.find(root):
            path = self._images.path(fields)
            try:
                seconds = _Video(root / path).seconds
            except DataError as error:
                _log.warning("left out: %s", error)
                continue
            whole = int(seconds / self.seconds_apart + 1e-6)  # 0.3 s hold three steps of 0.1 s, whatever floats say
            for number in range(max(1, whole)):
                yield f"{path}#{round(1000 * number * self.seconds_apart)}"

    def read_image(self, root: Path, name: str) -> np.ndarray:
        """One frame, RGB uint8 (H, W, 3); quick when asked for in the order of time."""
        path, _, milliseconds = name.rpartition("#")
        return _video(root / path).frame_at(int(milliseconds))

    def read_file(self, root: Path, name: str) -> tuple[str, bytes]:
        """The frame as JPEG."""
        return "jpg", as_jpeg(self.read_image(root, name))

    def sources(self, root: Path, name: str) -> tuple[Path, ...]:
        """The video."""
        return (root / name.rpartition("#")[0],)


@dataclass(frozen=True)
class TarSet(ImageSet):
    """Pictures in archives that stay packed, as SA-1B or any WebDataset has them; called ARCHIVE#MEMBER."""

    name: str = "archives"
    title: str = "archives of pictures"
    terms: str = "yours"
    homepage: str = ""
    images: str = "{tar}.tar"

    def names(self, root: Path) -> Iterator[str]:
        """Archive by archive, in the order in which they were packed.

        An archive that cannot be read is left out, with a warning that names it; in place of its pictures there is the
        one name ARCHIVE#, which cannot be read either, so that whoever packs them is told what they lack. Raises
        `OSError` where that is for a disk that fails, say.
        """
        for fields in self._images.find(root):
            path = self._images.path(fields)
            try:
                members = tar_members(root / path)
            except DataError as error:
                raise_what_may_pass(error)
                _log.warning("left out: %s", error)
                yield f"{path}#"
                continue
            for member in members:
                if _is_picture(member):
                    yield f"{path}#{member}"

    def read_image(self, root: Path, name: str) -> np.ndarray:
        """One image, RGB uint8 (H, W, 3)."""
        return decode_image(self.read_file(root, name)[1], name, input_range=self.input_range)

    def read_file(self, root: Path, name: str) -> tuple[str, bytes]:
        """The file as it lies in the archive."""
        path, _, member = name.partition("#")
        return ending_of(member), read_member(root / path, member)

    def sources(self, root: Path, name: str) -> tuple[Path, ...]:
        """The archive."""
        return (root / name.partition("#")[0],)


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
                    why = (
                        f"is a video ({connection.msgtype}); decode it with image_transport republish, and record that"
                    )
                    _log.warning("left out: %s of %s %s", connection.topic, root, why)
            for connection in self._connections(reader, root):
                last = None
                for _, time, content in reader.messages(connections=[connection]):
                    if last is None and not self.topics:
                        why = _left_out(connection.topic, reader.deserialize(content, connection.msgtype))
                        if why:
                            _log.warning("left out: %s of %s %s", connection.topic, root, why)
                            break
                    if last is None or time - last >= 1e9 * self.seconds_apart:
                        yield f"{connection.topic}#{time}"
                        last = time

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

    def sources(self, root: Path, name: str) -> tuple[Path, ...]:
        """The bag: one file, or those of its folder."""
        return tuple(sorted(root.iterdir())) if root.is_dir() else (root,)

    def stamp(self, root: Path, name: str) -> str:
        """As every set's, and what decodes messages: shards that another decoder made are made anew."""
        return f"{super().stamp(root, name)} {_DECODER}"


@contextmanager
def _bag(path: Path, image: str = "") -> Iterator[Any]:
    """A reader of a bag. Raises `DataError`, naming the bag, and the image that is looked for."""
    module = import_for("rosbags.highlevel", path)
    try:
        with module.AnyReader([path]) as reader:
            yield reader
    except (DataError, ImportError, MemoryError):
        raise
    except Exception as error:  # rosbags, mcap and sqlite raise whatever they stumble over
        what = f"{image} of {path}" if image else path
        raise DataError(f"cannot read {what}: {type(error).__name__}: {error}") from error


def _image_topics(reader: Any) -> list[Any]:
    kinds = ("sensor_msgs/msg/Image", "sensor_msgs/msg/CompressedImage")
    return [connection for connection in reader.connections if connection.msgtype in kinds]


def _left_out(topic: str, message: Any) -> str | None:
    """Why a topic is left out that begins with this Image or CompressedImage: it is taken for depth. None: it is not.

    Depth is 16UC1 in millimetres or 32FC1 in metres (REP 118). Thermal cameras publish 16UC1 too, and some drivers
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


def _is_picture(name: str) -> bool:
    """Whether a name is a picture's, and not that of depth or labels in a shard, nor hidden."""
    has_ending = name.lower().endswith(_PICTURE_ENDINGS)
    is_shown = not name.rpartition("/")[2].startswith(".")
    return has_ending and is_shown and not name.endswith((".depth.png", ".label.png"))


class _Video:
    """A video that is read forwards, and sought where frames lie far apart or behind."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._capture = cv2.VideoCapture(str(path))
        self._rate = self._capture.get(cv2.CAP_PROP_FPS)
        self._frames = int(self._capture.get(cv2.CAP_PROP_FRAME_COUNT))
        if not self._capture.isOpened() or self._rate <= 0 or self._frames < 1:
            raise DataError(f"{path} is no video that OpenCV can read, or is damaged")
        self._next = 0

    @property
    def seconds(self) -> float:
        """How long it is."""
        return self._frames / self._rate

    def frame_at(self, milliseconds: int) -> np.ndarray:
        """The frame of that moment, RGB."""
        wanted = min(round(milliseconds * self._rate / 1000), self._frames - 1)
        if not self._next <= wanted <= self._next + 5 * self._rate:
            self._capture.set(cv2.CAP_PROP_POS_FRAMES, wanted)
            self._next = wanted
        while self._next < wanted and self._capture.grab():
            self._next += 1
        found, image = self._capture.read()
        if not found:
            raise DataError(f"{self._path} has no frame at {milliseconds} ms: it is damaged, or shorter than it says")
        self._next += 1
        return cv2.cvtColor(image, cv2.COLOR_BGR2RGB)


@lru_cache(maxsize=2)
def _video(path: Path) -> _Video:
    return _Video(path)
