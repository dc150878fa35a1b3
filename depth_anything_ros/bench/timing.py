"""Repeated timings as percentiles. They are taken in turns, so that a slowdown of the machine affects all of them."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass

import numpy as np


@dataclass(frozen=True)
class Timing:
    """Percentiles of repeated measurements, in milliseconds."""

    p50: float
    p95: float
    p99: float
    count: int

    @classmethod
    def of(cls, seconds: Sequence[float]) -> Timing:
        """Return the percentiles of ``seconds``. Raises ValueError if it is empty."""
        if not len(seconds):
            raise ValueError("there are no measurements")
        return cls(*np.percentile(np.asarray(seconds) * 1e3, (50, 95, 99)).tolist(), len(seconds))


def take_turns(calls: Mapping[str, Callable[[], object]], repeats: int, warm_up: int = 3) -> dict[str, Timing]:
    """Time several calls in turns.

    Args:
        calls: by name; each round runs all of them.
        repeats: number of timed rounds.
        warm_up: number of untimed rounds before.
    """
    seconds: dict[str, list[float]] = {name: [] for name in calls}
    for turn in range(warm_up + repeats):
        for name, call in calls.items():
            started = time.perf_counter()
            call()
            if turn >= warm_up:
                seconds[name].append(time.perf_counter() - started)
    return {name: Timing.of(values) for name, values in seconds.items()}


def table(timings: Mapping[str, Timing], reference: str) -> str:
    """Return a text with one line per timing and its ratio to the reference; ratios survive a change of clock rate.

    Args:
        timings: by name.
        reference: the name whose median is 1.
    """
    width = max(len(name) for name in timings)
    lines = [f"{'':<{width}}  p50 ms  p95 ms   ratio"]
    for name, timing in timings.items():
        ratio = timing.p50 / timings[reference].p50
        lines.append(f"{name:<{width}}{timing.p50:8.2f}{timing.p95:8.2f}{ratio:8.3f}")
    return "\n".join(lines)


def as_json(timings: Mapping[str, Timing]) -> dict[str, dict[str, float]]:
    """Return the timings as plain values, in milliseconds."""
    return {name: asdict(timing) for name, timing in timings.items()}
