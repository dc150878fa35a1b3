"""How sure a mean over images is, and whether one model is better than another: bootstrap over images.

Images are drawn with replacement, many times, with a fixed seed. The interval is between percentiles of the means.
Several sets are drawn separately, and each has the same weight. The interval assumes that images are independent;
consecutive frames of a video are not, and their interval is too narrow.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

SAMPLES = 2000
LEVEL = 0.95
SEED = 0
_CHUNK = 4_000_000
"""Indices that are drawn at once; bounds the memory."""


@dataclass(frozen=True)
class Interval:
    """The limits that contain a mean with a probability of `LEVEL`."""

    low: float
    high: float

    @property
    def half_width(self) -> float:
        """Return half of the distance between the limits."""
        return 0.5 * (self.high - self.low)


@dataclass(frozen=True)
class Difference:
    """The difference of the means of two models on the same images, first less second.

    Attributes:
        mean: the difference of the means.
        interval: its limits.
        probability: the share of the draws in which the difference has the sign of ``mean``; ties count half.
    """

    mean: float
    interval: Interval
    probability: float

    @property
    def is_sure(self) -> bool:
        """Return whether the interval excludes zero."""
        return self.interval.low > 0 or self.interval.high < 0


def confidence_interval(
    groups: Sequence[np.ndarray], samples: int = SAMPLES, level: float = LEVEL, seed: int = SEED
) -> Interval | None:
    """Return the percentile interval of the mean over groups of their means.

    Args:
        groups: the values of the images of each set, float64 (N,) each.
        samples: number of draws.
        level: probability of the interval.
        seed: of the draws.

    Returns:
        The interval; None if a set has fewer than two images, which show no spread.
    """
    if not groups or min(len(values) for values in groups) < 2:
        return None
    tail = 50 * (1 - level)
    low, high = np.percentile(_means(groups, samples, seed), (tail, 100 - tail))
    return Interval(float(low), float(high))


def paired_difference(
    first: Sequence[np.ndarray],
    second: Sequence[np.ndarray],
    samples: int = SAMPLES,
    level: float = LEVEL,
    seed: int = SEED,
) -> Difference | None:
    """Compare two models on the same images: each draw takes the same images for both.

    Args:
        first: the values of one model for each set, float64 (N,) each.
        second: those of the other, in the same order.
        samples: number of draws.
        level: probability of the interval.
        seed: of the draws.

    Returns:
        The difference; None if a set has fewer than two images.

    Raises:
        ValueError: the models have different images.
    """
    if [len(values) for values in first] != [len(values) for values in second]:
        raise ValueError("both models must have the same images")
    differences = [np.asarray(a) - np.asarray(b) for a, b in zip(first, second, strict=True)]
    interval = confidence_interval(differences, samples, level, seed)
    if interval is None:
        return None
    mean = float(np.mean([values.mean() for values in differences]))
    draws = _means(differences, samples, seed)
    agreeing = np.count_nonzero(draws * np.sign(mean) > 0) + 0.5 * np.count_nonzero(draws * np.sign(mean) == 0)
    return Difference(mean, interval, agreeing / samples)


def _means(groups: Sequence[np.ndarray], samples: int, seed: int) -> np.ndarray:
    """Return the mean of each draw, float64 (samples,)."""
    rng = np.random.default_rng(seed)
    total = np.zeros(samples)
    for values in groups:
        values = np.asarray(values, np.float64)
        step = max(_CHUNK // len(values), 1)
        for start in range(0, samples, step):
            count = min(step, samples - start)
            total[start : start + count] += values[rng.integers(0, len(values), (count, len(values)))].mean(axis=1)
    return total / len(groups)
