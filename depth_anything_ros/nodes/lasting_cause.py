"""Naming a trouble once, and only if it lasts."""

from __future__ import annotations


class LastingCause:
    """Says when a trouble is worth a line in the log: at its third frame in a row, and once until it changes.

    A camera may well publish an image just before its camera_info; that alone is no trouble.
    """

    def __init__(self, patience: int = 3) -> None:
        self._patience = patience
        self._cause: str | None = None
        self._frames = 0

    def is_news(self, cause: str | None) -> bool:
        """Takes a frame's trouble, None for none, and returns whether to name it now."""
        self._frames = self._frames + 1 if cause == self._cause else 1
        self._cause = cause
        return cause is not None and self._frames == self._patience
