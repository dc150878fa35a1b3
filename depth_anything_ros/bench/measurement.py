"""The two ways to feed a candidate: frame after frame, and at a camera's rate."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field

MIN_FRAMES = 3
"""Minimum number of measured frames, however long one takes."""


@dataclass
class FixedRate:
    """The results of frames that were due at fixed times.

    ``ages``: seconds from a frame's due time to its result, for each processed frame. ``dropped``: frames that a newer
    one replaced before they were processed. ``seconds``: from the first frame's due time to the end of the last
    frame's period, or to the last result if that is later.
    """

    ages: list[float] = field(default_factory=list)
    dropped: int = 0
    seconds: float = 0.0


def back_to_back(frame: Callable[[], object], seconds: float, clock: Callable[[], float] = time.perf_counter) -> float:
    """Call ``frame`` repeatedly, and return the seconds that it took.

    Args:
        frame: processes one frame.
        seconds: minimum duration; at least `MIN_FRAMES` frames.
        clock: seconds from any origin.
    """
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
    """Call ``frame`` for frames at a fixed rate, as the node does: one frame waits, and a newer one replaces it.

    Args:
        frame: processes one frame.
        rate: frames per second.
        seconds: duration of the stream, which has at least `MIN_FRAMES` frames.
        clock: seconds from any origin.
        sleep: waits for a number of seconds.
    """
    count = max(MIN_FRAMES, round(rate * seconds))
    result = FixedRate()
    started, done, index = clock(), 0.0, 0
    while index < count:
        now = clock() - started
        # Frames that arrived meanwhile compete for one slot, and the newest wins.
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
