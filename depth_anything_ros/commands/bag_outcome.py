"""What became of the messages of a recording in `bag`."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from depth_anything_ros.system.reason_counts import join_reasons

MAX_NAMED = 3
"""Most skipped messages of a topic that are named; the others are counted."""


@dataclass
class Outcome:
    """What became of the messages.

    Attributes:
        images: number of images of the recording.
        done: number of images whose outputs were written.
        failed: number of images that could not be used.
        reasons: why messages were skipped, by topic.
        incomplete: number of images without some output, by the reason.
        stopped: why the recording could not be read to its end; "" if it was.
        is_interrupted: whether the user stopped it.
        path: of the written bag.
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
        """Note a message that is left out."""
        self.reasons.setdefault(topic, []).append(f"{1e-9 * time:.3f} s: {' '.join(str(error).split())}")

    def problems(self) -> Iterator[str]:
        """Yield what was left out, one line for each topic or reason."""
        for topic, reasons in self.reasons.items():
            more = f"; and {len(reasons) - MAX_NAMED} more" if len(reasons) > MAX_NAMED else ""
            yield f"{topic}: skipped {len(reasons)} messages: {'; '.join(reasons[:MAX_NAMED])}{more}"
        for reason, count in join_reasons(self.incomplete).items():
            yield f"{count} image{'s' * (count > 1)} without some outputs: {reason}"
        if self.stopped:
            yield f"the recording could not be read to its end: {self.stopped}"
