"""How far a command has come, on standard error: tqdm's bar where it is installed, else a line every few seconds."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Iterator
from typing import Protocol, TypeVar

Item = TypeVar("Item")

SECONDS = 5.0
"""Between two lines, where there is no bar."""


class Progress(Protocol):
    """What counts things that are done; a context manager."""

    def update(self, done: int = 1) -> object:
        """So many more are done."""
        ...

    def set_postfix_str(self, text: str) -> object:
        """What is said behind the count."""
        ...

    def __enter__(self) -> Progress: ...

    def __exit__(self, *details: object) -> object: ...


def progress(title: str, unit: str, total: int | None = None, *, quiet: bool = False, leave: bool = True) -> Progress:
    """Shows how many of ``total`` are done, of an unknown number where it is None.

    ``unit`` is what one of them is called, in the plural. A bar that is not to ``leave`` goes when it ends.
    """
    try:
        from tqdm import tqdm
    except ImportError:
        return _Lines(title, unit, total, quiet)
    return tqdm(total=total, desc=title, unit=f" {unit}", disable=quiet, leave=leave)


def shown(
    items: Iterable[Item], title: str, unit: str, total: int | None = None, *, quiet: bool = False, leave: bool = True
) -> Iterator[Item]:
    """Passes the items on, and shows how many have been dealt with."""
    with progress(title, unit, total, quiet=quiet, leave=leave) as bar:
        for item in items:
            yield item
            bar.update(1)


class _Lines:
    """`Progress` without tqdm."""

    def __init__(self, title: str, unit: str, total: int | None, quiet: bool) -> None:
        self._title, self._unit, self._total, self._quiet = title, unit, total, quiet
        self._done, self._text, self._said = 0, "", time.monotonic()

    def __enter__(self) -> _Lines:
        return self

    def __exit__(self, *details: object) -> None:
        """Nothing is left to be done: what has been reached is said by the command."""

    def update(self, done: int = 1) -> None:
        """See `Progress`."""
        self._done += done
        if not self._quiet and time.monotonic() - self._said > SECONDS:
            self._said = time.monotonic()
            of = f" of {self._total}" if self._total is not None else ""
            print(f"{self._title}: {self._done}{of} {self._unit}{self._text}", file=sys.stderr, flush=True)

    def set_postfix_str(self, text: str) -> None:
        """See `Progress`."""
        self._text = f", {text}"
