"""What answers signals for a while."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager


@contextmanager
def answering(handlers: Mapping[int, Callable]) -> Iterator[None]:
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
