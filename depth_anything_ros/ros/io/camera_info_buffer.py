"""The camera_info that belongs to an image: the one of the same stamp where the camera sends them in pairs."""

from __future__ import annotations

import threading
from collections import OrderedDict

from sensor_msgs.msg import CameraInfo

CAPACITY = 30
"""Messages that are kept for images yet to come."""
PATIENCE = 0.02
"""Seconds that an image waits for its partner; it is sent within a millisecond or two, or got lost."""
MAX_UNMATCHED = 3
"""Images in a row without a partner after which they do not come in pairs; fewer partners may get lost."""

Stamp = tuple[int, int]


class CameraInfoBuffer:
    """Camera_info messages of one camera, put in by the executor and taken out by the worker."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.clear()

    def clear(self) -> None:
        """Forgets all of them."""
        with self._lock:
            self._by_stamp: OrderedDict[Stamp, CameraInfo] = OrderedDict()
            self._latest: CameraInfo | None = None
            self._alone = MAX_UNMATCHED
            self._missed: Stamp | None = None

    def put(self, info: CameraInfo) -> None:
        """Keeps a message."""
        with self._lock:
            stamp = info.header.stamp.sec, info.header.stamp.nanosec
            self._latest = self._by_stamp[stamp] = info
            self._by_stamp.move_to_end(stamp)
            if stamp == self._missed:  # came just too late: image_transport sends the image first
                self._alone = 0
            if len(self._by_stamp) > CAPACITY:
                self._by_stamp.popitem(last=False)

    def awaits(self, stamp: Stamp) -> bool:
        """Whether the message of that stamp is still to come, since images and camera_info have come in pairs."""
        with self._lock:
            return self._alone < MAX_UNMATCHED and stamp not in self._by_stamp

    def match(self, stamp: Stamp) -> CameraInfo | None:
        """The message of that stamp, else the latest; None while there is none at all. Does not wait."""
        with self._lock:
            self._alone, self._missed = (0, None) if stamp in self._by_stamp else (self._alone + 1, stamp)
            return self._by_stamp.get(stamp, self._latest)
