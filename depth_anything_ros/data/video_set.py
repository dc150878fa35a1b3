"""Frames of videos in a folder and its subfolders."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import cv2
import numpy as np

from depth_anything_ros.data.folder_search import EVERYWHERE, UNREADABLE, error_of, log_skipped, raise_unlistable
from depth_anything_ros.data.frame import DataError, as_jpeg
from depth_anything_ros.data.image_set import ImageSet
from depth_anything_ros.images.compressed_files import DamagedFileError
from depth_anything_ros.images.file_kinds import VIDEO_SUFFIXES, FileKind
from depth_anything_ros.images.folders import PassedOver, find_files
from depth_anything_ros.images.video_files import VideoFile

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class VideoSet(ImageSet):
    """Frames of videos, called VIDEO#MILLISECONDS.

    Attributes:
        images: the pattern of the videos.
        seconds_apart: the time between two frames.
    """

    name: str = "videos"
    title: str = "videos in a folder"
    terms: str = "yours"
    homepage: str = ""
    images: str = EVERYWHERE
    seconds_apart: float = 1.0

    def names(self, root: Path) -> Iterator[str]:
        """Yield the frames video by video, in time order.

        An unreadable file gives a warning and one unreadable name, VIDEO#. So `pack` reports the missing images.
        """
        for path in self._videos(root):
            try:
                seconds, doubt = _length_of(root / path)
            except DataError as error:
                _log.warning("left out: %s", error)
                yield path + UNREADABLE
                continue
            if doubt:
                _log.warning("%s: %s", root / path, doubt)
            whole = int(seconds / self.seconds_apart + 1e-6)  # tolerance of floats: 0.3 s contain three steps of 0.1 s
            for number in range(max(1, whole)):
                yield f"{path}#{round(1000 * number * self.seconds_apart)}"

    def _videos(self, root: Path) -> Iterator[str]:
        if self.images != EVERYWHERE:
            yield from (self._images.path(fields) for fields in self._images.find(root))
            return
        passed_over = PassedOver()
        for path, _ in find_files(root, {FileKind.VIDEO}, passed_over, raise_unlistable):
            yield path.relative_to(root).as_posix()
        log_skipped(root, passed_over)

    def empty_message(self, root: Path) -> str:
        """Return the error message for a folder without videos."""
        if self.images != EVERYWHERE:
            return super().empty_message(root)
        endings = ", ".join(sorted(VIDEO_SUFFIXES))
        return f"{root} and its subfolders contain no video: no file ends with {endings}"

    def fault(self, root: Path, name: str) -> str | None:
        """Return why a video cannot be opened, or None.

        Args:
            root: the folder.
            name: the frame.
        """
        return error_of(_length_of, root / name[: -len(UNREADABLE)]) if name.endswith(UNREADABLE) else None

    def read_image(self, root: Path, name: str) -> np.ndarray:
        """Read one frame. Reading in time order is fast.

        Args:
            root: the folder.
            name: the frame.

        Returns:
            RGB uint8 (H, W, 3).

        Raises:
            DataError: the video is missing or damaged at this time.
        """
        path, _, milliseconds = name.rpartition("#")
        video = _video(root / path)
        return video.frame_at(int(milliseconds or 0))

    def read_file(self, root: Path, name: str) -> tuple[str, bytes]:
        """Return the frame as JPEG.

        Args:
            root: the folder.
            name: the frame.

        Raises:
            DataError: the video is missing or damaged at this time.
        """
        return "jpg", as_jpeg(self.read_image(root, name))

    def file_size(self, root: Path, name: str) -> None:
        """Return None: frames are not files.

        Args:
            root: the folder.
            name: the frame.
        """
        return None

    def sources(self, root: Path, name: str) -> tuple[Path, ...]:
        """Return the video.

        Args:
            root: the folder.
            name: the frame.
        """
        return (root / name.rpartition("#")[0],)


class _Video:
    """A video that is read forward; it seeks for frames that are far ahead or behind."""

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
        """Return the duration. Raises `DataError` if no frame can be decoded."""
        frames = self._video.count()
        if not frames:
            raise DataError(f"{self._path} cannot be read as a video: no frame can be decoded")
        return frames / self._video.rate

    @property
    def doubt(self) -> str:
        """Return a warning about an implausible frame rate, or ""."""
        doubt = self._video.rate_doubt
        return f"{doubt}; using {self._video.rate:g}" if doubt else ""

    def frame_at(self, milliseconds: int) -> np.ndarray:
        """Return the frame at this time, RGB uint8 (H, W, 3)."""
        video = self._video
        requested = round(milliseconds * video.rate / 1000)
        if video.counted is not None:
            requested = min(requested, video.counted - 1)
        if not video.next <= requested <= video.next + 5 * video.rate:
            video.seek(requested)
        while video.grab() and video.number < requested:
            pass
        image = video.retrieve() if video.number == requested else None
        if video.problem is not None and not self._has_warned:
            self._has_warned = True
            _log.warning("%s: %s, so far", self._path, video.problem)
        if image is None:
            raise DataError(
                f"{self._path} has no frame at {milliseconds} ms that can be decoded: it is damaged or truncated there"
            )
        return cv2.cvtColor(image, cv2.COLOR_BGR2RGB)

    def close(self) -> None:
        """Close the file."""
        self._video.close()


def _length_of(path: Path) -> tuple[float, str]:
    """Return the seconds of a video, and the warning about its rate. Raises `DataError` if it is unreadable."""
    with closing(_Video(path)) as video:
        return video.seconds, video.doubt


@lru_cache(maxsize=2)
def _video(path: Path) -> _Video:
    return _Video(path)
