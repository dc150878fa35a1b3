"""The two ways in which a contender is fed: frame behind frame, and as a camera does."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field

MIN_FRAMES = 3
"""Frames that are measured at least, however long one takes."""


@dataclass
class FixedRate:
    """What became of frames that were due at fixed times.

    ``ages``: seconds from the time a frame was due to its result, for each that was worked on. ``dropped``: frames
    that a newer one replaced before their turn came. ``seconds``: from the first frame's time to the end of the last
    frame's period, or to the last result if that came later.
    """

    ages: list[float] = field(default_factory=list)
    dropped: int = 0
    seconds: float = 0.0


def back_to_back(frame: Callable[[], object], seconds: float, clock: Callable[[], float] = time.perf_counter) -> float:
    """Calls ``frame`` again and again for so many seconds, at least `MIN_FRAMES` times; the seconds it took."""
    started, count = clock(), 0
    while count < MIN_FRAMES or clock() - started < seconds:
        frame()
        count += 1
    return clock() - started


def fixed_rate(
    frame: Callable[[], object],
    rate: float,
    seconds: float,
    clock: Callable[[], float] = time.perf_counter,
    sleep: Callable[[float], None] = time.sleep,
) -> FixedRate:
    """Calls ``frame`` for frames that come at a fixed rate, as the node does: one waits, and the newest wins.

    Args:
        frame: works on one frame.
        rate: frames per second.
        seconds: how long frames come; at least `MIN_FRAMES` do.
        clock: seconds, from any origin.
        sleep: waits for so many seconds.
    """
    count = max(MIN_FRAMES, round(rate * seconds))
    result = FixedRate()
    started, done, index = clock(), 0.0, 0
    while index < count:
        now = clock() - started
        # What has come by now waits in the slot, and there is room for the newest only.
        newest = min(count - 1, int(now * rate))
        result.dropped += max(0, newest - index)
        index = max(index, newest)
        due = index / rate
        while now < due:  # a sleep may end early
            sleep(due - now)
            now = clock() - started
        frame()
        done = clock() - started
        result.ages.append(done - due)
        index += 1
    result.seconds = max(done, count / rate)
    return result
