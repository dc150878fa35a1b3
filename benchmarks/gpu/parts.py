"""Parts of a step: after a failed part, the step continues with the next."""

from __future__ import annotations

import statistics
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np

from benchmarks.gpu.results import Results


@contextmanager
def part(results: Results, name: str) -> Iterator[None]:
    """Report an exception in a block as a failed check.

    Args:
        results: get the check.
        name: Name of the check.
    """
    try:
        yield
    except Exception as error:  # any error of a GPU library: the other parts still count
        traceback.print_exc()
        first = (str(error).splitlines() or [""])[0]
        results.check(name, False, f"{type(error).__name__}: {first}")


def median_ms(call: Callable[[], object], rounds: int, warm_up: int = 3) -> float:
    """Return the median of blocking calls in milliseconds.

    Args:
        call: blocks until its end.
        rounds: number of timed calls.
        warm_up: number of untimed calls before.
    """
    for _ in range(warm_up):
        call()
    seconds = []
    for _ in range(rounds):
        started = time.perf_counter()
        call()
        seconds.append(time.perf_counter() - started)
    return 1e3 * statistics.median(seconds)


def in_turns(calls: dict[str, Callable[[], object]], rounds: int, turns: int) -> dict[str, float]:
    """Return the medians of calls by name in milliseconds, measured in turns: a GPU's slowdown affects all of them.

    Args:
        calls: by name.
        rounds: timed calls per turn.
        turns: number of turns.
    """
    times: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(turns):
        for name, call in calls.items():
            times[name].append(median_ms(call, rounds))
    return {name: statistics.median(values) for name, values in times.items()}


def correlation(one: np.ndarray, other: np.ndarray) -> float:
    """Return Pearson's correlation of two maps of one size.

    Args:
        one: floats (H, W).
        other: floats (H, W).
    """
    return float(np.corrcoef(one.ravel(), other.ravel())[0, 1])


Judged = Callable[[np.ndarray], tuple[bool, str]]
"""A function from values to whether they are correct, and their deviation in words."""


def correlated(reference: np.ndarray, least: float) -> Judged:
    """Return a judge of maps: their correlation with the reference must be large enough.

    Args:
        reference: floats (H, W).
        least: minimum correlation.
    """

    def judged(values: np.ndarray) -> tuple[bool, str]:
        value = correlation(values, reference) if values.shape == reference.shape else float("nan")
        return value >= least, f"correlation {value:.6f}, must be at least {least:g}"

    return judged


def near(reference: np.ndarray, most: float) -> Judged:
    """Return a judge of values: their relative distance from the reference must be small enough.

    Args:
        reference: Reference of the same shape.
        most: maximum relative distance.
    """

    def judged(values: np.ndarray) -> tuple[bool, str]:
        same = values.shape == reference.shape
        off = float(np.linalg.norm(values - reference) / np.linalg.norm(reference)) if same else float("inf")
        return off <= most, f"relative distance {off:.2g}, must be at most {most:g}"

    return judged


def faster(least: float) -> Judged:
    """Return a judge of two times: the second must be at least ``least`` times the first."""

    def judged(values: np.ndarray) -> tuple[bool, str]:
        half, full = values
        gain = full / half if half > 0 else float("nan")
        return bool(gain >= least), f"{half:.3f} ms and {full:.3f} ms in fp32, speedup {gain:.2f}, must be {least:g}"

    return judged
