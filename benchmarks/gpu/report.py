"""The report: the findings of each step, in the form of docs/benchmarks.md."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from depth_anything_ros.system.atomic_file import atomic_write

NOTHING: dict[str, Any] = {"tables": {}, "checks": [], "notes": []}
LAST_LINES = 24
"""Number of output lines of an unfinished step that the report shows."""
MAX_PRINTED = 200_000
"""Maximum characters of a step's output in logs.txt, from its beginning and from its end."""
ENDED = {
    "running": "This step was still running",
    "failed": "This step failed",
    "out of time": "This step was ended by its time limit",
    "stopped": "This step was stopped from outside, with this command",
}


@dataclass(frozen=True)
class Outcome:
    """The end of a step: "done" or a key of `ENDED`, its whole output, and its findings, as `Results` writes them."""

    name: str
    title: str
    ended: str
    seconds: float
    printed: str
    found: dict[str, Any]

    @property
    def is_good(self) -> bool:
        """Return whether the step is done and all of its checks passed."""
        return self.ended == "done" and all(check["passed"] for check in self.found["checks"])

    def lines(self) -> list[str]:
        """Return its part of the report, in Markdown."""
        lines = [f"## {self.title}", "", *self._end()]
        for note in self.found["notes"]:
            lines += [note, ""]
        for name, rows in self.found["tables"].items():
            lines += [f"{name}:", "", *table(rows), ""]
        return lines + self._checks()

    def _end(self) -> list[str]:
        if self.ended == "done":
            return []
        text = f"**{ENDED[self.ended]}**, after {self.seconds:.0f} s; its findings until then follow."
        if self.ended == "running":
            return [text, ""]
        return [f"{text} Its output:", "", "```", *self.printed.splitlines()[-LAST_LINES:], "```", ""]

    def _checks(self) -> list[str]:
        checks = self.found["checks"]
        failed = [check for check in checks if not check["passed"]]
        lines = [f"{len(checks) - len(failed)} of {len(checks)} checks passed.", ""] if checks else []
        lines += [f"- **failed**: {check['name']}: {check['detail']}" for check in failed]
        return lines + [""] * bool(failed)


class Report:
    """The report's files, complete at any moment: before the first step, while one runs, and after each.

    Args:
        folder: Folder of the files.
        is_dry: whether this is a dry run, whose numbers have no meaning.
        titles: Titles of all steps.
    """

    def __init__(self, folder: Path, is_dry: bool, titles: Sequence[str]) -> None:
        self._folder, self._is_dry, self._titles = folder, is_dry, titles
        self.outcomes: list[Outcome] = []
        self._write([])

    def show_running(self, outcome: Outcome) -> None:
        """Write the findings of a step that still runs."""
        self._write([*self.outcomes, outcome])

    def add(self, outcome: Outcome) -> None:
        """Add a step that has ended."""
        self.outcomes.append(outcome)
        self._write(self.outcomes)

    def _write(self, outcomes: Sequence[Outcome]) -> None:
        values = [{name: value for name, value in asdict(one).items() if name != "printed"} for one in outcomes]
        atomic_write(self._folder / "report.json", json.dumps(values, indent=2).encode())
        atomic_write(self._folder / "report.md", page(outcomes, self._is_dry, self._titles).encode())
        logs = "".join(f"==== {one.name}\n{_both_ends(one.printed)}\n" for one in outcomes)
        atomic_write(self._folder / "logs.txt", logs.encode(errors="replace"))


def page(outcomes: Sequence[Outcome], is_dry: bool, titles: Sequence[str] = ()) -> str:
    """Return the report in Markdown.

    Args:
        outcomes: Outcomes of the steps so far.
        is_dry: whether this is a dry run.
        titles: Titles of all steps; the report lists those that have not started.
    """
    lines = ["# Measured on a GPU" if not is_dry else "# Dry run on a processor: numbers have no meaning", ""]
    if missing := titles[len(outcomes) :]:
        lines += [f"Not started: {', '.join(missing)}.", ""]
    for outcome in outcomes:
        lines += outcome.lines()
    return "\n".join(lines).rstrip() + "\n"


def table(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return a Markdown table; its columns are all names, in order of appearance."""
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
