"""Being asked to stop: by SIGTERM, as clusters send before they take a machine away, or by Ctrl-C."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager

from depth_anything_ros.system.signals import print_in_handler, signal_handlers

REPEATED = 1.0
"""Seconds within which a second Ctrl-C is taken for the first: launchers pass on what a terminal sent to all."""


class StoppedError(RuntimeError):
    """What was asked to stop has done so; the message says how it goes on."""


class StopRequest:
    """Whether a process was asked to stop.

    Args:
        announcement: what is said at once when that happens, and ends with; it may be changed meanwhile. "" for a
            process for which another speaks.
    """

    def __init__(self, announcement: str = "") -> None:
        self.announcement = announcement
        self._asked_at: float | None = None
        self._may_raise = False

    @property
    def is_made(self) -> bool:
        """Whether the process was asked to stop."""
        return self._asked_at is not None

    def listening(self) -> AbstractContextManager[None]:
        """Has signals answered here while a block runs; a second Ctrl-C raises `KeyboardInterrupt` at once."""
        return signal_handlers({signal.SIGTERM: self._answer, signal.SIGINT: self._answer})

    @contextmanager
    def interrupting(self) -> Iterator[None]:
        """Raises `StoppedError` out of a block as soon as the process is asked to stop, or was before it."""
        self._may_raise = True
        try:
            self._raise_if_made()
            yield
        finally:
            self._may_raise = False

    def _raise_if_made(self) -> None:
        if self.is_made and self._may_raise:
            self._may_raise = False  # once: what is done about it is not to be interrupted
            raise StoppedError("stopped, as asked")

    def _answer(self, number: int, _: object) -> None:
        now = time.monotonic()
        if self._asked_at is None:
            self._asked_at = now
            if self.announcement:
                print_in_handler(self.announcement)
        elif number == signal.SIGINT and now - self._asked_at > REPEATED:
            raise KeyboardInterrupt
        self._raise_if_made()
