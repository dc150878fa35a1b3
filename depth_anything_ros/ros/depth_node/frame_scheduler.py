"""Hands frames from the receiving thread to the worker: the latest frame of each camera, in fair turns.

A newer frame replaces a waiting one here; other losses are decided in `image_input`.
"""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from typing import Generic, TypeVar

Frame = TypeVar("Frame")
ROUNDING = 1e-6
"""Tolerance in turns, for sums of fractions."""


@dataclass
class _Lane(Generic[Frame]):
    """A camera's frame and share.

    ``used``: turns that the camera has had, divided by its priority. ``ready``: time (`time.monotonic`) from which its
    frame may be taken.
    """

    priority: int = 1
    frame: Frame | None = None
    used: float = 0.0
    ready: float = 0.0


class FrameScheduler(Generic[Frame]):
    """Holds at most one frame per camera; a newer frame replaces it, so the worker never falls behind.

    Turns follow stride scheduling (Waldspurger and Weihl, 1995): the next frame is that of the waiting camera with the
    fewest turns for its priority. So no camera starves, and one that needs less than its share gets all it needs.

    Args:
        cameras: the names of the cameras.
    """

    def __init__(self, cameras: tuple[str, ...]) -> None:
        self._changed = threading.Condition()
        self._lanes: dict[str, _Lane[Frame]] = {camera: _Lane() for camera in cameras}
        self._now = 0.0
        self._open = False

    def open(self) -> None:
        """Accept frames."""
        with self._changed:
            self._open = True

    def close(self) -> list[str]:
        """End every `take` and discard the frames, until `open`. Returns the cameras whose frame was discarded."""
        with self._changed:
            self._open = False
            forgotten = self._waiting()
            for lane in self._lanes.values():
                lane.frame = None
            self._changed.notify_all()
        return forgotten

    def prioritize(self, camera: str, priority: int) -> None:
        """Set a camera's share, relative to the others. Turns that it had in advance count at the new priority.

        Args:
            camera: the camera's name.
            priority: the new share, at least 1.
        """
        with self._changed:
            lane = self._lanes[camera]
            ahead = max(0.0, lane.used - self._now)
            lane.used = min(lane.used, self._now) + ahead * lane.priority / priority
            lane.priority = priority

    def put(self, camera: str, frame: Frame, hold: float = 0.0) -> Frame | None:
        """Queue a frame for the worker.

        A frame that replaces one on hold waits no longer than that one would have.

        Args:
            camera: the camera's name.
            frame: the frame.
            hold: seconds that the frame waits unless `release` is called. Other cameras' frames do not wait for it.

        Returns:
            The frame that is lost: the replaced one, or this one if the scheduler is closed; None if none is lost.
        """
        with self._changed:
            lane = self._lanes[camera]
            if not self._open:
                return frame
            displaced, now = lane.frame, time.monotonic()
            if displaced is None:  # an idle camera gains no credit
                lane.used = max(lane.used, self._now)
            on_hold = displaced is not None and lane.ready > now
            lane.frame, lane.ready = frame, min(lane.ready, now + hold) if on_hold else now + hold
            self._changed.notify()
        return displaced

    def release(self, camera: str) -> None:
        """End the hold of a camera's frame."""
        with self._changed:
            self._lanes[camera].ready = 0.0
            self._changed.notify()

    def take(self, most: int = 1) -> list[tuple[str, Frame]]:
        """Wait for frames and take up to ``most`` of them, from different cameras; none if closed.

        The first is the one whose turn it is. Others join it only if their camera is at most one turn ahead. Otherwise
        a camera of low priority would get as many turns as any other.
        """
        with self._changed:
            while self._open and not self._due():
                self._changed.wait(self._seconds_to_next())
            lanes = sorted(((name, self._lanes[name]) for name in self._due()), key=lambda item: item[1].used)
            if not self._open or not lanes:
                return []
            least = lanes[0][1].used
            self._now = max(self._now, least)
            taken: list[tuple[str, Frame]] = []
            for camera, lane in lanes:
                turn = 1 / lane.priority
                if lane.frame is not None and len(taken) < most and lane.used - least < turn + ROUNDING:
                    lane.used += turn
                    taken.append((camera, lane.frame))
                    lane.frame = None
            return taken

    def _due(self) -> list[str]:
        now = time.monotonic()
        return [camera for camera in self._waiting() if self._lanes[camera].ready <= now]

    def _seconds_to_next(self) -> float | None:
        """Return the seconds until a frame's hold ends; None without a frame."""
        ready = [self._lanes[camera].ready for camera in self._waiting()]
        return max(0.0, min(ready) - time.monotonic()) if ready else None

    def _waiting(self) -> list[str]:
        return [camera for camera, lane in self._lanes.items() if lane.frame is not None]
