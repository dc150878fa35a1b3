"""Samples: which image a step sees at an index, and which random crop and colors it gets.

A sample is identified by its step, its part of the step (where gradients are accumulated) and its slot. Everything
random about it is drawn from these and the run's seed. So a run that resumes sees what it would have seen, and
several devices together see what one device would have seen.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
from torch.utils.data import Dataset

from depth_anything_ros.data.frame import DataError
from depth_anything_ros.data.segmentation import check_classes
from depth_anything_ros.data.sources import Sample, Source
from depth_anything_ros.training.configuration import StageConfiguration
from depth_anything_ros.training.input.augmentation import Perturbation, draw_perturbation
from depth_anything_ros.training.input.crops import random_view
from depth_anything_ros.training.input.mixture import Mixture
from depth_anything_ros.training.input.overlap import Sources, keep_apart
from depth_anything_ros.training.input.sources_in_use import open_sources


class SampleIndex(NamedTuple):
    """The index of a sample in a run.

    Attributes:
        kind: "labeled" or "unlabeled".
        part: number of the part, counted over all steps.
        slot: number in the part, over all devices.
    """

    kind: str
    part: int
    slot: int


class LoadedSample(NamedTuple):
    """A cropped sample and its augmentation, ready for a batch."""

    kind: str
    sample: Sample
    perturbation: Perturbation | None


_STREAMS = {"labeled": 0, "unlabeled": 1}
_SIZE, _VIEW, _PERTURB, _PERTURB_LABELED = range(4)
"""Uses of random numbers; each has its own stream."""


class Samples(Dataset):
    """The samples of a run by `SampleIndex`.

    Args:
        configuration: the stage's settings.
        sources: opened sources by kind; default: opens those of the configuration.
    """

    def __init__(
        self, configuration: StageConfiguration, sources: Mapping[str, Sequence[Source]] | None = None
    ) -> None:
        self._configuration, self._seed = configuration, configuration.run.seed
        self._images = part_sizes(configuration)
        self._carry_labels = configuration.carry_labels
        self.mixtures: dict[str, Mixture] = {}
        sources = open_sources(configuration) if sources is None else sources
        for kind, stream in _STREAMS.items():
            if sources[kind]:
                self.mixtures[kind] = Mixture(sources[kind], seed=2 * self._seed + stream)

    def __getitem__(self, index: SampleIndex) -> LoadedSample:
        """Read one sample, cropped to the step's size, and draw its augmentation."""
        sample = self.view(index)
        configuration = self._configuration
        settings, use = (
            (configuration.labeled_augmentation, _PERTURB_LABELED)
            if index.kind == "labeled"
            else (configuration.augmentation, _PERTURB)
        )
        if settings is None:
            return LoadedSample(index.kind, sample, None)
        generator = np.random.default_rng((self._seed, use, self._position(index)))
        return LoadedSample(index.kind, sample, draw_perturbation(settings, sample.image.shape[:2], generator))

    def __getitems__(self, indices: Sequence[SampleIndex]) -> list[LoadedSample] | Exception:
        """Read the samples of a batch; return an error, which a worker process would otherwise send as plain text."""
        try:
            return [self[index] for index in indices]
        except (OSError, ValueError, MemoryError) as error:
            return error

    def view(self, index: SampleIndex) -> Sample:
        """Read one sample, cropped to the step's size. Raise `DataError` for a labeled one without labels."""
        position = self._position(index)
        size, smallest = self.size_of(index.part), self._configuration.data.smallest_crop
        # The image may be decoded at a smaller size, but not so small that the smallest crop would be enlarged.
        sample = self.mixtures[index.kind].read(position, least_side=math.ceil(max(size) / smallest))
        if index.kind == "labeled":
            self._check_labeled(sample)
        elif not self._carry_labels:  # the student must not see labels such as true depth
            sample = replace(sample, inverse_depth=None, labels=None)
        generator = np.random.default_rng((self._seed, _VIEW, _STREAMS[index.kind], position))
        return random_view(sample, size, smallest, generator)

    def _position(self, index: SampleIndex) -> int:
        """Return the sample's position among all samples of its kind in the run."""
        return index.part * self._images[index.kind] + index.slot

    def size_of(self, part: int) -> tuple[int, int]:
        """Return the (height, width) of a step's images, from the number of one of its parts."""
        sizes = self._configuration.data.sizes
        step = part // self._configuration.optimizer.grad_accum_steps
        return sizes[np.random.default_rng((self._seed, _SIZE, step)).integers(len(sizes))]

    def _check_labeled(self, sample: Sample) -> None:
        segmentation = self._configuration.segmentation
        if segmentation is None:
            if sample.inverse_depth is None:
                raise DataError(f"{sample.name} has no depth: labeled images need depth")
        elif sample.labels is None:
            raise DataError(f"{sample.name} has no classes: the stage segment needs labeled images with classes")
        else:
            check_classes(sample.name, sample.labels, segmentation.classes)


class Data(NamedTuple):
    """The data of a stage: samples to train on, and all sources by kind."""

    samples: Samples
    sources: Sources


def open_data(configuration: StageConfiguration, names: Path | None = None) -> Data:
    """Open every source of a stage. Devices and processes are not needed.

    Args:
        configuration: the stage's settings.
        names: as for `open_sources`.

    Raises:
        DataError: a source does not exist or would be unused; an image would be both trained on and scored; or the
            depth of a metric stage is not in meters.
    """
    sources = open_sources(configuration, names)
    if configuration.stage == "metric":
        for source in (*sources["labeled"], *sources["validation"]):
            if not source.is_metric:
                raise DataError(
                    f"the depth of {source.name} has an unknown scale: the stage metric needs depth in meters"
                )
    sources = keep_apart(configuration, sources)
    return Data(Samples(configuration, sources), sources)


def part_sizes(configuration: StageConfiguration) -> dict[str, int]:
    """Return the number of images of each kind in one part of a step, over all devices."""
    parts = configuration.optimizer.grad_accum_steps
    data = configuration.data
    return {"labeled": data.labeled_batch_size // parts, "unlabeled": data.unlabeled_batch_size // parts}
