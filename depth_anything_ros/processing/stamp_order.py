"""A filter on timestamps: it rejects repeated and out-of-order ones, and accepts jumps back in time.

`max_age` is checked in `image_input`.
"""

from __future__ import annotations

import threading

MAX_DISORDER = 1_000_000_000
"""Nanoseconds by which an image may be older than the newest one and count as late. More is a jump back in time."""
MAX_LATE_IN_A_ROW = 3
"""Consecutive late images with increasing timestamps that also count as a jump back in time."""


class StampOrder:
    """The timestamps of one camera, in nanoseconds. A timestamp of zero means that the driver sets none; it passes.

    Thread-safe. ``jumps`` counts the jumps back in time.
    """

    def __init__(self) -> None:
        self.jumps = 0
        self._lock = threading.Lock()
        self.reset()

    def reset(self) -> None:
        """Forget all timestamps, after a change of the clock or a pause of the subscription."""
        with self._lock:
            self._newest: int | None = None
            self._late: int | None = None
            self._in_a_row = 0

    def fault(self, stamp: int) -> str | None:
        """Return the reason to drop an image, "duplicate stamp" or "out of order"; None if it passes."""
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
        if self._newest - stamp > MAX_DISORDER or self._in_a_row >= MAX_LATE_IN_A_ROW:
            self.jumps += 1
            self._accept(stamp)
            return None
        return "out of order"

    def _accept(self, stamp: int) -> None:
        if stamp:
            self._newest, self._late, self._in_a_row = stamp, None, 0
