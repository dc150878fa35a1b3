"""The result of one check: lines for people, facts for programs, and findings, each with its fix."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

OK, NOTE, PROBLEM = "ok", "note", "problem"
LEVELS = (OK, NOTE, PROBLEM)
"""From the best to the worst. Only a problem stops a part of the package from working."""


@dataclass
class Finding:
    """One thing that is wrong.

    Attributes:
        level: `NOTE` or `PROBLEM`.
        text: one line: what is wrong, and what to type.
    """

    level: str
    text: str


@dataclass
class Section:
    """The result of one check.

    Attributes:
        name: of the check.
        title: for people.
        lines: what the check found, for people.
        findings: what is wrong.
        facts: what the check found, as JSON values; docs/doctor.md lists the keys.
        seconds: that the check took.
    """

    name: str
    title: str
    lines: list[str] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)
    facts: dict[str, Any] = field(default_factory=dict)
    seconds: float = 0.0

    @property
    def status(self) -> str:
        """The worst level of the findings; `OK` without any."""
        return max((finding.level for finding in self.findings), key=LEVELS.index, default=OK)

    def say(self, line: str) -> None:
        """Add a line for people; the text may be aligned with spaces."""
        self.lines.append(line.replace("\n", " ").rstrip())

    def note(self, text: str) -> None:
        """Add something that is wrong but stops nothing."""
        self.findings.append(Finding(NOTE, " ".join(text.split())))

    def problem(self, text: str) -> None:
        """Add something that stops a part of the package from working."""
        self.findings.append(Finding(PROBLEM, " ".join(text.split())))

    def to_json(self) -> dict[str, Any]:
        """Return the section as JSON values, with its status."""
        return {"name": self.name, "title": self.title, "status": self.status, **asdict(self)}

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> Section:
        """Return the section that `to_json` described."""
        findings = [Finding(**finding) for finding in values["findings"]]
        names = ("name", "title", "lines", "facts", "seconds")
        return cls(findings=findings, **{name: values[name] for name in names})
