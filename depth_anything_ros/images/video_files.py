"""Read video files frame by frame. Frames that cannot be decoded are dropped and counted."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

import cv2
import numpy as np

from depth_anything_ros.images.compressed_files import DamagedFileError
from depth_anything_ros.images.opencv_names import name_for_opencv
from depth_anything_ros.images.video_containers import Container, container_of

FALLBACK_RATE = 30.0
"""Frames per second of a video file whose rate is missing or impossible."""
BELIEVED_RATES = 0.1, 240.0
"""Lowest and highest credible rate. A rate outside is a time base or a damaged value."""
ASKED_AGAIN = 250
"""Attempts to grab a frame before the video counts as ended: OpenCV also fails at a damaged frame."""
_MAX_COUNTED_FRAMES = 100_000
_MIN_BYTES_PER_FRAME = 8
"""A frame count is rejected if the file has no room for that many frames."""
_SHOWN = 5

Result = TypeVar("Result")


class VideoFile:
    """A video file, read forward through OpenCV. Not thread-safe.

    Attributes:
        path: of the file.
        rate: frames per second; `FALLBACK_RATE` if the file's rate is impossible.
        rate_doubt: the file's impossible rate, as text; else "".
        number: index of the grabbed frame, including frames that cannot be decoded; -1 before the first.
        counted: number of frames by the file's own table; None without one. See `Container`.
        estimate: number of frames by the file's duration; 0 without one.

    Raises:
        DamagedFileError: OpenCV cannot open the file.
        OSError: the file cannot be read.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._container = container_of(path)
        self._open()
        claimed = self._capture.get(cv2.CAP_PROP_FPS)
        is_believed = BELIEVED_RATES[0] <= claimed <= BELIEVED_RATES[1]  # NaN is not
        self.rate = claimed if is_believed else FALLBACK_RATE
        self.rate_doubt = "" if is_believed else f"it claims {claimed:g} frames a second"
        count = self._capture.get(cv2.CAP_PROP_FRAME_COUNT)
        self.estimate = int(count) if 0 < count <= path.stat().st_size / _MIN_BYTES_PER_FRAME else 0
        self.counted = self._counted(self._container, self.estimate)
        self._dropped: list[range] = []
        self._has_ended = False

    def _open(self) -> None:
        with quiet_opencv(), name_for_opencv(self.path) as name:
            self._capture = cv2.VideoCapture(name)
        if not self._capture.isOpened():
            is_cut_short = self._container.is_cut_short
            raise DamagedFileError("it is cut short" if is_cut_short else "it is damaged, or of an unknown kind")
        self.number, self._next = -1, 0

    @staticmethod
    def _counted(container: Container, count: int) -> int | None:
        return count - container.empty_frames if container.counts_frames and count > container.empty_frames else None

    def grab(self) -> bool:
        """Advance to the next frame that is not known to be damaged. Return False after the last."""
        total = self.counted or self.estimate
        patience = min(max(ASKED_AGAIN, total - self._next), _MAX_COUNTED_FRAMES)
        for failures in range(patience):
            if self._attempt(self._capture.grab) is True:
                self._drop(self._next, self._next + failures)
                self.number = self._next + failures
                self._next = self.number + 1
                return True
        self._has_ended = True
        self._drop(self._next, max(self._next, self.counted or 0))
        self._next = max(self._next, self.counted or 0)
        return False

    def retrieve(self) -> np.ndarray | None:
        """Decode the grabbed frame: uint8 BGR (H, W, 3), newly allocated; None if it cannot be decoded."""
        decoded, image = self._attempt(self._capture.retrieve) or (False, None)
        if not decoded or image is None:  # OpenCV's own Motion JPEG reader returns True and no image
            self._drop(self.number, self.number + 1)
            return None
        return image

    def read(self) -> np.ndarray | None:
        """Return the next frame that can be decoded, see `retrieve`; None after the last."""
        while self.grab():
            image = self.retrieve()
            if image is not None:
                return image
        return None

    def seek(self, number: int) -> None:
        """Let `grab` continue with the frame ``number``. Without an index it reads up to there or restarts."""
        if self._container.can_seek:
            self._capture.set(cv2.CAP_PROP_POS_FRAMES, number)
            self._next = number
            return
        if number < self._next:
            self._capture.release()
            self._open()
        while self._next < number and self.grab():
            pass

    def count(self) -> int:
        """Return the number of frames, including those that cannot be decoded. May read through the whole file."""
        if self.counted is not None or (self._container.is_cut_short and self.estimate):
            return self.counted or self.estimate
        if self.estimate and self._container.can_seek:  # the duration can be that of the sound
            self.seek(self.estimate - 1)
            if self.grab():
                return self._next
        self.seek(0)
        while self.grab():
            pass
        return self.number + 1

    @property
    def next(self) -> int:
        """The index of the next frame, if it can be decoded."""
        return self._next

    def close(self) -> None:
        """Close the file."""
        self._capture.release()

    def dropped(self, every: int = 1) -> int:
        """Return how many frames could not be decoded so far, among those whose index is a multiple of ``every``."""
        return sum(len(_multiples(one, every)) for one in self._dropped)

    @property
    def problem(self) -> str | None:
        """The part of the file read so far that is missing or damaged, as text; None if nothing is."""
        dropped = self.dropped()
        is_cut_short = self._has_ended and self._container.is_cut_short
        if not dropped:
            return f"it is cut short, after frame {self.number}" if is_cut_short else None
        total = f" of {self.counted}" if self.counted else ""
        noun = "frames" if dropped > 1 or total else "frame"
        frames = [
            f"{one.start}" if len(one) == 1 else f"{one.start} to {one.stop - 1}" for one in self._dropped[:_SHOWN]
        ]
        more = ", …" if len(self._dropped) > _SHOWN else ""
        why = "it is cut short, " if is_cut_short else ""
        return f"{why}{dropped}{total} {noun} cannot be decoded: {', '.join(frames)}{more}"

    def _drop(self, start: int, stop: int) -> None:
        if start >= stop:
            return
        if self._dropped and self._dropped[-1].stop == start:
            self._dropped[-1] = range(self._dropped[-1].start, stop)
        else:
            self._dropped.append(range(start, stop))

    @staticmethod
    def _attempt(call: Callable[[], Result]) -> Result | None:
        """Call OpenCV; return None if it raises, for example for a frame larger than the memory."""
        try:
            return call()
        except (cv2.error, MemoryError):
            return None


def _multiples(numbers: range, every: int) -> range:
    """Return the subrange of multiples of ``every``."""
    return range(-(-numbers.start // every) * every, numbers.stop, every)


@contextlib.contextmanager
def quiet_opencv() -> Iterator[None]:
    """Silence OpenCV and FFmpeg: they print several lines about a problem that an error reports in one."""
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
