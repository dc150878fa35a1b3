"""Naming a trouble once, only if it lasts, and not again and again if it comes and goes."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass
class _Named:
    """A trouble that was named: how often, at which look it was there last, and whether it is to be named again."""

    times: int
    latest: int
    is_due: bool = False


class PersistentWarning:
    """Says when a trouble is worth a line in the log, from looks at what the trouble is, if any.

    It is once it has been there for ``patience`` looks in a row: a camera may well publish an image just before its
    camera_info; that alone is no trouble. It is again only after it has stayed away for twice as many looks, then for 4
    times as many, and so on: a camera that takes an image every ten seconds is silent at every other look in five.
    """

    MAX_NAMED = 100
    """Different troubles that are named; what they say may be anything."""
    MAX_DOUBLINGS = 10
    """Doublings at most."""

    def __init__(self, patience: int = 3) -> None:
        self._patience = patience
        self._cause: str | None = None
        self._in_a_row, self._looks = 0, 0
        self._named: dict[str, _Named] = {}

    def should_report(self, cause: str | None) -> bool:
        """Takes what a look has found, None for no trouble, and returns whether to name it now."""
        self._looks += 1
        self._in_a_row = self._in_a_row + 1 if cause == self._cause else 1
        self._cause = cause
        if cause is None:
            return False
        lasts, named = self._in_a_row >= self._patience, self._named.get(cause)
        if named is None:
            if not lasts or len(self._named) >= self.MAX_NAMED:
                return False
            self._named[cause] = _Named(1, self._looks)
            return True
        away = self._looks - named.latest - 1
        named.latest = self._looks
        named.is_due |= away >= self._patience * 2 ** min(named.times, self.MAX_DOUBLINGS)
        if not (lasts and named.is_due):
            return False
        named.times, named.is_due = named.times + 1, False
        return True
