"""Match camera_info to images: the message with the same timestamp if the camera sends them in pairs."""

from __future__ import annotations

import threading
from collections import OrderedDict
from typing import Any

CAPACITY = 30
"""Number of messages kept for later images."""
PATIENCE = 0.02
"""Seconds that an image waits for its camera_info, which arrives within a millisecond or two unless it is lost."""
MAX_UNMATCHED = 3
"""Consecutive images without camera_info after which they do not count as pairs. Fewer messages may get lost."""

Stamp = tuple[int, int]


class CameraInfoBuffer:
    """The camera_info messages of one camera. The executor puts them in, the worker takes them out. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.clear()

    def clear(self) -> None:
        """Remove all messages."""
        with self._lock:
            self._by_stamp: OrderedDict[Stamp, Any] = OrderedDict()
            self._latest: Any = None
            self._alone = MAX_UNMATCHED
            self._missed: Stamp | None = None

    def put(self, info: Any) -> None:
        """Add a message."""
        with self._lock:
            stamp = info.header.stamp.sec, info.header.stamp.nanosec
            self._latest = self._by_stamp[stamp] = info
            self._by_stamp.move_to_end(stamp)
            if stamp == self._missed:  # it arrived just too late: image_transport sends the image first
                self._alone = 0
            if len(self._by_stamp) > CAPACITY:
                self._by_stamp.popitem(last=False)

    def awaits(self, stamp: Stamp) -> bool:
        """Return whether this timestamp's message is still expected, because images and camera_info come in pairs."""
        with self._lock:
            return self._alone < MAX_UNMATCHED and stamp not in self._by_stamp

    def match(self, stamp: Stamp) -> Any:
        """Return the message with this timestamp, else the latest; None if there is none. Do not wait."""
        with self._lock:
            self._alone, self._missed = (0, None) if stamp in self._by_stamp else (self._alone + 1, stamp)
            return self._by_stamp.get(stamp, self._latest)
