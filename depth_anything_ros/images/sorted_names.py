"""Names of one folder in order: a folder may hold ten million, of which sorting in memory would take gigabytes."""

from __future__ import annotations

import heapq
import os
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice

BLOCK = 256
"""So many names are compressed together, since those of one folder are much alike; one is found in some 50 µs."""
RUN = 100_000
"""So many names are sorted at once."""
_LEVEL = 1
"""Of zlib: the quickest."""


def in_order(names: Iterable[str], key: Callable[[str], str] | None = None) -> Iterator[str]:
    """What `sorted` gives; all names are asked for at once, and many are kept compressed, in some ten bytes each."""
    names = iter(names)
    runs: list[list[bytes]] = []
    while run := sorted(islice(names, RUN), key=key):
        if len(run) < RUN and not runs:
            return iter(run)
        runs.append([pack_block(run[start : start + BLOCK]) for start in range(0, len(run), BLOCK)])
    return heapq.merge(*map(_names_of, runs), key=key)


def pack_block(names: Sequence[str]) -> bytes:
    """Some names, none of which holds a NUL, as bytes."""
    return zlib.compress(os.fsencode("\0".join(names)), _LEVEL)


def unpack_block(block: bytes) -> list[str]:
    """Reads `pack_block`'s."""
    return os.fsdecode(zlib.decompress(block)).split("\0")


def _names_of(run: Iterable[bytes]) -> Iterator[str]:
    for block in run:
        yield from unpack_block(block)
