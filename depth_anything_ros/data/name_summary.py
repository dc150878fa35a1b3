"""A summary of many names: their number and the first of them."""

from __future__ import annotations

from collections.abc import Iterable


class NameSummary:
    """Counts names and keeps the first of them; ``str`` lists these."""

    MAX_NAMED = 20

    def __init__(self, names: Iterable[str] = ()) -> None:
        self.count = 0
        self._names: list[str] = []
        for name in names:
            self.add(name)

    def add(self, name: str) -> None:
        """Count one name."""
        self.count += 1
        if len(self._names) < self.MAX_NAMED:
            self._names.append(name)

    def __str__(self) -> str:
        more = self.count - len(self._names)
        return ", ".join(self._names) + (f" and {more} more" if more else "")
