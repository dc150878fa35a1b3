"""Several data sources as one (CutMix is in `augmentation`), in a shuffled order that is known for any position."""

from __future__ import annotations

import logging
import mmap
from bisect import bisect_right
from collections.abc import Sequence
from itertools import accumulate
from pathlib import Path

import numpy as np

from depth_anything_ros.data.frame import DataError, reraise_disk_error
from depth_anything_ros.data.retry import with_retries
from depth_anything_ros.data.set_source import SetSource
from depth_anything_ros.data.sets import find_set
from depth_anything_ros.data.shard_source import ShardSource
from depth_anything_ros.data.sources import Sample, Source
from depth_anything_ros.training.configuration import SourceSettings
from depth_anything_ros.training.input.sample_order import BlockOrder

log = logging.getLogger(__name__)

MAX_DAMAGED = 20
"""So many damaged samples one after the other are no accident."""


def open_source(settings: SourceSettings, names: Path | None = None) -> Source:
    """Opens one source; ``names``: where processes share its names. Raises `DataError` where it is absent or empty."""
    if settings.shards is not None:
        return ShardSource(settings.shards, settings.labels)
    if not settings.root.exists():
        raise DataError(f"there is no {settings.root}")
    return SetSource(find_set(settings.set).select(settings.fields), settings.root, settings.limit, names)


class Mixture:
    """Sources one behind the other, as the papers have it: none is favored, each sample comes once an epoch."""

    def __init__(self, sources: Sequence[Source], seed: int) -> None:
        self.sources = sources
        self._ends = list(accumulate(len(source.blocks) for source in sources))
        counts = [count for source in sources for count in source.blocks]
        self._order = BlockOrder(counts, seed)
        self._starts = np.concatenate([[0], np.cumsum(counts)])
        # A byte a sample, which processes that are forked from this one share; pages come to be when they are written.
        self._named = mmap.mmap(-1, len(self))

    def __len__(self) -> int:
        return self._order.size

    def read(self, position: int, least_side: int = 0) -> Sample:
        """The sample at a position, counted over all epochs; ``least_side`` as `Source.read` has it.

        For a damaged one, of which the log tells once a run, the one that comes next is given. Raises `DataError` where
        many in a row are damaged, and `OSError` where a disk fails for longer than `with_retries` waits: another
        sample in its place would make of the run another than it would be without.
        """
        for number in range(MAX_DAMAGED):
            block, index = self._order[position + number]
            which = bisect_right(self._ends, block)
            first = self._ends[which - 1] if which else 0
            try:
                return with_retries(self.sources[which].read, block - first, index, least_side)
            except DataError as error:
                reraise_disk_error(error)
                self._name_once(int(self._starts[block]) + index, error)
                last = error
        raise DataError(f"{MAX_DAMAGED} samples one after the other cannot be read, the last because {last}")

    def _name_once(self, sample: int, error: DataError) -> None:
        """Says what is left out, unless this process or another that reads for it has done so in an earlier epoch."""
        if not self._named[sample]:
            self._named[sample] = 1
            log.warning("left out: %s", error)
