"""Decides when a problem is worth a log line: once it persists, and rarely if it comes and goes."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass
class _Reported:
    """A reported problem: how often, when it was last seen, and whether it is due again."""

    times: int
    latest: int
    is_due: bool = False


class PersistentWarning:
    """Decides when to log a problem, from periodic checks.

    A problem is due after ``patience`` checks in a row. A single one is normal: a camera may publish an image just
    before its camera_info. The problem is due again only after an absence of twice as many checks, then 4 times, and
    so on: a camera with an image every ten seconds is silent at every other check.

    Args:
        patience: number of checks in a row.
    """

    MAX_REPORTED = 100
    """Maximum number of different problems; their text may be anything."""
    MAX_DOUBLINGS = 10
    """Maximum number of doublings."""

    def __init__(self, patience: int = 3) -> None:
        self._patience = patience
        self._cause: str | None = None
        self._consecutive, self._checks = 0, 0
        self._reported: dict[str, _Reported] = {}

    def should_report(self, cause: str | None) -> bool:
        """Take the result of a check, None for no problem, and return whether to log it now."""
        self._checks += 1
        self._consecutive = self._consecutive + 1 if cause == self._cause else 1
        self._cause = cause
        if cause is None:
            return False
        lasts, reported = self._consecutive >= self._patience, self._reported.get(cause)
        if reported is None:
            if not lasts or len(self._reported) >= self.MAX_REPORTED:
                return False
            self._reported[cause] = _Reported(1, self._checks)
            return True
        away = self._checks - reported.latest - 1
        reported.latest = self._checks
        reported.is_due |= away >= self._patience * 2 ** min(reported.times, self.MAX_DOUBLINGS)
        if not (lasts and reported.is_due):
            return False
        reported.times, reported.is_due = reported.times + 1, False
        return True
