"""A shuffled mixture of data sources, with the sample at any position known. CutMix is in `augmentation`."""

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
from depth_anything_ros.training.input.sample_order import BlockOrder
from depth_anything_ros.training.settings import SourceSettings

log = logging.getLogger(__name__)

MAX_DAMAGED = 20
"""Damaged samples in a row after which reading stops; so many are no accident."""


def open_source(settings: SourceSettings, names: Path | None = None) -> Source:
    """Open one source.

    Args:
        settings: the source.
        names: a folder in which the processes of a machine share the dataset's file names, or None.

    Raises:
        DataError: the source does not exist or is empty.
    """
    settings.check_exists()
    if settings.shards is not None:
        return ShardSource(settings.shards, settings.labels)
    return SetSource(find_set(settings.set).select(settings.fields), settings.root, settings.limit, names)


class Mixture:
    """Concatenated sources, as in the papers: every sample comes once in an epoch, whatever its source.

    Args:
        sources: the sources.
        seed: of the order.
    """

    def __init__(self, sources: Sequence[Source], seed: int) -> None:
        self.sources = sources
        self._ends = list(accumulate(len(source.blocks) for source in sources))
        counts = [count for source in sources for count in source.blocks]
        self._order = BlockOrder(counts, seed)
        self._starts = np.concatenate([[0], np.cumsum(counts)])
        # One byte for each sample, shared by forked processes; the system allocates pages when they are written.
        self._reported = mmap.mmap(-1, len(self))

    def __len__(self) -> int:
        return self._order.size

    def read(self, position: int, least_side: int = 0) -> Sample:
        """Read the sample at a position.

        A damaged sample is replaced by the next one; the log reports it once in a run.

        Args:
            position: counted over all epochs.
            least_side: as for `Source.read`.

        Raises:
            DataError: many samples in a row are damaged.
            OSError: a disk fails for longer than `with_retries` retries. Another sample would change the run's result.
        """
        for number in range(MAX_DAMAGED):
            block, index = self._order[position + number]
            number_of_source = bisect_right(self._ends, block)
            first = self._ends[number_of_source - 1] if number_of_source else 0
            try:
                return with_retries(self.sources[number_of_source].read, block - first, index, least_side)
            except DataError as error:
                reraise_disk_error(error)
                self._report_once(int(self._starts[block]) + index, error)
                last = error
        raise DataError(f"{MAX_DAMAGED} samples in a row cannot be read, the last one because {last}")

    def _report_once(self, sample: int, error: DataError) -> None:
        """Log a damaged sample, unless this process or another reading process has done so in an earlier epoch."""
        if not self._reported[sample]:
            self._reported[sample] = 1
            log.warning("left out: %s", error)
