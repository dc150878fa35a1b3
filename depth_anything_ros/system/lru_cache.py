"""What is kept between frames, and how it is kept from growing."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import TypeVar

Key = TypeVar("Key")
Value = TypeVar("Value")


class LruCache(OrderedDict[Key, Value]):
    """At most so many values by key, the one used last at the end."""

    def __init__(self, most: int) -> None:
        super().__init__()
        self._most = most

    def obtain(self, key: Key, make: Callable[[], Value]) -> Value:
        """The value for a key, made if there is none, in the place of the one that was not used for longest."""
        if key not in self:
            while len(self) >= self._most:  # before it is made: both may not fit into the memory
                self.popitem(last=False)
            self[key] = make()
        self.move_to_end(key)
        return self[key]
