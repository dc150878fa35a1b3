"""The progress of long work, on standard error: tqdm's bar if it is installed, else a line every few seconds."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Iterator
from typing import Protocol, TypeVar

Item = TypeVar("Item")

SECONDS = 5.0
"""Interval of lines without tqdm."""


class Progress(Protocol):
    """A counter of finished items; a context manager."""

    def update(self, done: int = 1) -> object:
        """Count ``done`` more items."""
        ...

    def set_postfix_str(self, text: str) -> object:
        """Set the text after the count."""
        ...

    def __enter__(self) -> Progress: ...

    def __exit__(self, *details: object) -> object: ...


def progress_bar(
    title: str,
    unit: str,
    total: int | None = None,
    *,
    quiet: bool = False,
    leave: bool = True,
    delay: float = 0.0,
) -> Progress:
    """Show how many items are finished.

    Args:
        title: of the bar.
        unit: name of the items, in the plural.
        total: number of items, None if unknown.
        quiet: shows nothing.
        leave: False removes the bar at the end.
        delay: seconds before the bar appears.
    """
    try:
        from tqdm import tqdm
    except ImportError:
        return _Lines(title, unit, total, quiet, delay)
    return tqdm(total=total, desc=title, unit=f" {unit}", disable=quiet, leave=leave, delay=delay)


def track(
    items: Iterable[Item],
    title: str,
    unit: str,
    total: int | None = None,
    *,
    quiet: bool = False,
    leave: bool = True,
    delay: float = 0.0,
) -> Iterator[Item]:
    """Yield the items, and show how many are finished.

    Args:
        items: passed on.
        title: as in `progress_bar`.
        unit: as in `progress_bar`.
        total: as in `progress_bar`.
        quiet: as in `progress_bar`.
        leave: as in `progress_bar`.
        delay: as in `progress_bar`.
    """
    with progress_bar(title, unit, total, quiet=quiet, leave=leave, delay=delay) as bar:
        for item in items:
            yield item
            bar.update(1)


class _Lines:
    """`Progress` without tqdm."""

    def __init__(self, title: str, unit: str, total: int | None, quiet: bool, delay: float) -> None:
        self._title, self._unit, self._total, self._quiet = title, unit, total, quiet
        self._done, self._text, self._printed = 0, "", time.monotonic() + delay

    def __enter__(self) -> _Lines:
        return self

    def __exit__(self, *details: object) -> None:
        """Do nothing: the command reports the result."""

    def update(self, done: int = 1) -> None:
        """Count ``done`` more items."""
        self._done += done
        if not self._quiet and time.monotonic() - self._printed > SECONDS:
            self._printed = time.monotonic()
            of = f" of {self._total}" if self._total is not None else ""
            print(f"{self._title}: {self._done}{of} {self._unit}{self._text}", file=sys.stderr, flush=True)

    def set_postfix_str(self, text: str) -> None:
        """Set the text after the count."""
        self._text = f", {text}"
