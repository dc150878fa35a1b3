"""What became of the frames of one camera, and how long they took."""

from __future__ import annotations

import threading
from collections import Counter, deque
from dataclasses import dataclass
from statistics import fmean

WINDOW_LENGTH = 1000


@dataclass(frozen=True)
class Snapshot:
    """The counts at one moment, and the ages (seconds from stamp to publication) of the latest frames."""

    received: int
    published: int
    ignored: int
    skipped: int
    dropped: dict[str, int]
    details: dict[str, str]
    ages: list[float]


class FrameStatistics:
    """Counts of one camera since the node's start; safe to use from several threads.

    ``received`` counts every image message, ``published`` those that went through the model, ``ignored`` those of
    which nobody wanted anything, ``skipped`` those that came faster than the greatest rate, ``dropped`` the others by
    cause; ``details`` says of each cause what was wrong with the latest of them. ``model_seconds``, ``total_seconds``
    (from the message's arrival to the last publication) and ``ages`` (from the stamp, by the node's clock) hold the
    latest thousand of the published ones.
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
        """An image message has come."""
        with self._lock:
            self.received += 1

    def ignore(self) -> None:
        """Nobody wants what would be made of a frame."""
        with self._lock:
            self.ignored += 1

    def skip(self) -> None:
        """A frame comes sooner than the greatest rate allows."""
        with self._lock:
            self.skipped += 1

    def drop(self, cause: str, detail: str = "") -> None:
        """A frame is lost, for a cause of a word or two: one of a fixed few, since each is counted for good.

        ``detail``: what is wrong with it and how to mend it, in a line.
        """
        with self._lock:
            self.dropped[cause] += 1
            self.details[cause] = detail

    def publish(self, model_seconds: float, total_seconds: float, age: float | None) -> None:
        """What was wanted of a frame has been published; its age is None where the camera gives no stamps."""
        with self._lock:
            self.published += 1
            self.model_seconds.append(model_seconds)
            self.total_seconds.append(total_seconds)
            if age is not None:
                self.ages.append(age)

    def snapshot(self) -> Snapshot:
        """The counts now."""
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
        """All of it in a line for the log."""
        with self._lock:
            parts = [
                f"{self.received} images in",
                f"{self.published} published",
                f"{self.ignored} while nobody listened",
            ]
            parts += [f"{self.skipped} above max_rate"] if self.skipped else []
            parts += [f"{count} dropped ({cause})" for cause, count in sorted(self.dropped.items())]
            if self.total_seconds:
                parts.append(f"model {1e3 * fmean(self.model_seconds):.1f} ms")
                parts.append(f"received to published {1e3 * fmean(self.total_seconds):.1f} ms")
        return ", ".join(parts)
