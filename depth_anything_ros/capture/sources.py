"""What a camera may be: a webcam, a network stream, a video file, or still images. Opening and reading, no timing."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from depth_anything_ros.capture.live_camera import (
    LiveCamera,
    SourceError,
    four_characters,
    video_device,
    without_password,
)
from depth_anything_ros.images.compressed_files import DamagedFileError
from depth_anything_ros.images.file_kinds import FileKind, kind_of_name, kind_of_named_file
from depth_anything_ros.images.folders import PassedOver, find_files
from depth_anything_ros.images.image_files import decode_rgb, read_file
from depth_anything_ros.images.intensity import IntensityMapper
from depth_anything_ros.images.pages import pages_of
from depth_anything_ros.images.video_files import VideoFile

STILL_IMAGE_RATE = 10.0
"""Frames per second at which still images are shown, which have no rate of their own."""

IMAGES = frozenset({FileKind.IMAGE, FileKind.UNREAD_IMAGE})
SOURCES = (
    "a camera's number such as 0, a device such as /dev/video0, a video file, an image, a folder of images, or a URL"
)


class StillImages:
    """Image files, one after the other. An image that cannot be read is reported once and left out."""

    def __init__(self, paths: list[Path], warn: Callable[[str], None]) -> None:
        self.rate = STILL_IMAGE_RATE
        self._paths = paths
        self._warn = warn
        self._next, self._left_out = 0, 0
        self._last: tuple[Path, np.ndarray] | None = None
        self._mapper, self._has_warned = IntensityMapper(), False
        self._pages_are_said = False

    @property
    def problem(self) -> str | None:
        """How many images could not be read, in words; None where all could."""
        total = len(self._paths) + self._left_out
        return f"{self._left_out} of {total} images cannot be read" if self._left_out else None

    def read(self) -> np.ndarray | None:
        """The next image, uint8 BGR (H, W, 3); None after the last. Raises `SourceError` if none can be read."""
        while self._next < len(self._paths):
            path = self._paths[self._next]
            if self._last is None or self._last[0] != path:  # a single image that is looped is decoded once
                try:
                    content = read_file(path)
                    rgb = decode_rgb(content, self._mapper)
                except (OSError, DamagedFileError) as error:
                    self._leave_out(path, error)
                    continue
                self._last = (path, np.ascontiguousarray(rgb[..., ::-1]))
                self._say_what_is_odd(path, pages_of(memoryview(content)))
            self._next += 1
            return self._last[1]
        return None

    def _say_what_is_odd(self, path: Path, pages: int) -> None:
        if self._mapper.note is not None and not self._has_warned:
            self._has_warned = True
            self._warn(f"{path}: {self._mapper.note}")
        if pages > 1 and not self._pages_are_said:
            self._pages_are_said = True
            self._warn(f"{path} holds {pages} images: of such files the first alone is shown")

    def _leave_out(self, path: Path, error: Exception) -> None:
        del self._paths[self._next]
        self._left_out += 1
        if not self._paths:
            raise SourceError(
                f"{path} cannot be read as an image ({error}), and no other image is left; is the file damaged?"
            )
        self._warn(f"{path} cannot be read as an image ({error}), it is left out")

    def rewind(self) -> None:
        """Starts again with the first image."""
        self._next = 0

    def close(self) -> None:
        """Holds nothing open."""


class PlayedVideo:
    """A video file. ``warn`` is told of a rate that cannot be, and once of frames that cannot be decoded.

    Attributes:
        rate: frames per second, as the file says where that can be.
    """

    def __init__(self, path: Path, warn: Callable[[str], None]) -> None:
        self._path, self._warn = path, warn
        self._has_frames = False
        self._said: set[str] = set()
        self._video = self._open()
        self.rate = self._video.rate
        if self._video.rate_doubt:
            warn(
                f"the video {path}: {self._video.rate_doubt}; it is played at {self.rate:g} Hz unless frame_rate is set"
            )

    def _open(self) -> VideoFile:
        try:
            return VideoFile(self._path)
        except (OSError, DamagedFileError) as error:
            raise SourceError(f"{self._path} cannot be read as a video or an image: {error}") from error

    @property
    def problem(self) -> str | None:
        """What could not be played, in words; None where all could."""
        return self._video.problem

    def read(self) -> np.ndarray | None:
        """The next frame, uint8 BGR (H, W, 3); None after the last. Raises `SourceError` if there is none at all."""
        image = self._video.read()
        self._has_frames = self._has_frames or image is not None
        if not self._has_frames:
            raise SourceError(f"no frame of the video {self._path} can be decoded; is it damaged or cut short?")
        if image is None or not self._said:  # at the end, which tells of all, and when the first frame is lost
            problem = self.problem
            if problem is not None and problem not in self._said:
                self._said.add(problem)
                self._warn(f"the video {self._path}: {problem}{'' if image is None else ' so far'}")
        return image

    def rewind(self) -> None:
        """Starts again with the first frame; opens the file anew, since not every format can seek."""
        self._video.close()
        self._video = self._open()
        self._has_frames = False  # a file that was damaged meanwhile must end the loop, not spin it

    def close(self) -> None:
        """Closes the file."""
        self._video.close()


def open_source(
    source: str,
    warn: Callable[[str], None],
    width: int = 0,
    height: int = 0,
    rate: float = 0.0,
    pixel_format: str = "auto",
) -> StillImages | PlayedVideo | LiveCamera:
    """Opens whatever ``source`` names; size, rate (0: as it is) and pixel format are wishes that only a webcam hears.

    ``warn`` is told of what is left out or not had. Raises `SourceError`, or `ValueError` for what is no pixel format.
    """
    four_characters(pixel_format)
    if not source:  # would be the working folder
        raise SourceError(f"source is empty; give {SOURCES}")
    if video_device(source) is not None or ("://" in source and not source.startswith("file://")):
        return LiveCamera(source, warn, width, height, rate, pixel_format)
    path = Path(source[len("file://") :] if source.startswith("file://") else source).expanduser()
    if path.is_dir():
        return StillImages(_images_in(path, warn), warn)
    if not path.is_file():
        raise SourceError(f"source {without_password(source)!r}: there is no such file or folder; give {SOURCES}")
    if kind_of_named_file(path) in IMAGES and not _is_animated_gif(path):
        return StillImages([path], warn)
    if kind_of_name(path.name) is FileKind.OTHER:  # FFmpeg plays text too
        raise SourceError(f"source {source!r} is neither an image nor a video; give {SOURCES}")
    return PlayedVideo(path, warn)


def _images_in(folder: Path, warn: Callable[[str], None]) -> list[Path]:
    """The images in a folder and below; ``warn`` is told of what is passed over. Raises `SourceError` for none."""
    passed_over = PassedOver()
    found = find_files(folder, IMAGES, passed_over, lambda error: warn(f"{error.filename}: {error.strerror}"))
    paths = [path for path, _ in found]
    if not paths:
        beside = f", but {passed_over}" if str(passed_over) else ""
        raise SourceError(f"folder {folder} holds no images{beside}; give {SOURCES}")
    if str(passed_over):
        warn(f"{folder}: passed over {passed_over}")
    return paths


def _is_animated_gif(path: Path) -> bool:
    """Whether it is a GIF of several pictures, which FFmpeg plays."""
    try:
        return path.suffix.lower() == ".gif" and pages_of(memoryview(read_file(path))) > 1
    except (OSError, DamagedFileError):  # which whoever opens it will say
        return False
