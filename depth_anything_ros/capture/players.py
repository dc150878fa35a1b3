"""When frames are taken from a source: files at their own pace and every frame, live cameras newest frame first."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from depth_anything_ros.capture.live_camera import LiveCamera, SourceError
from depth_anything_ros.capture.sources import PlayedVideo, StillImages

MAX_LAG = 1.0
"""Seconds that playback may fall behind and still catch up; beyond (a suspended machine) it goes on from now."""
FIRST_RETRY, LAST_RETRY = 0.5, 10.0
"""Seconds before a lost camera is opened again: the first wait, and what it doubles up to."""


@dataclass(frozen=True)
class CapturedImage:
    """One picture, uint8 BGR (H, W, 3), and what the clock said when it was taken."""

    image: np.ndarray
    stamp: Any


class FilePlayer:
    """Iterates over the frames of a file on the schedule of its rate, which does not drift; drops none.

    ``rate`` 0 means the source's own. ``warn`` is told once if playback cannot keep up.
    """

    def __init__(
        self,
        source: StillImages | PlayedVideo,
        clock: Callable[[], Any],
        rate: float,
        loop: bool,
        warn: Callable[[str], None],
    ) -> None:
        self._source = source
        self._clock = clock
        self._rate = rate or source.rate
        self._period = 1.0 / self._rate
        self._loop = loop
        self._warn, self._has_warned = warn, False
        self._closed = threading.Event()

    def __iter__(self) -> Iterator[CapturedImage]:
        """Gives each frame when it is due, until the end or `close`. Raises `SourceError`."""
        due: float | None = None
        while True:
            image = self._source.read()  # decoded before it is due
            if image is None:
                if not self._loop:
                    break
                self._source.rewind()
                continue
            if due is None:  # the schedule starts when the first frame is decoded, which may take long
                due = time.monotonic()
            if self._closed.wait(max(0.0, due - time.monotonic())):
                break
            yield CapturedImage(image, self._clock())
            due += self._period
            now = time.monotonic()
            if now - due > MAX_LAG:
                due = now
                self._warn_of_lag()
        self._source.close()

    def _warn_of_lag(self) -> None:
        if not self._has_warned:
            self._has_warned = True
            self._warn(
                f"playback at {self._rate:g} Hz has fallen {MAX_LAG:g} s behind and goes on from now: frames "
                "cannot be decoded and published so fast, or the machine was suspended; set a lower frame_rate"
            )

    @property
    def problem(self) -> str | None:
        """What of the source could not be read, in words; None where all could."""
        return self._source.problem

    def close(self) -> None:
        """Ends the iteration, from any thread."""
        self._closed.set()


class LivePlayer:
    """Iterates over a camera's newest frames; a thread keeps reading, so that no frame waits in the driver.

    A lost camera is opened again and again, with growing pauses, until it is back. ``rate`` (0: every frame) limits
    how many frames a second are given.
    """

    def __init__(self, camera: LiveCamera, clock: Callable[[], Any], rate: float, warn: Callable[[str], None]) -> None:
        self._camera = camera
        self._clock = clock
        self._period = 1.0 / rate if rate else 0.0
        self._warn = warn
        self._closed = threading.Event()
        self._changed = threading.Condition()
        self._newest: CapturedImage | None = None
        self._failure: Exception | None = None
        # A daemon: a stream that hangs in its driver must not keep the process from ending.
        self._thread = threading.Thread(target=self._run, name="camera", daemon=True)
        self._thread.start()

    def __iter__(self) -> Iterator[CapturedImage]:
        """Waits for a frame newer than the last one given, until `close`. Raises what ended the reading thread."""
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._newest or self._failure or self._closed.is_set())
                if self._closed.is_set():
                    return
                if self._failure is not None:
                    raise self._failure
                frame, self._newest = self._newest, None
            if frame is not None:
                yield frame

    def close(self) -> None:
        """Ends the iteration and lets go of the camera, from any thread."""
        self._closed.set()
        with self._changed:
            self._changed.notify_all()
        self._thread.join(timeout=1.0)

    def _run(self) -> None:
        """The reading thread; an error in it must not leave the iteration waiting for ever."""
        try:
            self._read()
        except Exception as error:  # carried to whoever iterates
            with self._changed:
                self._failure = error
                self._changed.notify_all()
        finally:
            self._camera.close()

    def _read(self) -> None:
        due, pause = 0.0, FIRST_RETRY
        while not self._closed.is_set():
            if not self._camera.grab():
                pause = self._reopen(pause)
                continue
            now, stamp, pause = time.monotonic(), self._clock(), FIRST_RETRY
            if now < due - 0.25 * self._period:  # the margin: a camera of just this rate jitters
                continue
            image = self._camera.retrieve()
            if image is None:
                continue
            due = (due if now - due < self._period else now) + self._period
            with self._changed:
                self._newest = CapturedImage(image, stamp)
                self._changed.notify_all()

    def _reopen(self, pause: float) -> float:
        """Tries until the camera is open; the first attempt comes after ``pause`` seconds. Returns the next pause."""
        self._warn(f"camera {self._camera.name} gives no frames; trying to open it again")
        self._camera.close()
        while not self._closed.wait(pause):
            pause = min(2.0 * pause, LAST_RETRY)
            try:
                self._camera.open()
            except SourceError as error:
                self._warn(f"{error}; next attempt in {pause:g} s")
            else:
                break
        return pause
