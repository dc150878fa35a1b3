"""The report of all checks: for people, with colors in a terminal, and as JSON."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from depth_anything_ros import __version__
from depth_anything_ros.doctor.section import LEVELS, NOTE, OK, PROBLEM, Section

SCHEMA = 1
"""Increased if a documented key of the JSON changes its meaning or disappears."""
MARKS = {OK: "OK", NOTE: "note", PROBLEM: "problem"}
_COLORS = {OK: "\x1b[32m", NOTE: "\x1b[33m", PROBLEM: "\x1b[31m"}
_RESET = "\x1b[0m"


def section_text(section: Section, colored: bool) -> str:
    """Return a section as lines of text.

    Args:
        section: Section to print.
        colored: Whether marks have colors.
    """
    lines = [f"{_mark(section.status, f'[{MARKS[section.status]}]', colored)} {section.title}"]
    lines += [f"  {line}" for line in section.lines]
    lines += [f"  {_mark(entry.level, f'{MARKS[entry.level]}:', colored)} {entry.text}" for entry in section.findings]
    return "\n".join(lines)


def summary(sections: Sequence[Section]) -> str:
    """Return the last line: how many problems and notes there are."""
    levels = [finding.level for section in sections for finding in section.findings]
    problems, notes = levels.count(PROBLEM), levels.count(NOTE)
    if not levels:
        return "nothing is wrong"
    return f"{_count(problems, 'problem')}, {_count(notes, 'note')}{'' if problems else ': nothing stops the package'}"


def report_json(sections: Sequence[Section]) -> dict[str, Any]:
    """Return the whole report as JSON values; docs/doctor.md lists the keys."""
    return {
        "schema": SCHEMA,
        "depth_anything_ros": __version__,
        "status": worst(sections),
        "sections": [section.to_json() for section in sections],
    }


def worst(sections: Sequence[Section]) -> str:
    """Return the worst status of the sections."""
    return max((section.status for section in sections), key=LEVELS.index, default=OK)


def _mark(level: str, text: str, colored: bool) -> str:
    return f"{_COLORS[level]}{text}{_RESET}" if colored else text


def _count(number: int, noun: str) -> str:
    return f"{number or 'no'} {noun}{'' if number == 1 else 's'}"
