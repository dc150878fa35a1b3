"""Temporary signal handlers, and output that is safe inside them."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress


@contextmanager
def signal_handlers(handlers: Mapping[int, Callable]) -> Iterator[None]:
    """Install signal handlers, by signal number, while the block runs; restore the previous ones afterwards.

    Outside the main thread, where Python allows no handlers, nothing changes.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.signal(number, handler) for number, handler in handlers.items()}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def ignore_stop_signals(*_: object) -> None:
    """Ignore Ctrl-C and SIGTERM in a worker process: they reach it too, but its parent handles them."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)


def print_in_handler(text: str) -> None:
    """Write a line to standard error from a signal handler, even if the interrupted thread is printing."""
    with suppress(OSError, AttributeError, ValueError):  # closed, disk full or no reader: the signal still counts
        os.write(sys.stderr.fileno(), f"\n{text}\n".encode())
