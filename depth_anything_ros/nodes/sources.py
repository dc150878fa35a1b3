"""What a camera may be: a webcam, a network stream, a video file, or still images. Opening and reading, no timing."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np

from depth_anything_ros.nodes.live_camera import (
    LiveCamera,
    SourceError,
    four_characters,
    video_device,
    without_password,
)
from depth_anything_ros.runtime.compressed_files import DamagedFileError
from depth_anything_ros.runtime.frame_reader import IMAGE_SUFFIXES
from depth_anything_ros.runtime.intensity import IntensityMapper
from depth_anything_ros.runtime.picture_files import decode_rgb

STILL_IMAGE_RATE = 10.0
"""Frames per second at which still images are shown, which have no rate of their own."""
FALLBACK_VIDEO_RATE = 30.0
"""Frames per second of a video file that does not say, or says what cannot be."""
VIDEO_RATES = 0.1, 240.0
"""Least and greatest rate that a video file is believed: beyond it is a time base, or damaged."""

SOURCES = (
    "a camera's number such as 0, a device such as /dev/video0, a video file, an image, a folder of images, or a URL"
)


class StillImages:
    """Image files, one after the other. An image that cannot be read is reported once and left out."""

    def __init__(self, paths: list[Path], warn: Callable[[str], None]) -> None:
        self.rate = STILL_IMAGE_RATE
        self._paths = paths
        self._warn = warn
        self._next = 0
        self._last: tuple[Path, np.ndarray] | None = None
        self._mapper, self._has_warned = IntensityMapper(), False

    def read(self) -> np.ndarray | None:
        """The next image, uint8 BGR (H, W, 3); None after the last. Raises `SourceError` if none can be read."""
        while self._next < len(self._paths):
            path = self._paths[self._next]
            if self._last is None or self._last[0] != path:  # a single image that is looped is decoded once
                try:
                    rgb = decode_rgb(np.fromfile(path, np.uint8), self._mapper)
                except (OSError, DamagedFileError) as error:
                    self._leave_out(path, error)
                    continue
                self._last = (path, np.ascontiguousarray(rgb[..., ::-1]))
                if self._mapper.note is not None and not self._has_warned:
                    self._has_warned = True
                    self._warn(f"{path}: {self._mapper.note}")
            self._next += 1
            return self._last[1]
        return None

    def _leave_out(self, path: Path, error: Exception) -> None:
        del self._paths[self._next]
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


class VideoFile:
    """A video file, through OpenCV. ``warn`` is told of a rate that cannot be.

    Attributes:
        rate: frames per second, as the file says where that can be.
    """

    def __init__(self, path: Path, warn: Callable[[str], None]) -> None:
        self._path = path
        self._count = 0
        self._capture = self._open()
        self.rate = self._capture.get(cv2.CAP_PROP_FPS)
        if not VIDEO_RATES[0] <= self.rate <= VIDEO_RATES[1]:  # so is NaN
            warn(
                f"the video {path} claims {self.rate:g} frames a second; it is played at {FALLBACK_VIDEO_RATE:g} Hz "
                "unless frame_rate is set"
            )
            self.rate = FALLBACK_VIDEO_RATE

    def _open(self) -> cv2.VideoCapture:
        capture = cv2.VideoCapture(str(self._path))
        if not capture.isOpened():
            raise SourceError(f"{self._path} cannot be read as a video or an image; is it damaged, or of another kind?")
        return capture

    def read(self) -> np.ndarray | None:
        """The next frame, uint8 BGR (H, W, 3); None after the last. Raises `SourceError` if there is none at all."""
        decoded, image = self._capture.read()
        if decoded:
            self._count += 1
            return image
        if self._count == 0:
            raise SourceError(f"no frame of the video {self._path} can be decoded; is it damaged or cut short?")
        return None

    def rewind(self) -> None:
        """Starts again with the first frame; opens the file anew, since not every format can seek."""
        self._capture.release()
        self._capture = self._open()
        self._count = 0  # a file that was damaged meanwhile must end the loop, not spin it

    def close(self) -> None:
        """Closes the file."""
        self._capture.release()


def open_source(
    source: str,
    warn: Callable[[str], None],
    width: int = 0,
    height: int = 0,
    rate: float = 0.0,
    pixel_format: str = "auto",
) -> StillImages | VideoFile | LiveCamera:
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
        paths = sorted(entry for entry in path.iterdir() if entry.suffix.lower() in IMAGE_SUFFIXES)
        if not paths:
            raise SourceError(f"folder {path} holds no images ({' '.join(sorted(IMAGE_SUFFIXES))})")
        return StillImages(paths, warn)
    if not path.is_file():
        raise SourceError(f"source {without_password(source)!r}: there is no such file or folder; give {SOURCES}")
    if path.suffix.lower() in IMAGE_SUFFIXES:
        return StillImages([path], warn)
    return VideoFile(path, warn)
