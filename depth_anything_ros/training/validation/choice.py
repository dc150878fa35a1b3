"""The validation images: the same number from each source, evenly spaced, the same on every device."""

from __future__ import annotations

from collections.abc import Sequence

from depth_anything_ros.data.sources import Source


def shares(sizes: Sequence[int], count: int) -> list[int]:
    """Return how many images to take from each source.

    Each source gives the same number. A smaller source gives all its images, and the others share the rest.

    Args:
        sizes: number of images in each source.
        count: number of images to take.
    """
    given, left = [0] * len(sizes), count
    ascending = sorted(range(len(sizes)), key=sizes.__getitem__)
    for position, source in enumerate(ascending):
        given[source] = min(sizes[source], -(-left // (len(sizes) - position)))
        left -= given[source]
    return given


def choose(sources: Sequence[Source], count: int) -> dict[int, list[int]]:
    """Return the numbers of the validation samples, by the index of their source.

    Args:
        sources: the validation sources.
        count: number of validation images.
    """
    sizes = [sum(source.blocks) for source in sources]
    return {
        number: [index * size // share for index in range(share)]
        for number, (size, share) in enumerate(zip(sizes, shares(sizes, count), strict=True))
    }
