"""Open and read a source: a webcam, a network stream, a video file or still images. Players do the timing."""

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
"""Frames per second for still images, which have no rate of their own."""

IMAGES = frozenset({FileKind.IMAGE, FileKind.UNREAD_IMAGE})
SOURCES = (
    "a camera's number such as 0, a device such as /dev/video0, a video file, an image, a folder of images, or a URL"
)


class StillImages:
    """A sequence of image files. An unreadable image is reported once and skipped."""

    def __init__(self, paths: list[Path], warn: Callable[[str], None]) -> None:
        self.rate = STILL_IMAGE_RATE
        self._paths = paths
        self._warn = warn
        self._next, self._skipped = 0, 0
        self._last: tuple[Path, np.ndarray] | None = None
        self._mapper, self._has_warned = IntensityMapper(), False
        self._has_warned_of_pages = False

    @property
    def problem(self) -> str | None:
        """The number of unreadable images, as text; None if all could be read."""
        total = len(self._paths) + self._skipped
        return f"{self._skipped} of {total} images cannot be read" if self._skipped else None

    def read(self) -> np.ndarray | None:
        """Return the next image, uint8 BGR (H, W, 3); None after the last. Raises `SourceError` if none is readable."""
        while self._next < len(self._paths):
            path = self._paths[self._next]
            if self._last is None or self._last[0] != path:  # decode a single looped image only once
                try:
                    content = read_file(path)
                    rgb = decode_rgb(content, self._mapper)
                except (OSError, DamagedFileError) as error:
                    self._skip(path, error)
                    continue
                self._last = (path, np.ascontiguousarray(rgb[..., ::-1]))
                self._warn_once(path, pages_of(memoryview(content)))
            self._next += 1
            return self._last[1]
        return None

    def _warn_once(self, path: Path, pages: int) -> None:
        if self._mapper.note is not None and not self._has_warned:
            self._has_warned = True
            self._warn(f"{path}: {self._mapper.note}")
        if pages > 1 and not self._has_warned_of_pages:
            self._has_warned_of_pages = True
            self._warn(f"{path} has {pages} images: only the first image of such files is shown")

    def _skip(self, path: Path, error: Exception) -> None:
        del self._paths[self._next]
        self._skipped += 1
        if not self._paths:
            raise SourceError(
                f"{path} cannot be read as an image ({error}), and no other image remains; is the file damaged?"
            )
        self._warn(f"{path} cannot be read as an image ({error}); it is skipped")

    def rewind(self) -> None:
        """Start again with the first image."""
        self._next = 0

    def close(self) -> None:
        """Do nothing: no file stays open."""


class PlayedVideo:
    """A video file.

    Args:
        path: of the file.
        warn: receives a warning for an impossible rate, and for frames that cannot be decoded.

    Attributes:
        rate: frames per second; a fallback if the file's rate is impossible.

    Raises `SourceError`.
    """

    def __init__(self, path: Path, warn: Callable[[str], None]) -> None:
        self._path, self._warn = path, warn
        self._has_frames = False
        self._reported: set[str] = set()
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
        """The part of the video that could not be played, as text; None if all could."""
        return self._video.problem

    def read(self) -> np.ndarray | None:
        """Return the next frame, uint8 BGR (H, W, 3); None after the last. Raises `SourceError` if there is none."""
        image = self._video.read()
        self._has_frames = self._has_frames or image is not None
        if not self._has_frames:
            raise SourceError(f"no frame of the video {self._path} can be decoded; is it damaged or cut short?")
        if image is None or not self._reported:  # warn at the first dropped frame, and of all at the end
            problem = self.problem
            if problem is not None and problem not in self._reported:
                self._reported.add(problem)
                self._warn(f"the video {self._path}: {problem}{'' if image is None else ' so far'}")
        return image

    def rewind(self) -> None:
        """Start again with the first frame. Reopens the file, since not every format can seek."""
        self._video.close()
        self._video = self._open()
        self._has_frames = False  # if the file was damaged meanwhile, the loop must end

    def close(self) -> None:
        """Close the file."""
        self._video.close()


def open_source(
    source: str,
    warn: Callable[[str], None],
    width: int = 0,
    height: int = 0,
    rate: float = 0.0,
    pixel_format: str = "auto",
) -> StillImages | PlayedVideo | LiveCamera:
    """Open a source by its description.

    Args:
        source: a device number, a device, a URL, a video file, an image or a folder of images.
        warn: receives a warning for each part that is skipped, and for each unmet request.
        width: of a webcam's image in pixels; 0 keeps the driver's. Other sources ignore it.
        height: of a webcam's image in pixels; 0 keeps the driver's. Other sources ignore it.
        rate: frames per second to request from a webcam; 0 keeps the driver's. Other sources ignore it.
        pixel_format: to request from a webcam, see `four_characters`. Other sources ignore it.

    Raises:
        SourceError: the source does not exist or cannot be opened.
        ValueError: ``pixel_format`` is invalid.
    """
    four_characters(pixel_format)
    if not source:  # an empty path means the working folder
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
    if kind_of_name(path.name) is FileKind.OTHER:  # FFmpeg would play text files
        raise SourceError(f"source {source!r} is neither an image nor a video; give {SOURCES}")
    return PlayedVideo(path, warn)


def _images_in(folder: Path, warn: Callable[[str], None]) -> list[Path]:
    """Return the images in a folder and below, and warn of skipped files. Raises `SourceError` if there is none."""
    passed_over = PassedOver()
    files = find_files(folder, IMAGES, passed_over, lambda error: warn(f"{error.filename}: {error.strerror}"))
    paths = [path for path, _ in files]
    if not paths:
        skipped = f", but {passed_over}" if str(passed_over) else ""
        raise SourceError(f"folder {folder} has no images{skipped}; give {SOURCES}")
    if str(passed_over):
        warn(f"{folder}: passed over {passed_over}")
    return paths


def _is_animated_gif(path: Path) -> bool:
    """Return whether the file is a GIF with several images, which FFmpeg plays."""
    try:
        return path.suffix.lower() == ".gif" and pages_of(memoryview(read_file(path))) > 1
    except (OSError, DamagedFileError):  # opening the source reports it
        return False
