"""The progress of long work, on standard error.

On a terminal it is tqdm's bar, or one line that is rewritten if tqdm is not installed; in a file, a line now and then.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Iterator
from typing import Protocol, TypeVar

Item = TypeVar("Item")

SECONDS = 0.5
"""Interval at which the line on a terminal is rewritten."""
SECONDS_IN_FILE = 30.0
"""Interval of the lines in a file."""


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
    if not sys.stderr.isatty():
        return _Lines(title, unit, total, quiet, delay)
    try:
        from tqdm import tqdm
    except ImportError:
        return _Line(title, unit, total, quiet, delay)
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
    """`Progress` in a file."""

    seconds = SECONDS_IN_FILE

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
        if not self._quiet and time.monotonic() - self._printed > self.seconds:
            self._printed = time.monotonic()
            of = f" of {self._total}" if self._total is not None else ""
            self._print(f"{self._title}: {self._done}{of} {self._unit}{self._text}")

    def set_postfix_str(self, text: str) -> None:
        """Set the text after the count."""
        self._text = f", {text}"

    def _print(self, line: str) -> None:
        print(line, file=sys.stderr, flush=True)


class _Line(_Lines):
    """`Progress` on a terminal without tqdm: one line. The cursor is at its start, so other output replaces it."""

    seconds = SECONDS
    _width = 0

    def __exit__(self, *details: object) -> None:
        """Remove the line: the command reports the result."""
        if self._width:
            self._print("")

    def _print(self, line: str) -> None:
        print(line.ljust(self._width), end="\r", file=sys.stderr, flush=True)
        self._width = len(line)
