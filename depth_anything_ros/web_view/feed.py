"""The latest frame, from the thread that receives it to the browsers. Each browser takes the newest when ready."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from depth_anything_ros.web_view.frames import ViewFrame, encode_frame


class Feed:
    """A buffer of one frame. It is encoded once for all browsers, and only if one waits for it.

    Args:
        on_viewers: Called in the server's thread when the first browser connects (True) or the last one leaves (False).
    """

    def __init__(self, on_viewers: Callable[[bool], None]) -> None:
        self._on_viewers = on_viewers
        self._lock = threading.Lock()
        self._frame: ViewFrame | None = None
        self._number = 0
        self._loop: asyncio.AbstractEventLoop | None = None
        self._arrival: asyncio.Event | None = None
        self._encoding: tuple[int, asyncio.Task[bytes]] | None = None
        self._viewers = 0

    def attach(self, loop: asyncio.AbstractEventLoop) -> None:
        """Use this event loop. Must be called in its thread, before a browser connects."""
        self._loop, self._arrival = loop, asyncio.Event()

    def publish(self, frame: ViewFrame) -> None:
        """Replace the frame, if a browser is connected. For any thread; the arrays must not change afterwards."""
        with self._lock:
            if not self._viewers:
                return
            self._frame, self._number = frame, self._number + 1
        if self._loop is not None:
            try:
                self._loop.call_soon_threadsafe(self._wake)
            except RuntimeError:  # the server has ended
                self._loop = None

    @property
    def viewers(self) -> int:
        """Number of connected browsers."""
        return self._viewers

    @contextmanager
    def viewer(self) -> Iterator[None]:
        """Count a browser while the block runs."""
        self._viewers += 1
        if self._viewers == 1:
            self._on_viewers(True)
        try:
            yield
        finally:
            with self._lock:
                self._viewers -= 1
                is_last = not self._viewers
                if is_last:
                    self._frame, self._encoding = None, None  # so that the next browser gets no old frame
            if is_last:
                self._on_viewers(False)

    async def newer(self, number: int) -> tuple[int, bytes]:
        """Wait for a frame after the one with this number; return its number and its message."""
        assert self._arrival is not None  # set by `attach`
        while self._frame is None or self._number <= number:
            await self._arrival.wait()
        return await self._encoded()

    def _wake(self) -> None:
        assert self._arrival is not None
        self._arrival.set()  # wakes all waiting browsers
        self._arrival = asyncio.Event()

    async def _encoded(self) -> tuple[int, bytes]:
        if self._encoding is None or self._encoding[0] != self._number:
            with self._lock:
                frame, number = self._frame, self._number
            assert frame is not None  # `newer` waited for it
            self._encoding = number, asyncio.ensure_future(asyncio.to_thread(encode_frame, frame, number))
        number, task = self._encoding
        return number, await asyncio.shield(task)
