"""The outcome of `bag`: written, failed and skipped messages."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from depth_anything_ros.system.reason_counts import join_reasons

MAX_NAMED = 3
"""Maximum number of skipped messages named per topic; the others are counted."""


@dataclass
class Outcome:
    """The outcome of a run.

    Attributes:
        images: Number of images in the recording.
        done: Number of images whose outputs were written.
        failed: Number of images that could not be used.
        reasons: Reasons for skipped messages, by topic.
        incomplete: Number of images without some output, by the reason.
        stopped: Reason why the recording could not be read to its end, or "".
        is_interrupted: Whether the user stopped the run.
        path: Path of the written bag.
    """

    images: int
    done: int = 0
    failed: int = 0
    reasons: dict[str, list[str]] = field(default_factory=dict)
    incomplete: dict[str, int] = field(default_factory=dict)
    stopped: str = ""
    is_interrupted: bool = False
    path: Path = Path()

    @property
    def has_failed(self) -> bool:
        """Whether a message was lost."""
        return bool(self.failed or self.reasons or self.stopped)

    def skip(self, topic: str, time: int, error: object) -> None:
        """Record a skipped message and its reason."""
        self.reasons.setdefault(topic, []).append(f"{1e-9 * time:.3f} s: {' '.join(str(error).split())}")

    def problems(self) -> Iterator[str]:
        """Yield a line for each topic with skipped messages, and for each other loss."""
        for topic, reasons in self.reasons.items():
            more = f"; and {len(reasons) - MAX_NAMED} more" if len(reasons) > MAX_NAMED else ""
            yield f"{topic}: skipped {len(reasons)} messages: {'; '.join(reasons[:MAX_NAMED])}{more}"
        for reason, count in join_reasons(self.incomplete).items():
            yield f"{count} image{'s' * (count > 1)} without some outputs: {reason}"
        if self.stopped:
            yield f"the recording could not be read to its end: {self.stopped}"
