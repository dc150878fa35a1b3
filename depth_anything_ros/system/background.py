"""Work in threads beside the main one: items that are read ahead, and calls that run later in their order."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterator
from typing import Any, Generic, TypeVar

Item = TypeVar("Item")

POLL = 0.1
"""Seconds after which a waiting thread looks whether it should end."""


class ReadAhead(Generic[Item]):
    """Iterates in a thread of its own, some items ahead. A context manager, which ends the thread.

    An error of the iterator is raised where its item would have come.

    Args:
        items: used by the thread alone.
        capacity: most items that wait.
    """

    def __init__(self, items: Iterator[Item], capacity: int) -> None:
        self._items = items
        self._queue: queue.Queue[tuple[str, Any]] = queue.Queue(capacity)
        self._is_closed = threading.Event()
        self._thread = threading.Thread(target=self._read, name="read ahead", daemon=True)
        self._thread.start()

    def __iter__(self) -> Iterator[Item]:
        while True:
            kind, value = self._queue.get()
            if kind == "end":
                return
            if kind == "error":
                raise value
            yield value

    def __enter__(self) -> ReadAhead[Item]:
        return self

    def __exit__(self, *details: object) -> None:
        self._is_closed.set()
        self._thread.join()

    def _read(self) -> None:
        try:
            for item in self._items:
                if not self._put("item", item):
                    return
        except BaseException as error:
            self._put("error", error)
            return
        self._put("end", None)

    def _put(self, kind: str, value: object) -> bool:
        """Return whether somebody may still read it."""
        while not self._is_closed.is_set():
            try:
                self._queue.put((kind, value), timeout=POLL)
                return True
            except queue.Full:
                continue
        return False


class CallLater:
    """Runs calls in a thread, in their order. A context manager, which waits for all of them.

    The first error ends the calls; it is raised by the next `call`, or at the end of the block.

    Args:
        capacity: most calls that wait; `call` waits for a free place.
    """

    def __init__(self, capacity: int) -> None:
        self._queue: queue.Queue[tuple[Callable[..., object], tuple[Any, ...]] | None] = queue.Queue(capacity)
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._work, name="call later", daemon=True)
        self._thread.start()

    def call(self, function: Callable[..., object], *arguments: Any) -> None:
        """Run a call later.

        Args:
            function: to call.
            arguments: of the call.

        Raises:
            BaseException: an earlier call failed.
        """
        if self._error is not None:
            raise self._error
        self._queue.put((function, arguments))

    def __enter__(self) -> CallLater:
        return self

    def __exit__(self, kind: type[BaseException] | None, *details: object) -> None:
        self._queue.put(None)
        self._thread.join()
        if kind is None and self._error is not None:
            raise self._error

    def _work(self) -> None:
        while (job := self._queue.get()) is not None:
            if self._error is None:
                function, arguments = job
                try:
                    function(*arguments)
                except BaseException as error:
                    self._error = error
