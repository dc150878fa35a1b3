"""Counts and times of one camera's frames."""

from __future__ import annotations

import threading
from collections import Counter, deque
from dataclasses import dataclass
from statistics import fmean

WINDOW_LENGTH = 1000
"""Number of latest frames whose times are kept."""
REPLACED = "newer came"
"""The cause of a frame that a newer one replaced."""


@dataclass(frozen=True)
class Snapshot:
    """The counts at one moment, and the ages of the latest frames, in seconds from stamp to publication."""

    received: int
    published: int
    ignored: int
    skipped: int
    dropped: dict[str, int]
    details: dict[str, str]
    ages: list[float]


class FrameStatistics:
    """Counts of one camera since the node started. Thread-safe.

    Attributes:
        received: all image messages.
        published: frames that went through the model.
        ignored: frames without a subscriber for any output.
        skipped: frames above max_rate.
        dropped: all other frames, by cause.
        details: for each cause, what was wrong with the latest frame.
        model_seconds: time in the model, of the latest published frames.
        total_seconds: time from the message's arrival to the last publication.
        ages: seconds from the stamp to the publication, by the node's clock.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.received = 0
        self.published = 0
        self.ignored = 0
        self.skipped = 0
        self.dropped: Counter[str] = Counter()
        self.details: dict[str, str] = {}
        self.model_seconds: deque[float] = deque(maxlen=WINDOW_LENGTH)
        self.total_seconds: deque[float] = deque(maxlen=WINDOW_LENGTH)
        self.ages: deque[float] = deque(maxlen=WINDOW_LENGTH)

    def receive(self) -> None:
        """Count an image message."""
        with self._lock:
            self.received += 1

    def ignore(self) -> None:
        """Count a frame without subscribers."""
        with self._lock:
            self.ignored += 1

    def skip(self) -> None:
        """Count a frame above max_rate."""
        with self._lock:
            self.skipped += 1

    def drop(self, cause: str, detail: str = "") -> None:
        """Count a lost frame.

        Args:
            cause: one of a few fixed causes, in a word or two; each has its own counter.
            detail: what is wrong with the frame and how to fix it, in one line.
        """
        with self._lock:
            self.dropped[cause] += 1
            self.details[cause] = detail

    def publish(self, model_seconds: float, total_seconds: float, age: float | None) -> None:
        """Count a published frame.

        Args:
            model_seconds: time in the model.
            total_seconds: time from arrival to publication.
            age: seconds since the stamp; None if the camera sends no stamps.
        """
        with self._lock:
            self.published += 1
            self.model_seconds.append(model_seconds)
            self.total_seconds.append(total_seconds)
            if age is not None:
                self.ages.append(age)

    def snapshot(self) -> Snapshot:
        """Return the counts now."""
        with self._lock:
            return Snapshot(
                self.received,
                self.published,
                self.ignored,
                self.skipped,
                dict(self.dropped),
                dict(self.details),
                list(self.ages),
            )

    def summary(self) -> str:
        """Return all counts in one line for the log."""
        with self._lock:
            parts = [
                f"{self.received} images in",
                f"{self.published} published",
                f"{self.ignored} without subscribers",
            ]
            parts += [f"{self.skipped} above max_rate"] if self.skipped else []
            parts += [f"{count} dropped ({cause})" for cause, count in sorted(self.dropped.items())]
            if self.total_seconds:
                parts.append(f"model {1e3 * fmean(self.model_seconds):.1f} ms")
                parts.append(f"received to published {1e3 * fmean(self.total_seconds):.1f} ms")
        return ", ".join(parts)
