"""What labels are like, in numbers that add up over shards: histograms, and the few that look worst."""

from __future__ import annotations

import heapq
import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

FLAT = 1e-3
"""A label is flat where its range is no more than this share of its largest value: the network sees no depth."""
WORST = 8
"""How many of the most suspicious images are kept."""
OCTAVE = 8
"""Bins in which a range's doubling is divided; so a percentile of ranges is known within 9 %."""
SHARES = 100
"""Bins of shares of 1."""


@dataclass
class Statistics:
    """Of any number of labels.

    ``ranges``: how many labels have a range, farthest to nearest, in each bin, in the network's own unit; ``used`` and
    ``saturated``: likewise, see `chunks.describe`. ``flattest`` and ``most_saturated``: values and samples, the worst
    first.
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
        """Counts a label by its JSON."""
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
        """Counts images that have no label, by what is amiss with them."""
        self.refused.update(kinds)

    def add_shard(self, shard: str, values: dict[str, Any]) -> None:
        """Adds what `to_dictionary` said of a shard; its samples are called SHARD/KEY from then on."""
        self.labels += values["labels"]
        self.flat += values["flat"]
        self.refused.update(values["refused"])
        for name in ("ranges", "used", "saturated"):
            getattr(self, name).update({int(place): count for place, count in values[name].items()})
        named = {
            name: [(value, f"{shard}/{key}") for value, key in values[name]] for name in ("flattest", "most_saturated")
        }
        self.flattest = _smallest([*self.flattest, *named["flattest"]])
        self.most_saturated = _largest([*self.most_saturated, *named["most_saturated"]])

    def to_dictionary(self) -> dict[str, Any]:
        """As plain values."""
        histograms = {
            name: {str(place): getattr(self, name)[place] for place in sorted(getattr(self, name))}
            for name in ("ranges", "used", "saturated")
        }
        return {
            **{"labels": self.labels, "flat": self.flat, "refused": dict(sorted(self.refused.items()))},
            **histograms,
            **{"flattest": self.flattest, "most_saturated": self.most_saturated},
        }

    def range_percentiles(self, percentages: Sequence[int]) -> dict[str, float]:
        """Percentiles of ranges, within a bin."""
        found = percentiles(self.ranges, percentages)
        return {name: float(f"{2 ** ((place + 0.5) / OCTAVE):.4g}") for name, place in found.items()}

    def share_percentiles(self, name: str, percentages: Sequence[int]) -> dict[str, float]:
        """Percentiles of ``used`` or ``saturated``, within a hundredth."""
        return {key: place / SHARES for key, place in percentiles(getattr(self, name), percentages).items()}


def percentiles(histogram: Counter[int], percentages: Sequence[int]) -> dict[str, int]:
    """The bins that percentiles lie in, by names such as "p50"; none of an empty histogram."""
    total, found, passed = sum(histogram.values()), {}, 0
    requested = list(percentages) if total else []
    for place in sorted(histogram):
        passed += histogram[place]
        while requested and passed >= total * requested[0] / 100:
            found[f"p{requested.pop(0)}"] = place
    return found


def _smallest(worst: list[tuple[float, str]]) -> list[tuple[float, str]]:
    return heapq.nsmallest(WORST, worst)


def _largest(worst: list[tuple[float, str]]) -> list[tuple[float, str]]:
    return heapq.nsmallest(WORST, worst, key=lambda pair: (-pair[0], pair[1]))
