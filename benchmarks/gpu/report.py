"""The page: what was found, step by step, in the form of docs/benchmarks.md."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any


def page(outcomes: Sequence[Mapping[str, Any]], is_dry: bool) -> str:
    """Markdown. ``outcomes``: as the entry's `Outcome`, as dictionaries."""
    lines = ["# Measured on a GPU" if not is_dry else "# Dry run on a processor: numbers mean nothing", ""]
    for outcome in outcomes:
        lines += [f"## {outcome['title']}", "", *_ended(outcome)]
        found = outcome["found"]
        for note in found["notes"]:
            lines += [note, ""]
        for name, rows in found["tables"].items():
            lines += [f"{name}:", "", *table(rows), ""]
        lines += _checks(found["checks"])
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


def _ended(outcome: Mapping[str, Any]) -> list[str]:
    if outcome["ended"] == "done":
        return []
    words = {"failed": "This step failed", "out of time": "This step was ended by its time limit"}[outcome["ended"]]
    said = f"**{words}** after {outcome['seconds']:.0f} s; what it had found until then follows. It said:"
    return [said, "", "```", *outcome["said"].splitlines(), "```", ""]


def _checks(checks: Sequence[Mapping[str, Any]]) -> list[str]:
    if not checks:
        return []
    failed = [check for check in checks if not check["passed"]]
    lines = [f"{len(checks) - len(failed)} of {len(checks)} checks hold.", ""]
    return (
        lines + [f"- **does not hold**: {check['name']}: {check['detail']}" for check in failed] + [""] * bool(failed)
    )
