"""A cache of bounded size for values that are kept between frames."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import TypeVar

Key = TypeVar("Key")
Value = TypeVar("Value")


class LruCache(OrderedDict[Key, Value]):
    """At most ``max_size`` values by key, the last used at the end."""

    def __init__(self, max_size: int) -> None:
        super().__init__()
        self._max_size = max_size

    def obtain(self, key: Key, make: Callable[[], Value]) -> Value:
        """Return the value of a key. Make it if it is missing, and drop the least recently used value.

        Args:
            key: of the value.
            make: creates a missing value; called after the drop, since memory may not hold both.
        """
        if key not in self:
            while len(self) >= self._max_size:  # before make: memory may not hold both
                self.popitem(last=False)
            self[key] = make()
        self.move_to_end(key)
        return self[key]
