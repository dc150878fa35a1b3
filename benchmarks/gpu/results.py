"""The findings of a step: rows of tables and checks, written to disk at once."""

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
    """The findings of one step, written after each of them, so that a failure loses none.

    Args:
        path: the JSON file.
        seconds: time limit of the step.
        is_dry: whether each check must also fail for wrong values.
        is_wrong: whether to falsify values, to test that this is reported.
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
        """Return the seconds until the step is ended from outside."""
        return self._ends - time.monotonic()

    def add(self, table: str, **row: Any) -> None:
        """Add a row to a table; its columns are the names, in order."""
        self.tables.setdefault(table, []).append(row)
        self._write()

    def check(self, name: str, passed: bool, detail: str = "") -> None:
        """Add a check.

        Args:
            name: what must be true.
            passed: whether it is.
            detail: for a failed check.
        """
        self.checks.append({"name": name, "passed": bool(passed), "detail": detail})
        self._write()

    def judge(self, name: str, values: np.ndarray, judged: Callable[[np.ndarray], tuple[bool, str]]) -> None:
        """Check values. In a dry run, the check must fail for wrong values.

        Args:
            name: what must be true.
            values: computed by the step.
            judged: returns whether values are correct, and their deviation in words.
        """
        passed, detail = judged(wrong(values) if self._wrong else values)
        self.check(name, passed, detail)
        if self._is_dry and judged(wrong(values))[0]:
            self.check(f"wrong values are detected: {name}", False, "they passed")

    def note(self, text: str) -> None:
        """Add a sentence."""
        self.notes.append(text)
        self._write()

    def _write(self) -> None:
        values = {"tables": self.tables, "checks": self.checks, "notes": self.notes}
        atomic_write(self._path, json.dumps(values, indent=2, default=_plain).encode())


def _plain(value: Any) -> Any:
    """Convert values that JSON does not support, such as NumPy's numbers, so that one cannot lose all others."""
    return value.item() if isinstance(value, np.generic) else str(value)


def wrong(values: np.ndarray) -> np.ndarray:
    """Return wrong values of the same shape: upside down, with the opposite sign."""
    return -values[::-1]
