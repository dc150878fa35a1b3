"""Whether an image's stamp follows those before it: duplicates and latecomers out, jumps of time through."""

from __future__ import annotations

import threading

MAX_DISORDER = 1_000_000_000
"""Nanoseconds that an image may be older than the newest one and count as late; older means that time went back."""
PATIENCE = 3
"""Images in a row, each newer than the one before but older than the newest, that mean the same."""


class StampOrder:
    """The stamps of one camera, in nanoseconds. A stamp of zero means that the driver gives none, and passes.

    Safe to use from several threads. ``jumps`` counts how often time has gone back.
    """

    def __init__(self) -> None:
        self.jumps = 0
        self._lock = threading.Lock()
        self.reset()

    def reset(self) -> None:
        """Forgets all stamps: the clock was set, or the camera was not listened to."""
        with self._lock:
            self._newest: int | None = None
            self._late: int | None = None
            self._in_a_row = 0

    def fault(self, stamp: int) -> str | None:
        """Why an image is to be dropped, "duplicate stamp" or "out of order"; None where it may pass."""
        with self._lock:
            return self._judge(stamp)

    def _judge(self, stamp: int) -> str | None:
        if stamp == 0 or self._newest is None or stamp > self._newest:
            self._accept(stamp)
            return None
        if stamp in (self._newest, self._late):
            return "duplicate stamp"
        self._in_a_row = self._in_a_row + 1 if self._late is not None and stamp > self._late else 1
        self._late = stamp
        if self._newest - stamp > MAX_DISORDER or self._in_a_row >= PATIENCE:
            self.jumps += 1
            self._accept(stamp)
            return None
        return "out of order"

    def _accept(self, stamp: int) -> None:
        if stamp:
            self._newest, self._late, self._in_a_row = stamp, None, 0
