"""The result of one check: lines for people, facts for programs, and findings, each with its fix."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

OK, NOTE, PROBLEM = "ok", "note", "problem"
LEVELS = (OK, NOTE, PROBLEM)
"""From the best to the worst. Only a problem stops a part of the package from working."""


@dataclass
class Finding:
    """One note or problem.

    Attributes:
        level: `NOTE` or `PROBLEM`.
        text: One line with the problem and its fix.
    """

    level: str
    text: str


@dataclass
class Section:
    """The result of one check.

    Attributes:
        name: Name of the check.
        title: Heading in the report.
        lines: Results as text.
        findings: Notes and problems.
        facts: Results as JSON values; docs/doctor.md lists the keys.
        seconds: Duration of the check.
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

    def add_line(self, line: str) -> None:
        """Add a line of text, which may be aligned with spaces."""
        self.lines.append(line.replace("\n", " ").rstrip())

    def note(self, text: str) -> None:
        """Add a note: something is wrong, but every part of the package works."""
        self.findings.append(Finding(NOTE, " ".join(text.split())))

    def problem(self, text: str) -> None:
        """Add a problem that stops a part of the package from working."""
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
