"""Work in threads whose results keep their order, so that no result depends on the number of threads.

NumPy releases the interpreter while it computes, so threads suffice and nothing is copied.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")
_AHEAD = 2
"""Items that wait for each thread; more would only fill the memory."""


def in_order(function: Callable[[T], R], items: Iterable[T], workers: int = 1) -> Iterator[tuple[T, R]]:
    """Yield each item with the function's result, in the order of the items.

    Args:
        function: must not depend on earlier calls.
        items: read in this thread.
        workers: number of threads; with 1 the function runs in this thread.
    """
    if workers <= 1:
        for item in items:
            yield item, function(item)
        return
    waiting: deque[tuple[T, Future[R]]] = deque()
    with ThreadPoolExecutor(workers) as pool:
        for item in items:
            waiting.append((item, pool.submit(function, item)))
            if len(waiting) > workers * _AHEAD:
                first, future = waiting.popleft()
                yield first, future.result()
        for first, future in waiting:
            yield first, future.result()
