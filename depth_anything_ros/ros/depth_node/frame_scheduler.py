"""Between the thread that receives and the one that works: a place for one frame a camera, and whose turn it is."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from typing import Generic, TypeVar

Frame = TypeVar("Frame")
ROUNDING = 1e-6
"""Turns, or what adding up fractions of them may leave."""


@dataclass
class _Lane(Generic[Frame]):
    """A camera's place.

    ``used`` is what it has had of the worker, in turns divided by its priority; ``ready`` the time, of
    `time.monotonic`, from which on its frame may be taken.
    """

    priority: int = 1
    frame: Frame | None = None
    used: float = 0.0
    ready: float = 0.0


class FrameScheduler(Generic[Frame]):
    """Holds at most one frame a camera: a newer one replaces it, so that work never falls behind.

    Turns are dealt out by stride scheduling (Waldspurger and Weihl, 1995): of the cameras that wait, the one that has
    had least for its priority. So none starves, and those that want less than their share get all they want.
    """

    def __init__(self, cameras: tuple[str, ...]) -> None:
        self._changed = threading.Condition()
        self._lanes: dict[str, _Lane[Frame]] = {camera: _Lane() for camera in cameras}
        self._now = 0.0
        self._open = False

    def open(self) -> None:
        """Lets frames in."""
        with self._changed:
            self._open = True

    def close(self) -> list[str]:
        """Ends every `take` and forgets the frames, until `open`; returns the cameras that lost one so."""
        with self._changed:
            self._open = False
            forgotten = self._waiting()
            for lane in self._lanes.values():
                lane.frame = None
            self._changed.notify_all()
        return forgotten

    def prioritize(self, camera: str, priority: int) -> None:
        """Sets a camera's share, relative to the others'; what it has had too much so far counts in its new turns."""
        with self._changed:
            lane = self._lanes[camera]
            ahead = max(0.0, lane.used - self._now)
            lane.used = min(lane.used, self._now) + ahead * lane.priority / priority
            lane.priority = priority

    def put(self, camera: str, frame: Frame, hold: float = 0.0) -> Frame | None:
        """Leaves a frame for the worker and returns the one that is lost: one not taken yet; this one once closed.

        It is not taken before ``hold`` seconds have gone by, unless it is released; other cameras' frames are
        meanwhile. One that displaces a frame on hold waits no longer than that one would have.
        """
        with self._changed:
            lane = self._lanes[camera]
            if not self._open:
                return frame
            displaced, now = lane.frame, time.monotonic()
            if displaced is None:  # who was idle has no claim on what others used meanwhile
                lane.used = max(lane.used, self._now)
            on_hold = displaced is not None and lane.ready > now
            lane.frame, lane.ready = frame, min(lane.ready, now + hold) if on_hold else now + hold
            self._changed.notify()
        return displaced

    def release(self, camera: str) -> None:
        """Ends the hold of a camera's frame."""
        with self._changed:
            self._lanes[camera].ready = 0.0
            self._changed.notify()

    def take(self, most: int = 1) -> list[tuple[str, Frame]]:
        """Waits for frames and removes up to ``most`` of different cameras, first who is due; none once closed.

        Beside the one that is due go those that are no more than a turn of theirs ahead of it: in one batch with
        everyone, a camera of low priority would otherwise get as much as any.
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
        """Until a frame's hold ends; None while there is no frame."""
        ready = [self._lanes[camera].ready for camera in self._waiting()]
        return max(0.0, min(ready) - time.monotonic()) if ready else None

    def _waiting(self) -> list[str]:
        return [camera for camera, lane in self._lanes.items() if lane.frame is not None]
