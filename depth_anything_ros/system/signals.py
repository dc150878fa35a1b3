"""What answers signals for a while, and what it may say."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress


@contextmanager
def handling(handlers: Mapping[int, Callable]) -> Iterator[None]:
    """Has these functions answer signals, by number, while the block runs, and who answered before afterwards.

    Outside the main thread, where Python lets nobody choose, all stays as it is.
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


def ignore_stopping(*_: object) -> None:
    """Has a process that works for another leave Ctrl-C, and a cluster's SIGTERM, which reach it too, to that one."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)


def say_at_once(text: str) -> None:
    """Writes a line to standard error from a signal handler, whatever the thread that it interrupts is printing."""
    with suppress(OSError, AttributeError, ValueError):  # closed, a full disk, or nobody reads: the signal counts
        os.write(sys.stderr.fileno(), f"\n{text}\n".encode())
