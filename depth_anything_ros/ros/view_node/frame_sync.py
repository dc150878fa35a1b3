"""Collects the messages of one stamp: image, depth, camera_info and, if it is published, sigma."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Collection
from typing import Any

MAX_WAITING = 8
"""Stamps that wait for the rest of their messages. Images whose depth is never computed are among them."""


class FrameSync:
    """Matches messages by their exact stamp."""

    def __init__(self) -> None:
        self._waiting: OrderedDict[int, dict[str, Any]] = OrderedDict()
        self.expected: Collection[str] = ()

    def add(self, name: str, message: Any) -> dict[str, Any] | None:
        """Add a message; return all messages of its stamp, by name, if this was the last one that is expected.

        Older stamps are forgotten then: the newest frame wins.

        Args:
            name: of the message's topic.
            message: any message with a header.
        """
        stamp = stamp_of(message)
        messages = self._waiting.setdefault(stamp, {})
        messages[name] = message
        if not set(self.expected) <= messages.keys():
            while len(self._waiting) > MAX_WAITING:
                self._waiting.popitem(last=False)
            return None
        for other in [other for other in self._waiting if other <= stamp]:
            del self._waiting[other]
        return messages


def stamp_of(message: Any) -> int:
    """Return a message's stamp in nanoseconds."""
    stamp = message.header.stamp
    return int(stamp.sec) * 1_000_000_000 + int(stamp.nanosec)
