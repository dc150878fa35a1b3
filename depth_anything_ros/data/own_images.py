"""Images of one's own, or of anywhere: a folder, a list, videos, archives."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Iterator
from contextlib import closing
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import cv2
import numpy as np

from depth_anything_ros.data.frame import DataError, as_jpeg, decode_image, raise_what_may_pass
from depth_anything_ros.data.image_set import ImageSet, SampleParts, ending_of, size_of
from depth_anything_ros.data.patience import patiently
from depth_anything_ros.data.picture_lists import read_list
from depth_anything_ros.data.tar_members import read_member, tar_members
from depth_anything_ros.runtime.compressed_files import DamagedFileError
from depth_anything_ros.runtime.file_kinds import IMAGE_SUFFIXES, VIDEO_SUFFIXES, FileKind, kind_of_name, kind_of_path
from depth_anything_ros.runtime.folders import PassedOver, find_files, walk_files
from depth_anything_ros.runtime.video_files import VideoFile

_log = logging.getLogger(__name__)
EVERYWHERE = "**"
"""Pattern of sets that are looked for in the whole folder and in those below."""
_IMAGES = frozenset({FileKind.IMAGE, FileKind.UNREAD_IMAGE})
_UNPACKED_BY = {
    **dict.fromkeys((".tar.gz", ".tgz"), "run `gunzip {}`"),
    **dict.fromkeys((".tar.bz2", ".tbz2", ".tbz"), "run `bunzip2 {}`"),
    **dict.fromkeys((".tar.xz", ".txz"), "run `unxz {}`"),
    **dict.fromkeys((".tar.zst", ".tzst"), "run `unzstd {}`"),
    **dict.fromkeys((".tar.lz4", ".tlz4"), "run `unlz4 {}`"),
    **dict.fromkeys((".zip", ".7z", ".rar"), "unpack it, and read the folder with the set `folder`"),
}
"""By the endings of compressed archives: what to do with one, in which nothing can be found by its place."""
_UNREADABLE = "#"
"""Ends the name that stands for the images of a file which cannot be opened."""


def _refuse(error: OSError) -> None:
    """What cannot be listed is no empty folder."""
    raise DataError(f"cannot list {error.filename}: {error.strerror}") from error


def _say(root: Path, passed_over: PassedOver) -> None:
    if str(passed_over):
        _log.warning("%s: passed over %s", root, passed_over)


@dataclass(frozen=True)
class FolderSet(ImageSet):
    """Every picture in a folder and in those below."""

    name: str = "folder"
    title: str = "a folder of pictures"
    terms: str = "yours"
    homepage: str = ""
    images: str = EVERYWHERE

    def why_empty(self, root: Path) -> str:
        """Which files would be pictures."""
        endings = ", ".join(sorted(IMAGE_SUFFIXES))
        return f"{root} holds no picture: no file ends with {endings}, or holds what OpenCV reads"

    def names(self, root: Path) -> Iterator[str]:
        """Every picture that OpenCV reads, by name or by content, in order; those of kinds that it does not read too.

        What is passed over is said in the end, as a warning; see `walk_files`.
        """
        passed_over = PassedOver()
        for path, _ in find_files(root, _IMAGES, passed_over, _refuse):
            yield path.relative_to(root).as_posix()
        _say(root, passed_over)

    def fault(self, root: Path, name: str) -> str | None:
        """That OpenCV does not read this kind of picture."""
        if kind_of_path(root / name) is not FileKind.UNREAD_IMAGE:
            return None
        return f"{root / name} is an image of a kind that OpenCV does not read; convert it to JPEG or PNG"


@dataclass(frozen=True)
class ListSet(FolderSet):
    """The pictures that a text file names, a path a line, from the folder that the list lies in or absolute."""

    name: str = "list"
    title: str = "a list of pictures"

    def names(self, root: Path) -> Iterator[str]:
        """In the order of the list, each once; ``root`` is the list. How many lines are no pictures is said."""
        listed = read_list(root)
        if str(listed):
            _log.warning("%s: %s", root, listed)
        yield from listed.names

    def why_empty(self, root: Path) -> str:
        """That the list is empty."""
        return f"{root} names no picture"

    def fault(self, root: Path, name: str) -> str | None:
        """That there is no such file, or none that OpenCV reads."""
        if not (root.parent / name).exists():
            return f"cannot read {root.parent / name}: No such file or directory"
        return super().fault(root.parent, name)

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
    images: str = EVERYWHERE
    seconds_apart: float = 1.0

    def names(self, root: Path) -> Iterator[str]:
        """Video by video, in the order of time.

        Of a file that cannot be opened a warning tells; in place of its frames there is the one name VIDEO#, which
        cannot be read either, so that whoever packs them is told what they lack.
        """
        for path in self._videos(root):
            try:
                seconds, doubt = _length_of(root / path)
            except DataError as error:
                _log.warning("left out: %s", error)
                yield path + _UNREADABLE
                continue
            if doubt:
                _log.warning("%s: %s", root / path, doubt)
            whole = int(seconds / self.seconds_apart + 1e-6)  # 0.3 s hold three steps of 0.1 s, whatever floats say
            for number in range(max(1, whole)):
                yield f"{path}#{round(1000 * number * self.seconds_apart)}"

    def _videos(self, root: Path) -> Iterator[str]:
        if self.images != EVERYWHERE:
            yield from (self._images.path(fields) for fields in self._images.find(root))
            return
        passed_over = PassedOver()
        for path, _ in find_files(root, {FileKind.VIDEO}, passed_over, _refuse):
            yield path.relative_to(root).as_posix()
        _say(root, passed_over)

    def why_empty(self, root: Path) -> str:
        """Where videos were looked for."""
        if self.images != EVERYWHERE:
            return super().why_empty(root)
        return f"{root} holds no video, nor do the folders below: no file ends with {', '.join(sorted(VIDEO_SUFFIXES))}"

    def fault(self, root: Path, name: str) -> str | None:
        """Why a video cannot be opened."""
        return _error_of(_length_of, root / name[: -len(_UNREADABLE)]) if name.endswith(_UNREADABLE) else None

    def read_image(self, root: Path, name: str) -> np.ndarray:
        """One frame, RGB uint8 (H, W, 3); quick when asked for in the order of time."""
        path, _, milliseconds = name.rpartition("#")
        video = _video(root / path)
        return video.frame_at(int(milliseconds or 0))

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
    images: str = EVERYWHERE

    def names(self, root: Path) -> Iterator[str]:
        """Archive by archive, in the order in which they were packed.

        Of an archive that cannot be read, compressed ones among them, a warning tells; in place of its pictures there
        is the one name ARCHIVE#, which cannot be read either, so that whoever packs them is told what they lack. Raises
        `OSError` where that is for a disk that fails, say.
        """
        passed_over = PassedOver()
        for path in self._archives(root, passed_over):
            try:
                members = patiently(_members, root / path)
            except DataError as error:
                raise_what_may_pass(error)
                _log.warning("left out: %s", error)
                yield path + _UNREADABLE
                continue
            for member in members:
                if _is_picture(member, passed_over):
                    yield f"{path}#{member}"
        _say(root, passed_over)

    def _archives(self, root: Path, passed_over: PassedOver) -> Iterator[str]:
        if self.images != EVERYWHERE:
            yield from (self._images.path(fields) for fields in self._images.find(root))
            return
        for path in walk_files(root, passed_over, _refuse):
            name = path.relative_to(root).as_posix()
            if name.lower().endswith((".tar", *_UNPACKED_BY)):
                yield name
            else:
                passed_over.note("other files", name)

    def why_empty(self, root: Path) -> str:
        """Where archives were looked for."""
        if self.images != EVERYWHERE:
            return super().why_empty(root)
        return f"{root} holds no picture in a .tar, nor do the folders below"

    def fault(self, root: Path, name: str) -> str | None:
        """Why an archive cannot be read."""
        return _error_of(_members, root / name[: -len(_UNREADABLE)]) if name.endswith(_UNREADABLE) else None

    def read_image(self, root: Path, name: str) -> np.ndarray:
        """One image, RGB uint8 (H, W, 3)."""
        return decode_image(self.read_file(root, name)[1], name, input_range=self.input_range)

    def read_file(self, root: Path, name: str) -> tuple[str, bytes]:
        """The file as it lies in the archive."""
        path, member = _parted(name)
        _members(root / path)
        return ending_of(member), read_member(root / path, member)

    def file_size(self, root: Path, name: str) -> int:
        """Of the picture in its archive."""
        path, member = _parted(name)
        return tar_members(root / path).get(member, (0, 0))[1]

    def sources(self, root: Path, name: str) -> tuple[Path, ...]:
        """The archive."""
        return (root / _parted(name)[0],)


def _parted(name: str) -> tuple[str, str]:
    """The archive and the member that a name is made of; folders and members may hold a # too."""
    if name.endswith(_UNREADABLE):
        return name[: -len(_UNREADABLE)], ""
    place = name.lower().index(".tar#") + len(".tar")
    return name[:place], name[place + 1 :]


def _members(path: Path) -> Collection[str]:
    """The members of an archive. Raises `DataError`, with what to do where it is compressed."""
    for ending, tool in _UNPACKED_BY.items():
        if path.name.lower().endswith(ending):
            raise DataError(f"cannot read {path}: it is compressed; {tool.format(path.name)}")
    return tar_members(path)


def _error_of(attempt: Callable[[Path], object], path: Path) -> str | None:
    """What a file cannot be opened for, None where it can."""
    try:
        attempt(path)
    except DataError as error:
        return str(error)
    return None


def _is_picture(member: str, passed_over: PassedOver) -> bool:
    """Whether a member's name is a picture's, not that of depth or labels in a shard, nor hidden; else counts it."""
    if member.rpartition("/")[2].startswith("."):
        passed_over.note("hidden members", member)
        return False
    if kind_of_name(member) in _IMAGES:
        return True
    passed_over.note("other members", member)
    return False


class _Video:
    """A video that is read forwards, and sought where frames lie far apart or behind."""

    def __init__(self, path: Path) -> None:
        self._path, self._has_warned = path, False
        try:
            self._video = VideoFile(path)
        except OSError as error:
            raise DataError(f"cannot read {path}: {error.strerror}") from error
        except DamagedFileError as error:
            raise DataError(f"{path} cannot be read as a video: {error}") from error

    @property
    def seconds(self) -> float:
        """How long it is. Raises `DataError` where it has no frame."""
        frames = self._video.count()
        if not frames:
            raise DataError(f"{self._path} cannot be read as a video: no frame of it can be decoded")
        return frames / self._video.rate

    @property
    def doubt(self) -> str:
        """What is said of its rate where that cannot be believed, "" where it can."""
        doubt = self._video.rate_doubt
        return f"{doubt}; it is taken for {self._video.rate:g}" if doubt else ""

    def frame_at(self, milliseconds: int) -> np.ndarray:
        """The frame of that moment, RGB."""
        video = self._video
        wanted = round(milliseconds * video.rate / 1000)
        if video.counted is not None:
            wanted = min(wanted, video.counted - 1)
        if not video.next <= wanted <= video.next + 5 * video.rate:
            video.seek(wanted)
        while video.grab() and video.number < wanted:
            pass
        image = video.retrieve() if video.number == wanted else None
        if video.trouble is not None and not self._has_warned:
            self._has_warned = True
            _log.warning("%s: %s, so far", self._path, video.trouble)
        if image is None:
            raise DataError(
                f"{self._path} has no frame at {milliseconds} ms that can be decoded: it is damaged there, or cut short"
            )
        return cv2.cvtColor(image, cv2.COLOR_BGR2RGB)

    def close(self) -> None:
        """Closes the file."""
        self._video.close()


def _length_of(path: Path) -> tuple[float, str]:
    """How many seconds a video lasts, and what is said of its rate. Raises `DataError` where it cannot be read."""
    with closing(_Video(path)) as video:
        return video.seconds, video.doubt


@lru_cache(maxsize=2)
def _video(path: Path) -> _Video:
    return _Video(path)
