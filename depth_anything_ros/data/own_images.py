"""Images of one's own, or of anywhere: a folder, a list, videos, archives."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

import cv2
import numpy as np

from depth_anything_ros.data.frame import DataError, as_jpeg, decode_image, raise_what_may_pass, read_bytes
from depth_anything_ros.data.image_set import ImageSet, SampleParts, ending_of, size_of
from depth_anything_ros.data.path_pattern import folder_identity
from depth_anything_ros.data.patience import patiently
from depth_anything_ros.data.tar_members import read_member, tar_members
from depth_anything_ros.runtime.frame_reader import IMAGE_SUFFIXES, VIDEO_SUFFIXES

_log = logging.getLogger(__name__)
_PICTURE_ENDINGS = tuple(IMAGE_SUFFIXES)
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

    def file_size(self, root: Path, name: str) -> int:
        """Of the picture."""
        return size_of(root.parent / name)

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

    def file_size(self, root: Path, name: str) -> None:
        """Not known: frames are no files."""
        return None

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
                members = patiently(tar_members, root / path)
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

    def file_size(self, root: Path, name: str) -> int:
        """Of the picture in its archive."""
        path, _, member = name.partition("#")
        return tar_members(root / path).get(member, (0, 0))[1]

    def sources(self, root: Path, name: str) -> tuple[Path, ...]:
        """The archive."""
        return (root / name.partition("#")[0],)


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
