"""Which images of several sources are held out: equally many of each, evenly spaced, the same on every device."""

from __future__ import annotations

from collections.abc import Sequence

from depth_anything_ros.data.sources import Source


def shares(sizes: Sequence[int], count: int) -> list[int]:
    """How many of ``count`` images each source gives: equally many, one that has fewer all, and the others its rest."""
    given, left = [0] * len(sizes), count
    ascending = sorted(range(len(sizes)), key=sizes.__getitem__)
    for place, which in enumerate(ascending):
        given[which] = min(sizes[which], -(-left // (len(sizes) - place)))
        left -= given[which]
    return given


def choose(sources: Sequence[Source], count: int) -> dict[int, list[int]]:
    """The numbers of the samples that are held out, by the place of their source among all."""
    sizes = [sum(source.blocks) for source in sources]
    return {
        which: [place * size // share for place in range(share)]
        for which, (size, share) in enumerate(zip(sizes, shares(sizes, count), strict=True))
    }
