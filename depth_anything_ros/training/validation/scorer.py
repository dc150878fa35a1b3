"""Held-out images during training: scored by all devices together, drawn by the first.

Each source counts as much as any other, however many images it has: equally many of each are held out, and scores are
means over an image's source, then over sources.
"""

from __future__ import annotations

import logging
import statistics
from collections.abc import Callable, Iterator, Sequence
from itertools import zip_longest
from typing import NamedTuple

import numpy as np
import torch
from lightning_fabric import Fabric
from torch import Tensor, nn

from depth_anything_ros.data.frame import DataError, reraise_disk_error
from depth_anything_ros.data.sources import Sample, Source, name_and_version, read_numbered
from depth_anything_ros.training.validation.choice import choose
from depth_anything_ros.training.validation.predictions import Scoring, panel, predictor
from depth_anything_ros.visualization.grid import grid

log = logging.getLogger(__name__)

PICTURES = 4

Scores = dict[str, float]


class SampleIndex(NamedTuple):
    """Where a sample is found: its source among all, its number in it."""

    source: int
    number: int


class Validation:
    """Samples that training never sees; each device holds its share. ``described`` tells them from any others.

    Those that cannot be read are left out and named; ``left_out`` counts them. So are those of which nothing is known
    that could be scored.

    Args:
        sources: the samples, of which ``count`` are taken.
        size: (height, width): about so many pixels go through the network, in an image's own proportions.
        scoring: how they are scored.
        fabric: the devices.

    Raises:
        DataError: no sample of a source can be scored.
    """

    def __init__(
        self, sources: Sequence[Source], count: int, size: tuple[int, int], scoring: Scoring, fabric: Fabric
    ) -> None:
        self.scoring, self._size, self._fabric = scoring, size, fabric
        self.sources = sources
        self.labels = distinct([source.name for source in sources])
        chosen = choose(sources, count)
        # In turn, so that the first of them, which are drawn, are of all sources.
        in_turn = zip_longest(
            *([SampleIndex(which, number) for number in numbers] for which, numbers in chosen.items())
        )
        self._places = [place for turn in in_turn for place in turn if place is not None]
        rank, devices = fabric.global_rank, fabric.world_size
        # Where weights are sharded, all devices must run the network equally often.
        self._rounds = -(-len(self._places) // devices)
        own = self._places[rank::devices]
        self._left_out: set[SampleIndex] = set()
        self._samples = {place: sample for place in own if (sample := self._read(place)) is not None}
        self.counts, self.left_out, checksum = self._gathered()
        for source, images in zip(sources, self.counts, strict=True):
            if not images:
                raise DataError(f"no sample of {source.name} has known depth or classes, so that nothing can be scored")
        images = ", ".join(f"{n} of {name_and_version(one)}" for n, one in zip(self.counts, sources, strict=True))
        self.described = f"{images} ({checksum}), at {size[0]}x{size[1]}"

    @property
    def count(self) -> int:
        """How many images are scored."""
        return sum(self.counts)

    def _read(self, place: SampleIndex) -> Sample | None:
        """A sample, or None where it cannot be scored."""
        source = self.sources[place.source]
        try:
            sample = read_numbered(source, place.number)
        except DataError as error:
            reraise_disk_error(error)
            if place not in self._left_out:
                log.warning("held-out image left out: %s", error)
            self._left_out.add(place)
            return None
        if not self.scoring.can_score(sample):
            log.warning("held-out image left out: nothing of %s is known that could be scored", sample.name)
            return None
        return sample

    def _gathered(self) -> tuple[list[int], int, int]:
        """Of all devices: images of each source, those that are damaged, and a number that tells them from others."""
        numbers = [0] * len(self.sources) + [len(self._left_out), 0]
        for place in self._samples:
            numbers[place.source] += 1
            numbers[-1] += (place.source + 1) * (place.number + 1)
        total = self._sum(torch.tensor(numbers, dtype=torch.float64)).long().tolist()
        return total[:-2], total[-2], total[-1]

    def _sum(self, values: Tensor) -> Tensor:
        """Over all devices, float64."""
        return self._fabric.all_reduce(values.to(self._fabric.device, torch.float64), reduce_op="sum").cpu()

    def samples_of_all(self) -> Iterator[tuple[int, Sample]]:
        """The samples of all devices, each once with the place of its source; other devices' are read anew."""
        for place in self._places:
            sample = self._samples.get(place)
            if sample is None and self._fabric.world_size > 1:
                sample = self._read(place)
            if sample is not None:
                yield place.source, sample

    def score(
        self, module: nn.Module, before_each: Callable[[], None] = lambda: None
    ) -> tuple[Scores, dict[str, Scores], np.ndarray | None]:
        """Scores by name, the same by source, and a picture of this device's first samples, RGB uint8.

        Scores are the same on every device. The picture is None where this device has no sample. ``before_each`` is
        called before each image, by all devices equally often, and may raise.
        """
        totals, rows = np.zeros((len(self.sources), self.scoring.length)), []
        predict = predictor(module, self._fabric.device, self._size)
        for place, sample in self._samples.items():
            before_each()
            prediction = predict(sample.image)
            totals[place.source] += self.scoring.tally(prediction, sample)
            if len(rows) < PICTURES:
                rows.append(np.hstack([panel(sample.image), self.scoring.picture(prediction, sample)]))
        for _ in range(self._rounds - len(self._samples)):
            before_each()
            predict(np.zeros((*self._size, 3), np.uint8))
        totals = self._sum(torch.from_numpy(totals)).numpy()
        by_source = {
            label: self.scoring.summary(total, images)
            for label, total, images in zip(self.labels, totals, self.counts, strict=True)
        }
        return mean_scores(list(by_source.values())), by_source, grid(rows, 1) if rows else None


def mean_scores(by_source: Sequence[Scores]) -> Scores:
    """The mean of each score over sources, each counting once."""
    return {name: statistics.fmean(scores[name] for scores in by_source) for name in by_source[0]}


def distinct(names: Sequence[str]) -> list[str]:
    """The names, with a number behind those that are there already: a, b, a 2."""
    seen = [names[: place + 1].count(name) for place, name in enumerate(names)]
    return [name if times == 1 else f"{name} {times}" for name, times in zip(names, seen, strict=True)]
