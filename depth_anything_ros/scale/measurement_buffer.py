"""A buffer of the measurements that wait for an image of their time."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Mapping

import numpy as np

from depth_anything_ros.geometry.camera import Camera
from depth_anything_ros.scale.fit import Refusal
from depth_anything_ros.scale.references import References

WAITING = 64
"""Maximum number of waiting measurements per source."""
WAITING_SECONDS = 3.0
"""Maximum waiting time: longer than a model takes."""

Convert = Callable[[Camera, np.ndarray], "References | Refusal"]
"""Converts a measurement to references for a camera and a network's output. Raises `ValueError` or `LookupError`.

A `Refusal` is not an error: there is nothing to measure yet."""

Measurement = tuple[str, Convert]
"""A source, and the conversion of its measurement."""


class MeasurementBuffer:
    """The latest measurements of each source. All methods may be called from any thread.

    Args:
        max_delay: Maximum seconds between a measurement and the image that uses it.
    """

    def __init__(self, max_delay: float) -> None:
        self.max_delay = max_delay
        self._lock = threading.Lock()
        self._waiting: dict[str, deque[tuple[float, Convert]]] = {}

    def add(self, source: str, time: float, convert: Convert) -> None:
        """Keep a measurement until an image of its time is processed.

        Args:
            source: Name of the source.
            time: Time of the measurement in seconds.
            convert: Converts the measurement to references.
        """
        with self._lock:
            waiting = self._waiting.setdefault(source, deque(maxlen=WAITING))
            while waiting and abs(waiting[0][0] - time) > WAITING_SECONDS:
                waiting.popleft()
            waiting.append((time, convert))

    def clear(self) -> None:
        """Drop all measurements. They may be many large clouds."""
        with self._lock:
            self._waiting.clear()

    def take(self, time: float) -> tuple[list[Measurement], dict[str, float]]:
        """Remove and return the measurement of each source that is closest to a time, if it is close enough.

        Older measurements of these sources are dropped. The second value has, for each source with measurements, the
        seconds from the closest one to ``time``.
        """
        taken, gaps = [], {}
        with self._lock:
            for source, waiting in self._waiting.items():
                if not waiting:
                    continue
                best = min(waiting, key=lambda item: abs(item[0] - time))
                gaps[source] = time - best[0]
                if abs(time - best[0]) <= self.max_delay:
                    taken.append((source, best[1]))
                    later = [item for item in waiting if item[0] > best[0]]
                    waiting.clear()
                    waiting.extend(later)
        return taken, gaps


def clock_problem(gaps: Mapping[str, float]) -> str:
    """Return the problem of a source whose measurements are seconds away from the image, or ""."""
    for source, gap in gaps.items():
        if gap > WAITING_SECONDS:
            return f"{source} is {gap:.1f} s older than the image: it has stopped, or the clocks differ"
        if gap < -WAITING_SECONDS:
            return f"{source} is {-gap:.1f} s newer than the image: the clocks differ"
    return ""
