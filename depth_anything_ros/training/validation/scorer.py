"""Validation images during training: scored by all devices together, drawn by the first.

Each source counts equally, however many images it has: the same number is taken from each. Scores are means over the
images of a source, then over sources.
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
    """A sample: the index of its source, and its number in the source."""

    source: int
    number: int


class Validation:
    """The validation samples; each device has its share. ``described`` identifies this set of samples.

    Samples that cannot be read are left out and reported; ``left_out`` counts them. Samples without labels that could
    be scored are left out too.

    Args:
        sources: the sources.
        count: number of samples to take.
        size: (height, width) whose area an image has in the network, with its own aspect ratio.
        scoring: how predictions are scored.
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
        # Interleaved, so that the first samples, which are drawn as pictures, are from all sources.
        interleaved = zip_longest(
            *([SampleIndex(source, number) for number in numbers] for source, numbers in chosen.items())
        )
        self._indices = [index for of_each in interleaved for index in of_each if index is not None]
        rank, devices = fabric.global_rank, fabric.world_size
        # With sharded weights, all devices must run the network the same number of times.
        self._rounds = -(-len(self._indices) // devices)
        own = self._indices[rank::devices]
        self._left_out: set[SampleIndex] = set()
        self._samples = {index: sample for index in own if (sample := self._read(index)) is not None}
        self.counts, self.left_out, checksum = self._count_on_all_devices()
        for source, images in zip(sources, self.counts, strict=True):
            if not images:
                raise DataError(
                    f"no sample of {source.name} has depth or classes, so it cannot be used for validation; remove it "
                    "from data.validation"
                )
        images = ", ".join(f"{n} of {name_and_version(one)}" for n, one in zip(self.counts, sources, strict=True))
        self.described = f"{images} ({checksum}), at {size[0]}x{size[1]}"

    @property
    def count(self) -> int:
        """Number of images that are scored."""
        return sum(self.counts)

    def _read(self, index: SampleIndex) -> Sample | None:
        """Read a sample; return None if it cannot be scored."""
        source = self.sources[index.source]
        try:
            sample = read_numbered(source, index.number)
        except DataError as error:
            reraise_disk_error(error)
            if index not in self._left_out:
                log.warning("validation image left out: %s", error)
            self._left_out.add(index)
            return None
        if not self.scoring.can_score(sample):
            log.warning("validation image left out: %s has no labels that can be scored", sample.name)
            return None
        return sample

    def _count_on_all_devices(self) -> tuple[list[int], int, int]:
        """Return the number of images of each source, the number of damaged ones, and a checksum of their indices."""
        numbers = [0] * len(self.sources) + [len(self._left_out), 0]
        for index in self._samples:
            numbers[index.source] += 1
            numbers[-1] += (index.source + 1) * (index.number + 1)
        total = self._sum(torch.tensor(numbers, dtype=torch.float64)).long().tolist()
        return total[:-2], total[-2], total[-1]

    def _sum(self, values: Tensor) -> Tensor:
        """Return the sum over all devices, float64."""
        return self._fabric.all_reduce(values.to(self._fabric.device, torch.float64), reduce_op="sum").cpu()

    def samples_of_all(self) -> Iterator[tuple[int, Sample]]:
        """Yield the samples of all devices with the index of their source; samples of other devices are read again."""
        for index in self._indices:
            sample = self._samples.get(index)
            if sample is None and self._fabric.world_size > 1:
                sample = self._read(index)
            if sample is not None:
                yield index.source, sample

    def score(
        self, module: nn.Module, before_each: Callable[[], None] = lambda: None
    ) -> tuple[Scores, dict[str, Scores], np.ndarray | None]:
        """Score the network; all devices call this together.

        Args:
            module: the network, from normalized images (N, 3, H, W) to maps or logits.
            before_each: called before each image, on all devices the same number of times; it may raise.

        Returns:
            Scores by name, scores by source (both the same on every device), and a picture of this device's first
            samples, RGB uint8, None if it has no samples.
        """
        totals, rows = np.zeros((len(self.sources), self.scoring.length)), []
        predict = predictor(module, self._fabric.device, self._size)
        for index, sample in self._samples.items():
            before_each()
            prediction = predict(sample.image)
            totals[index.source] += self.scoring.tally(prediction, sample)
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
    """Return the mean of each score over sources; each source counts once."""
    return {name: statistics.fmean(scores[name] for scores in by_source) for name in by_source[0]}


def distinct(names: Sequence[str]) -> list[str]:
    """Return the names with a number after repeated ones: a, b, a 2."""
    counts = [names[: position + 1].count(name) for position, name in enumerate(names)]
    return [name if times == 1 else f"{name} {times}" for name, times in zip(names, counts, strict=True)]


def format_scores(scores: Scores) -> str:
    """Return scores as text, such as "abs_rel 0.1234, delta1 0.9000"."""
    return ", ".join(f"{name} {value:.4f}" for name, value in scores.items())
