"""The processor time of a node's parts, in the calling thread: a list with one entry per frame."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rclpy.executors import SingleThreadedExecutor
from sensor_msgs.msg import Image

TAKE, CONVERT, RESIZE = "take the image from DDS", "convert the image", "resize in and out"
DEPTH, FLYING, CLOUD, FILL = "depth from the map", "flying pixels", "compute the cloud", "fill the messages"
PUBLISH_DEPTH, PUBLISH_CLOUD = "publish depth", "publish cloud"
PARTS = (TAKE, CONVERT, RESIZE, DEPTH, FLYING, CLOUD, FILL, PUBLISH_DEPTH, PUBLISH_CLOUD)
"""In frame order."""


class PartTimes:
    """Seconds by part. `frame` closes a frame; a part may run several times in one."""

    def __init__(self) -> None:
        self.seconds: dict[str, list[float]] = {part: [] for part in PARTS}
        self._now: dict[str, float] = defaultdict(float)

    @contextmanager
    def part(self, name: str) -> Iterator[None]:
        """Count the time of the block for a part."""
        started = time.thread_time()
        yield
        self._now[name] += time.thread_time() - started

    def timed(self, name: str, function: Callable) -> Callable:
        """Return a function whose time counts for a part.

        Args:
            name: Name of the part.
            function: Function to wrap.
        """

        def run(*arguments: object, **named: object) -> object:
            with self.part(name):
                return function(*arguments, **named)

        return run

    def frame(self) -> None:
        """Close the entries of a frame."""
        now, self._now = self._now, defaultdict(float)
        for part in PARTS:
            self.seconds[part].append(now[part])


class TimedExecutor(SingleThreadedExecutor):
    """An executor that also measures how long rclpy takes to take an image from DDS, if it has rclpy 7's method."""

    def __init__(self, parts: PartTimes) -> None:
        super().__init__()
        self._parts = parts

    def _take_subscription(self, sub: object) -> object:
        if sub.msg_type is not Image:
            return super()._take_subscription(sub)
        with self._parts.part(TAKE):
            return super()._take_subscription(sub)
