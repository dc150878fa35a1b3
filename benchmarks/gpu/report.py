"""The page: what was found, step by step, in the form of docs/benchmarks.md."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from depth_anything_ros.system.atomic_file import atomic_write

NOTHING: dict[str, Any] = {"tables": {}, "checks": [], "notes": []}
LAST_LINES = 24
"""Of what a step printed, where it is not done."""
MAX_PRINTED = 200_000
"""Characters of what a step printed that are kept, of its beginning and of its end."""
ENDED = {
    "running": "This step was running when this was written",
    "failed": "This step failed",
    "out of time": "This step was ended by its time limit",
    "stopped": "This step was stopped from outside, with this command",
}


@dataclass(frozen=True)
class Outcome:
    """How a step ended: "done" or a key of `ENDED`; all that it printed; and what it found, as `Results` writes it."""

    name: str
    title: str
    ended: str
    seconds: float
    printed: str
    found: dict[str, Any]

    @property
    def is_good(self) -> bool:
        """Whether it came to its end, and all that it checked holds."""
        return self.ended == "done" and all(check["passed"] for check in self.found["checks"])

    def lines(self) -> list[str]:
        """Its part of the page, in Markdown."""
        lines = [f"## {self.title}", "", *self._end()]
        for note in self.found["notes"]:
            lines += [note, ""]
        for name, rows in self.found["tables"].items():
            lines += [f"{name}:", "", *table(rows), ""]
        return lines + self._checks()

    def _end(self) -> list[str]:
        if self.ended == "done":
            return []
        said = f"**{ENDED[self.ended]}**, after {self.seconds:.0f} s; what it had found until then follows."
        if self.ended == "running":
            return [said, ""]
        return [f"{said} It said:", "", "```", *self.printed.splitlines()[-LAST_LINES:], "```", ""]

    def _checks(self) -> list[str]:
        checks = self.found["checks"]
        failed = [check for check in checks if not check["passed"]]
        lines = [f"{len(checks) - len(failed)} of {len(checks)} checks hold.", ""] if checks else []
        lines += [f"- **does not hold**: {check['name']}: {check['detail']}" for check in failed]
        return lines + [""] * bool(failed)


class Report:
    """The report's files, whole at any moment: before the first step, while one runs, and after each.

    Args:
        folder: where they are.
        is_dry: whether numbers mean nothing.
        titles: of all steps that are to come.
    """

    def __init__(self, folder: Path, is_dry: bool, titles: Sequence[str]) -> None:
        self._folder, self._is_dry, self._titles = folder, is_dry, titles
        self.outcomes: list[Outcome] = []
        self._write([])

    def show_running(self, outcome: Outcome) -> None:
        """Writes what a step has found that is not done."""
        self._write([*self.outcomes, outcome])

    def add(self, outcome: Outcome) -> None:
        """Adds a step that has ended."""
        self.outcomes.append(outcome)
        self._write(self.outcomes)

    def _write(self, outcomes: Sequence[Outcome]) -> None:
        all_of_it = [{name: value for name, value in asdict(one).items() if name != "printed"} for one in outcomes]
        atomic_write(self._folder / "report.json", json.dumps(all_of_it, indent=2).encode())
        atomic_write(self._folder / "report.md", page(outcomes, self._is_dry, self._titles).encode())
        logs = "".join(f"==== {one.name}\n{_both_ends(one.printed)}\n" for one in outcomes)
        atomic_write(self._folder / "logs.txt", logs.encode(errors="replace"))


def page(outcomes: Sequence[Outcome], is_dry: bool, titles: Sequence[str] = ()) -> str:
    """Markdown. ``titles``: of all steps; those that have not begun are named."""
    lines = ["# Measured on a GPU" if not is_dry else "# Dry run on a processor: numbers mean nothing", ""]
    if missing := titles[len(outcomes) :]:
        lines += [f"Not begun: {', '.join(missing)}.", ""]
    for outcome in outcomes:
        lines += outcome.lines()
    return "\n".join(lines).rstrip() + "\n"


def table(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """A Markdown table; columns are all names, in the order in which they come."""
    names = list(dict.fromkeys(name for row in rows for name in row))
    lines = ["| " + " | ".join(names) + " |", "|" + "---|" * len(names)]
    return lines + ["| " + " | ".join(_text(row.get(name, "")) for name in names) + " |" for row in rows]


def _text(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    return str(value).replace("|", "/").replace("\n", " ")


def _both_ends(text: str) -> str:
    if len(text) <= 2 * MAX_PRINTED:
        return text
    return f"{text[:MAX_PRINTED]}\n… {len(text) - 2 * MAX_PRINTED} characters …\n{text[-MAX_PRINTED:]}"
