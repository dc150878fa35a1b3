"""Videos in files, frame by frame: what cannot be decoded is told from the end, passed over and counted."""

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
"""Frames per second of a video file that does not say, or says what cannot be."""
BELIEVED_RATES = 0.1, 240.0
"""Least and greatest rate that a video file is believed: beyond it is a time base, or damaged."""
ASKED_AGAIN = 250
"""Times that OpenCV is asked for another frame before "no" is taken for the end: it says that of a damaged one too."""
_MAX_COUNTED_FRAMES = 100_000
_MIN_BYTES_PER_FRAME = 8
"""A file that counts more frames than it has room for is not believed."""
_SHOWN = 5

Result = TypeVar("Result")


class VideoFile:
    """A video file that is read forwards, through OpenCV. Not for threads.

    Attributes:
        path: of the file.
        rate: frames per second, as the file says where that can be.
        rate_doubt: what it says where that cannot be, in words; else "".
        number: of the frame that `grab` went to, counted with those that cannot be decoded; -1 before the first.
        counted: how many frames the file counts, None where it does not; see `Container`.
        estimate: how many frames its duration makes, 0 where it has none.

    Raises `DamagedFileError` where OpenCV cannot open it, and `OSError`.
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
        """Goes on to the next frame that is not known to be damaged; False after the last."""
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
        """The frame that was grabbed, uint8 BGR (H, W, 3), newly allocated; None where it cannot be decoded."""
        decoded, image = self._attempt(self._capture.retrieve) or (False, None)
        if not decoded or image is None:  # the second of OpenCV's own reader of Motion JPEG
            self._drop(self.number, self.number + 1)
            return None
        return image

    def read(self) -> np.ndarray | None:
        """The next frame that can be decoded, as `retrieve` gives it; None after the last."""
        while self.grab():
            image = self.retrieve()
            if image is not None:
                return image
        return None

    def seek(self, number: int) -> None:
        """Has `grab` go on with the frame of that number. Without an index frames are read up to there, or anew."""
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
        """How many frames there are, with those that cannot be decoded; the file is read through where it must be."""
        if self.counted is not None or (self._container.is_cut_short and self.estimate):
            return self.counted or self.estimate
        if self.estimate and self._container.can_seek:  # a duration may be that of the sound
            self.seek(self.estimate - 1)
            if self.grab():
                return self._next
        self.seek(0)
        while self.grab():
            pass
        return self.number + 1

    @property
    def next(self) -> int:
        """The number of the frame that comes next, if it can be decoded."""
        return self._next

    def close(self) -> None:
        """Closes the file."""
        self._capture.release()

    def dropped(self, every: int = 1) -> int:
        """How many frames could not be decoded so far, of those alone whose number ``every`` divides."""
        return sum(len(_multiples(one, every)) for one in self._dropped)

    @property
    def problem(self) -> str | None:
        """What the file lacks, as far as it was read, in words; None where it is whole."""
        lost = self.dropped()
        is_cut_short = self._has_ended and self._container.is_cut_short
        if not lost:
            return f"it is cut short, after frame {self.number}" if is_cut_short else None
        total = f" of {self.counted}" if self.counted else ""
        noun = "frames" if lost > 1 or total else "frame"
        frames = [
            f"{one.start}" if len(one) == 1 else f"{one.start} to {one.stop - 1}" for one in self._dropped[:_SHOWN]
        ]
        more = ", …" if len(self._dropped) > _SHOWN else ""
        why = "it is cut short, " if is_cut_short else ""
        return f"{why}{lost}{total} {noun} cannot be decoded: {', '.join(frames)}{more}"

    def _drop(self, start: int, stop: int) -> None:
        if start >= stop:
            return
        if self._dropped and self._dropped[-1].stop == start:
            self._dropped[-1] = range(self._dropped[-1].start, stop)
        else:
            self._dropped.append(range(start, stop))

    @staticmethod
    def _attempt(call: Callable[[], Result]) -> Result | None:
        """What OpenCV gives; None where it raises, as for a frame larger than memory."""
        try:
            return call()
        except (cv2.error, MemoryError):
            return None


def _multiples(numbers: range, every: int) -> range:
    """Those of the numbers that ``every`` divides."""
    return range(-(-numbers.start // every) * every, numbers.stop, every)


@contextlib.contextmanager
def quiet_opencv() -> Iterator[None]:
    """Keeps OpenCV and FFmpeg from printing, in several lines, what an error says in one."""
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
