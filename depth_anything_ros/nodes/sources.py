"""What a camera may be: a webcam, a network stream, a video file, or still images. Opening and reading, no timing."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import numpy as np

from depth_anything_ros.runtime.compressed_files import DamagedFileError
from depth_anything_ros.runtime.frame_reader import IMAGE_SUFFIXES
from depth_anything_ros.runtime.intensity import IntensityMapper
from depth_anything_ros.runtime.picture_files import decode_rgb

STILL_IMAGE_RATE = 10.0
"""Frames per second at which still images are shown, which have no rate of their own."""
FALLBACK_VIDEO_RATE = 30.0
"""Frames per second of a video file that does not say."""
STREAM_TIMEOUT_MILLISECONDS = 5000
"""How long a network stream may take to open or to give its next frame before it counts as lost."""

SOURCES = (
    "a camera's number such as 0, a device such as /dev/video0, a video file, an image, a folder of images, or a URL"
)


class SourceError(RuntimeError):
    """A source cannot be read; the message names it and what to do."""


@contextlib.contextmanager
def _quiet_opencv() -> Iterator[None]:
    """Keeps OpenCV and FFmpeg from printing, in several lines, what a `SourceError` says in one."""
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")  # AV_LOG_QUIET
    logging = getattr(cv2.utils, "logging", None)  # OpenCV 4.5.4
    if logging is None:
        yield
        return
    level = logging.setLogLevel(logging.LOG_LEVEL_SILENT)
    try:
        yield
    finally:
        logging.setLogLevel(level)


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
    """A video file, through OpenCV."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._count = 0
        self._capture = self._open()
        rate = self._capture.get(cv2.CAP_PROP_FPS)
        self.rate = rate if 0.0 < rate <= 1000.0 else FALLBACK_VIDEO_RATE  # NaN, 0 or a time base, if unknown

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


def without_password(source: str) -> str:
    """A source as logs may show it: user and password of a URL left out."""
    return re.sub(r"(?<=://)[^/@]*@", "", source)


class LiveCamera:
    """A webcam or a network stream, through OpenCV: frames come when they come, and it may be lost and come back."""

    def __init__(self, source: str, width: int = 0, height: int = 0, rate: float = 0.0) -> None:
        self.name = without_password(source)
        self._address = source
        self._device = _video_device(source)
        self._wishes = {cv2.CAP_PROP_FRAME_WIDTH: width, cv2.CAP_PROP_FRAME_HEIGHT: height, cv2.CAP_PROP_FPS: rate}
        self._capture: cv2.VideoCapture | None = None
        self.open()

    def open(self) -> None:
        """Opens the camera, or opens it again. Raises `SourceError`."""
        self.close()
        with _quiet_opencv():
            capture = self._open_stream() if self._device is None else self._open_device(self._device)
        for setting, wish in self._wishes.items():
            if wish:
                capture.set(setting, wish)
        self._capture = capture

    def _open_stream(self) -> cv2.VideoCapture:
        has_timeouts = hasattr(cv2, "CAP_PROP_OPEN_TIMEOUT_MSEC")  # OpenCV 4.5.2; without, lost means half a minute
        if has_timeouts and cv2.CAP_FFMPEG in cv2.videoio_registry.getStreamBackends():
            timeouts = (cv2.CAP_PROP_OPEN_TIMEOUT_MSEC, cv2.CAP_PROP_READ_TIMEOUT_MSEC)
            settings = [number for name in timeouts for number in (name, STREAM_TIMEOUT_MILLISECONDS)]
            capture = cv2.VideoCapture(self._address, cv2.CAP_FFMPEG, settings)
        else:
            capture = cv2.VideoCapture(self._address)
        if not capture.isOpened():
            raise SourceError(f"stream {self.name} cannot be opened; check the address, the password and the network")
        return capture

    def _open_device(self, index: int) -> cv2.VideoCapture:
        device = Path(f"/dev/video{index}")
        if device.parent.is_dir() and not device.exists():
            present = ", ".join(sorted(str(path) for path in Path("/dev").glob("video*"))) or "none"
            raise SourceError(
                f"camera {self.name}: there is no {device} (present: {present}); plug it in or name another"
            )
        if device.exists() and not os.access(device, os.R_OK | os.W_OK):
            raise SourceError(
                f"camera {self.name}: no permission to use {device}; join its group: usermod -aG video USER"
            )
        capture = cv2.VideoCapture(index)
        if not capture.isOpened():
            raise SourceError(f"camera {self.name} cannot be opened; is another program using it?")
        return capture

    def grab(self) -> bool:
        """Waits for the next frame without decoding it; False if the camera is lost."""
        return self._capture is not None and self._capture.grab()

    def retrieve(self) -> np.ndarray | None:
        """The frame that was grabbed, uint8 BGR (H, W, 3), newly allocated; None if it cannot be decoded."""
        decoded, image = self._capture.retrieve()
        return image if decoded else None

    def close(self) -> None:
        """Lets go of the camera."""
        if self._capture is not None:
            self._capture.release()
            self._capture = None


def open_source(
    source: str, warn: Callable[[str], None], width: int = 0, height: int = 0, rate: float = 0.0
) -> StillImages | VideoFile | LiveCamera:
    """Opens whatever ``source`` names; size and rate (0: as it is) are wishes that only a webcam hears.

    ``warn`` is told of what is left out. Raises `SourceError`.
    """
    if _video_device(source) is not None or ("://" in source and not source.startswith("file://")):
        return LiveCamera(source, width, height, rate)
    path = Path(source[len("file://") :] if source.startswith("file://") else source).expanduser()
    if path.is_dir():
        paths = sorted(entry for entry in path.iterdir() if entry.suffix.lower() in IMAGE_SUFFIXES)
        if not paths:
            raise SourceError(f"folder {path} holds no images ({' '.join(sorted(IMAGE_SUFFIXES))})")
        return StillImages(paths, warn)
    if not path.is_file():
        raise SourceError(f"source {source!r}: there is no such file or folder; give {SOURCES}")
    if path.suffix.lower() in IMAGE_SUFFIXES:
        return StillImages([path], warn)
    return VideoFile(path)


def _video_device(source: str) -> int | None:
    """The N of /dev/videoN that a number, that path or a link to it (/dev/v4l/by-id/…) means; None for others."""
    if source.isdecimal():
        return int(source)
    if source.startswith("/dev/"):
        match = re.fullmatch(r"/dev/video(\d+)", str(Path(source).resolve()))
        if match:
            return int(match.group(1))
    return None
