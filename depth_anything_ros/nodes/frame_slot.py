"""A place for one frame between the thread that receives and the thread that works: the latest frame wins."""

from __future__ import annotations

import threading
from typing import Generic, TypeVar

Frame = TypeVar("Frame")


class FrameSlot(Generic[Frame]):
    """Holds at most one frame. A newer one replaces it, so that work never falls behind the camera."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._frame: Frame | None = None
        self._closed = False

    def put(self, frame: Frame) -> bool:
        """Leaves a frame for the worker and returns whether that displaced one nobody had taken."""
        with self._changed:
            displaced = self._frame is not None
            self._frame = frame
            self._changed.notify()
        return displaced

    def take(self) -> Frame | None:
        """Waits for a frame and removes it; None once the slot is closed, whatever still lies in it."""
        with self._changed:
            self._changed.wait_for(lambda: self._closed or self._frame is not None)
            frame, self._frame = self._frame, None
            return None if self._closed else frame

    def close(self) -> None:
        """Ends every `take`, now and later."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
