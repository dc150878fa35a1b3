"""Pace the frames of a source: every frame of a file at its rate, the newest frame of a live camera."""

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
"""Seconds of lag that playback still catches up. After more (a suspended machine) the schedule restarts."""
FIRST_RETRY, LAST_RETRY = 0.5, 10.0
"""Seconds before a lost camera is reopened: the first pause, and the limit of its doubling."""


@dataclass(frozen=True)
class CapturedImage:
    """One image, uint8 BGR (H, W, 3), and the clock's time when it was captured."""

    image: np.ndarray
    stamp: Any


class FilePlayer:
    """An iterator over all frames of a file, on a schedule that does not drift.

    Args:
        source: the file or files to play.
        clock: returns the timestamp of a frame.
        rate: frames per second; 0 uses the source's own.
        loop: whether to start again after the last frame.
        warn: receives one warning if playback cannot keep up.
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
        """Yield each frame when it is due, until the end or `close`. Raises `SourceError`."""
        due: float | None = None
        while True:
            image = self._source.read()  # decoded before it is due
            if image is None:
                if not self._loop:
                    break
                self._source.rewind()
                continue
            if due is None:  # the first decoding can take long, so the schedule starts after it
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
                f"playback at {self._rate:g} Hz is {MAX_LAG:g} s late and restarts its schedule: decoding and "
                "publishing are too slow, or the machine was suspended; set a lower frame_rate (command camera: --rate)"
            )

    @property
    def problem(self) -> str | None:
        """The part of the source that could not be read, as text; None if all could."""
        return self._source.problem

    def close(self) -> None:
        """End the iteration. Any thread may call it."""
        self._closed.set()


class LivePlayer:
    """An iterator over a camera's newest frames. A thread keeps reading, so that no frame waits in the driver.

    A lost camera is reopened until it is back, with growing pauses.

    Args:
        camera: the open camera; `close` closes it.
        clock: returns the timestamp of a frame.
        rate: most frames per second to yield; 0 yields every frame.
        warn: receives a line for each lost camera and each failed attempt to reopen it.
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
        # A daemon thread: a stream that blocks in its driver must not keep the process alive.
        self._thread = threading.Thread(target=self._run, name="camera", daemon=True)
        self._thread.start()

    def __iter__(self) -> Iterator[CapturedImage]:
        """Wait for the next new frame and yield it, until `close`. Raises the error that ended the reading thread."""
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
        """End the iteration and release the camera. Any thread may call it."""
        self._closed.set()
        with self._changed:
            self._changed.notify_all()
        self._thread.join(timeout=1.0)

    def _run(self) -> None:
        """Run the reading thread. An error in it must not leave the iteration waiting forever."""
        try:
            self._read()
        except Exception as error:  # the iteration raises it
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
            if now < due - 0.25 * self._period:  # the margin allows for the jitter of a camera at exactly this rate
                continue
            image = self._camera.retrieve()
            if image is None:
                continue
            due = (due if now - due < self._period else now) + self._period
            with self._changed:
                self._newest = CapturedImage(image, stamp)
                self._changed.notify_all()

    def _reopen(self, pause: float) -> float:
        """Reopen the camera, first after ``pause`` seconds, until it succeeds. Return the next pause."""
        self._warn(f"camera {self._camera.name} gives no frames; reopening it")
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
