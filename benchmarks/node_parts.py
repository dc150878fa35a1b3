"""Where a node's processor time goes: the time of the calling thread, by part, a list entry for every frame."""

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
"""In the order of a frame."""


class PartTimes:
    """Seconds by part; `frame` closes a frame's entries, so that a part may be entered several times in one."""

    def __init__(self) -> None:
        self.seconds: dict[str, list[float]] = {part: [] for part in PARTS}
        self._now: dict[str, float] = defaultdict(float)

    @contextmanager
    def part(self, name: str) -> Iterator[None]:
        """What runs within belongs to this part."""
        started = time.thread_time()
        yield
        self._now[name] += time.thread_time() - started

    def timed(self, name: str, function: Callable) -> Callable:
        """The function, all of which belongs to this part."""

        def run(*arguments: object, **named: object) -> object:
            with self.part(name):
                return function(*arguments, **named)

        return run

    def frame(self) -> None:
        """A frame is over."""
        now, self._now = self._now, defaultdict(float)
        for part in PARTS:
            self.seconds[part].append(now[part])


class TimedExecutor(SingleThreadedExecutor):
    """Also measures how long rclpy takes to get an image out of the middleware, where it has the method of rclpy 7."""

    def __init__(self, parts: PartTimes) -> None:
        super().__init__()
        self._parts = parts

    def _take_subscription(self, sub: object) -> object:
        if sub.msg_type is not Image:
            return super()._take_subscription(sub)
        with self._parts.part(TAKE):
            return super()._take_subscription(sub)
