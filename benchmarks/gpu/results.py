"""What a step has found so far: rows of tables and checks, on disk as soon as they are there."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from depth_anything_ros.system.atomic_file import atomic_write

Row = dict[str, Any]


class Results:
    """The findings of one step, written after each of them: whatever was reached counts.

    Args:
        path: the JSON file.
        seconds: how long the step may take.
        is_dry: whether checks are checked too.
        is_wrong: whether what was computed is falsified, to see that it is reported.
    """

    def __init__(self, path: Path, seconds: float, is_dry: bool = False, is_wrong: bool = False) -> None:
        self._path, self._is_dry, self._wrong = path, is_dry, is_wrong
        self._ends = time.monotonic() + seconds
        self.tables: dict[str, list[Row]] = {}
        self.checks: list[Row] = []
        self.notes: list[str] = []
        self._write()

    @property
    def seconds_left(self) -> float:
        """Until the step is ended from outside."""
        return self._ends - time.monotonic()

    def add(self, table: str, **row: Any) -> None:
        """Adds a row to a table; its columns are the names, in order."""
        self.tables.setdefault(table, []).append(row)
        self._write()

    def check(self, name: str, passed: bool, detail: str = "") -> None:
        """Adds what must hold, and whether it does."""
        self.checks.append({"name": name, "passed": bool(passed), "detail": detail})
        self._write()

    def judge(self, name: str, values: np.ndarray, judged: Callable[[np.ndarray], tuple[bool, str]]) -> None:
        """Checks what was computed. ``judged``: whether values are right, and how far they are from that.

        In a dry run it is asked about wrong values too, and must notice.
        """
        passed, detail = judged(wrong(values) if self._wrong else values)
        self.check(name, passed, detail)
        if self._is_dry and judged(wrong(values))[0]:
            self.check(f"that wrong values are noticed: {name}", False, "they passed")

    def note(self, text: str) -> None:
        """Adds a sentence."""
        self.notes.append(text)
        self._write()

    def _write(self) -> None:
        found = {"tables": self.tables, "checks": self.checks, "notes": self.notes}
        atomic_write(self._path, json.dumps(found, indent=2, default=_plain).encode())


def _plain(value: Any) -> Any:
    """What JSON does not know, such as a number of NumPy's: one such value must not cost all others."""
    return value.item() if isinstance(value, np.generic) else str(value)


def wrong(values: np.ndarray) -> np.ndarray:
    """Other values of the same shape: upside down, with the other sign."""
    return -values[::-1]
