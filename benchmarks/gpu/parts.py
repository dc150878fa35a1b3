"""Parts of a step: where one fails, the step goes on with the next."""

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
    """Reports what a block raises, as a check that does not hold."""
    try:
        yield
    except Exception as error:  # whatever a GPU may come up with: the parts that follow are worth as much
        traceback.print_exc()
        first = (str(error).splitlines() or [""])[0]
        results.check(name, False, f"{type(error).__name__}: {first}")


def median_ms(call: Callable[[], object], rounds: int, warm_up: int = 3) -> float:
    """The median of so many calls, each of which waits for its end, in milliseconds."""
    for _ in range(warm_up):
        call()
    seconds = []
    for _ in range(rounds):
        started = time.perf_counter()
        call()
        seconds.append(time.perf_counter() - started)
    return 1e3 * statistics.median(seconds)


def in_turns(calls: dict[str, Callable[[], object]], rounds: int, turns: int) -> dict[str, float]:
    """The medians of calls that take turns, so that a GPU that slows down does so for all; milliseconds by name."""
    found: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(turns):
        for name, call in calls.items():
            found[name].append(median_ms(call, rounds))
    return {name: statistics.median(values) for name, values in found.items()}


def correlation(one: np.ndarray, other: np.ndarray) -> float:
    """Pearson's, of two maps of one size."""
    return float(np.corrcoef(one.ravel(), other.ravel())[0, 1])


Judged = Callable[[np.ndarray], tuple[bool, str]]
"""Whether values are right, and in words how far they are from that."""


def correlated(reference: np.ndarray, least: float) -> Judged:
    """Maps are right that correlate with the reference so well."""

    def judged(values: np.ndarray) -> tuple[bool, str]:
        found = correlation(values, reference) if values.shape == reference.shape else float("nan")
        return found >= least, f"correlation {found:.6f}, must be {least:g}"

    return judged


def near(reference: np.ndarray, most: float) -> Judged:
    """Values are right whose distance from the reference is at most so large a share of it."""

    def judged(values: np.ndarray) -> tuple[bool, str]:
        same = values.shape == reference.shape
        off = float(np.linalg.norm(values - reference) / np.linalg.norm(reference)) if same else float("inf")
        return off <= most, f"relative distance {off:.2g}, may be {most:g}"

    return judged


def faster(least: float) -> Judged:
    """Of two times the first must be so many times shorter than the second."""

    def judged(values: np.ndarray) -> tuple[bool, str]:
        half, full = values
        gain = full / half if half > 0 else float("nan")
        return bool(gain >= least), f"{half:.3f} ms and {full:.3f} ms in fp32, a gain of {gain:.2f}, must be {least:g}"

    return judged
