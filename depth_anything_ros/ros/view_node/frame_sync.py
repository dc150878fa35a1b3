"""Match the messages of one stamp: image, depth and, if it is published, sigma."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Collection
from typing import Any

LEAST_WAITING, MAX_WAITING = 8, 300
"""Minimum and maximum number of incomplete stamps. A slow model takes seconds for an image."""
MAX_BYTES = 1 << 27
"""Maximum bytes of waiting messages beyond `LEAST_WAITING`."""


class FrameSync:
    """A buffer that matches messages by their exact stamp."""

    def __init__(self) -> None:
        self._waiting: OrderedDict[int, dict[str, Any]] = OrderedDict()
        self.expected: Collection[str] = ("image", "depth")

    def add(self, name: str, message: Any) -> dict[str, Any] | None:
        """Add a message. If its stamp is complete, return the messages of the stamp by name.

        A complete stamp drops all older ones.

        Args:
            name: Name of the message's topic.
            message: Any message with a header and data.
        """
        stamp = stamp_of(message)
        messages = self._waiting.setdefault(stamp, {})
        messages[name] = message
        if not set(self.expected) <= messages.keys():
            while len(self._waiting) > LEAST_WAITING and self._is_too_much():
                self._waiting.popitem(last=False)
            return None
        for other in [other for other in self._waiting if other <= stamp]:
            del self._waiting[other]
        return messages

    def _is_too_much(self) -> bool:
        size = sum(len(message.data) for messages in self._waiting.values() for message in messages.values())
        return len(self._waiting) > MAX_WAITING or size > MAX_BYTES


def stamp_of(message: Any) -> int:
    """Return a message's stamp in nanoseconds."""
    stamp = message.header.stamp
    return int(stamp.sec) * 1_000_000_000 + int(stamp.nanosec)
