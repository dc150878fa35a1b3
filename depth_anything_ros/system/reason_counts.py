"""Counts of reasons in words, of which many differ in a number only."""

from __future__ import annotations

import re
from collections.abc import Mapping


def join_reasons(counts: Mapping[str, int]) -> dict[str, int]:
    """Return the counts; reasons that differ in numbers only count as one, the first.

    Args:
        counts: how often, by reason.
    """
    first: dict[str, str] = {}
    joined: dict[str, int] = {}
    for reason, count in counts.items():
        named = first.setdefault(re.sub(r"[\d.]+", "#", reason), reason)
        joined[named] = joined.get(named, 0) + count
    return joined
