"""Requests to stop: SIGTERM, as clusters send before they take a machine away, or Ctrl-C."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager

from depth_anything_ros.system.signals import print_in_handler, signal_handlers

REPEATED = 1.0
"""Seconds within which a second Ctrl-C counts as the first: launchers repeat what a terminal sends to all processes."""


class StoppedError(RuntimeError):
    """The work has stopped on request; the message describes how to continue."""


class StopRequest:
    """Whether a process was requested to stop.

    Args:
        announcement: printed at once on the request; it may be changed later. "" for a process that prints nothing.
    """

    def __init__(self, announcement: str = "") -> None:
        self.announcement = announcement
        self._requested_at: float | None = None
        self._may_raise = False

    @property
    def is_made(self) -> bool:
        """Whether the process was requested to stop."""
        return self._requested_at is not None

    def listening(self) -> AbstractContextManager[None]:
        """Handle SIGTERM and SIGINT while a block runs; a second Ctrl-C raises `KeyboardInterrupt` at once."""
        return signal_handlers({signal.SIGTERM: self._answer, signal.SIGINT: self._answer})

    @contextmanager
    def interrupting(self) -> Iterator[None]:
        """Raise `StoppedError` in the block as soon as the process is requested to stop, or at once if it was."""
        self._may_raise = True
        try:
            self._raise_if_made()
            yield
        finally:
            self._may_raise = False

    def _raise_if_made(self) -> None:
        if self.is_made and self._may_raise:
            self._may_raise = False  # once, so that the cleanup is not interrupted
            raise StoppedError("stopped on request")

    def _answer(self, number: int, _: object) -> None:
        now = time.monotonic()
        if self._requested_at is None:
            self._requested_at = now
            if self.announcement:
                print_in_handler(self.announcement)
        elif number == signal.SIGINT and now - self._requested_at > REPEATED:
            raise KeyboardInterrupt
        self._raise_if_made()
