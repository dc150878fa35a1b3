"""Statistics of labels that add up over shards: histograms, and the few worst labels."""

from __future__ import annotations

import heapq
import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

FLAT = 1e-3
"""A label is flat if its range is at most this fraction of its largest value: the network sees no depth."""
WORST = 8
"""Number of the most suspicious images to keep."""
OCTAVE = 8
"""Bins for each doubling of a range; so percentiles of ranges are known within 9 %."""
SHARES = 100
"""Bins for fractions of 1."""


@dataclass
class Statistics:
    """Statistics of any number of labels.

    Attributes:
        labels: number of labels.
        flat: number of flat labels.
        refused: number of images without a label, by kind.
        ranges: number of labels in each bin of the range (farthest to nearest, in the network's own unit).
        used: number of labels in each bin of "used", see `chunks.describe`.
        saturated: number of labels in each bin of "saturated", see `chunks.describe`.
        flattest: "used" and sample, the worst first.
        most_saturated: "saturated" and sample, the worst first.
    """

    labels: int = 0
    flat: int = 0
    refused: Counter[str] = field(default_factory=Counter)
    ranges: Counter[int] = field(default_factory=Counter)
    used: Counter[int] = field(default_factory=Counter)
    saturated: Counter[int] = field(default_factory=Counter)
    flattest: list[tuple[float, str]] = field(default_factory=list)
    most_saturated: list[tuple[float, str]] = field(default_factory=list)

    def add(self, key: str, described: dict[str, Any]) -> None:
        """Count a label.

        Args:
            key: of its sample.
            described: its JSON.
        """
        low, high = described["depth"]["low"], described["depth"]["high"]
        self.labels += 1
        self.flat += high - low <= FLAT * max(abs(low), abs(high))
        if high > low:
            self.ranges[math.floor(math.log2(high - low) * OCTAVE)] += 1
        self.used[int(described["used"] * SHARES)] += 1
        self.saturated[int(described["saturated"] * SHARES)] += 1
        self.flattest = _smallest([*self.flattest, (described["used"], key)])
        self.most_saturated = _largest([*self.most_saturated, (described["saturated"], key)])

    def count_refused(self, kinds: Iterable[str]) -> None:
        """Count images without a label, by kind."""
        self.refused.update(kinds)

    def add_shard(self, shard: str, values: dict[str, Any]) -> None:
        """Add the statistics of a shard; its samples are then called SHARD/KEY.

        Args:
            shard: its name.
            values: from `to_dictionary`.
        """
        self.labels += values["labels"]
        self.flat += values["flat"]
        self.refused.update(values["refused"])
        for name in ("ranges", "used", "saturated"):
            getattr(self, name).update({int(index): count for index, count in values[name].items()})
        named = {
            name: [(value, f"{shard}/{key}") for value, key in values[name]] for name in ("flattest", "most_saturated")
        }
        self.flattest = _smallest([*self.flattest, *named["flattest"]])
        self.most_saturated = _largest([*self.most_saturated, *named["most_saturated"]])

    def to_dictionary(self) -> dict[str, Any]:
        """Return plain values."""
        histograms = {
            name: {str(index): getattr(self, name)[index] for index in sorted(getattr(self, name))}
            for name in ("ranges", "used", "saturated")
        }
        return {
            **{"labels": self.labels, "flat": self.flat, "refused": dict(sorted(self.refused.items()))},
            **histograms,
            **{"flattest": self.flattest, "most_saturated": self.most_saturated},
        }

    def range_percentiles(self, percentages: Sequence[int]) -> dict[str, float]:
        """Return percentiles of ranges, at the middle of their bins."""
        bins = percentiles(self.ranges, percentages)
        return {name: float(f"{2 ** ((index + 0.5) / OCTAVE):.4g}") for name, index in bins.items()}

    def share_percentiles(self, name: str, percentages: Sequence[int]) -> dict[str, float]:
        """Return percentiles, within 1 %.

        Args:
            name: "used" or "saturated".
            percentages: of the percentiles.
        """
        return {key: index / SHARES for key, index in percentiles(getattr(self, name), percentages).items()}


def percentiles(histogram: Counter[int], percentages: Sequence[int]) -> dict[str, int]:
    """Return the bins of percentiles; empty for an empty histogram.

    Args:
        histogram: count by bin.
        percentages: ascending.

    Returns:
        Bins by names such as "p50".
    """
    total, result, passed = sum(histogram.values()), {}, 0
    requested = list(percentages) if total else []
    for index in sorted(histogram):
        passed += histogram[index]
        while requested and passed >= total * requested[0] / 100:
            result[f"p{requested.pop(0)}"] = index
    return result


def _smallest(worst: list[tuple[float, str]]) -> list[tuple[float, str]]:
    return heapq.nsmallest(WORST, worst)


def _largest(worst: list[tuple[float, str]]) -> list[tuple[float, str]]:
    return heapq.nsmallest(WORST, worst, key=lambda pair: (-pair[0], pair[1]))
