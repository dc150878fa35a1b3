"""Batches: which samples a step sees, and what of them; the same whenever and by however many devices it is asked for.

A sample is named by its step, its part of the step (where gradients are accumulated) and its slot, and everything that
is random about it is drawn from these and the run's seed. So a run that goes on sees what it would have seen, and
several devices see together what one would have.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, is_dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler, get_worker_info

from depth_anything_ros.data.frame import DataError
from depth_anything_ros.data.segmentation import check_classes
from depth_anything_ros.data.sources import Sample, Source
from depth_anything_ros.system.cpu_cores import usable_cores
from depth_anything_ros.system.signals import ignore_stop_signals
from depth_anything_ros.training.configuration import StageConfiguration
from depth_anything_ros.training.input.augmentation import Perturbation, draw_perturbation, stack_perturbations
from depth_anything_ros.training.input.crops import random_view
from depth_anything_ros.training.input.mixture import Mixture
from depth_anything_ros.training.input.overlap import Sources, keep_apart
from depth_anything_ros.training.input.shared_memory import in_shared_memory
from depth_anything_ros.training.input.sources_in_use import open_sources


@dataclass  # not frozen: where precision is mixed, Fabric goes through what a module is given, and sets anew
class Images:
    """Images of one kind in a batch; all tensors begin with their number N.

    ``pixels``: RGB uint8 (N, H, W, 3), clean. ``inverse_depth``: float32 (N, H, W), NaN where unknown, 0 for the sky.
    ``labels``: classes, uint8 (N, H, W). ``perturbation``: what is done to what the network sees.
    """

    pixels: Tensor
    inverse_depth: Tensor | None = None
    labels: Tensor | None = None
    perturbation: Perturbation | None = None

    @property
    def known(self) -> Tensor:
        """Where inverse depth is known, bool (N, H, W)."""
        return ~self.inverse_depth.isnan()


class Batch:
    """What one device sees in one part of a step.

    No dataclass: into one, Fabric would look, and cast depth and perturbations to bfloat16 with everything else.
    """

    def __init__(self, labeled: Images | None = None, unlabeled: Images | None = None) -> None:
        self.labeled, self.unlabeled = labeled, unlabeled

    def to(self, device: torch.device) -> Batch:
        """The batch on a device; without waiting, from pinned memory."""
        return self.map(lambda tensor: tensor.to(device, non_blocking=True))

    def pin_memory(self) -> Batch:
        """The batch in memory that a GPU can fetch by itself."""
        return self.map(Tensor.pin_memory)

    def map(self, function: Callable[[Tensor], Tensor]) -> Batch:
        """The batch with every tensor replaced."""
        return Batch(_map(self.labeled, function), _map(self.unlabeled, function))

    def to_dictionary(self) -> dict[str, Tensor]:
        """The tensors by dotted names, in main memory, as `torch.load` reads them without running code."""
        found = {}
        for kind, images in vars(self).items():
            for name, value in vars(images).items() if images is not None else ():
                if isinstance(value, Tensor):
                    found[f"{kind}.{name}"] = value.cpu()
                elif value is not None:
                    found |= {f"{kind}.{name}.{inner}": tensor.cpu() for inner, tensor in vars(value).items()}
        return found


def _map(value: Any, function: Callable[[Tensor], Tensor]) -> Any:
    """A dataclass with every tensor in it, and in those inside it, replaced."""
    if isinstance(value, Tensor):
        return function(value)
    if is_dataclass(value):
        return type(value)(**{name: _map(item, function) for name, item in vars(value).items()})
    return value


class SampleIndex(NamedTuple):
    """Where a sample belongs: kind "labeled" or "unlabeled", part of all steps' parts, slot in the whole part."""

    kind: str
    part: int
    slot: int


class LoadedSample(NamedTuple):
    """A sample on its way into a batch."""

    kind: str
    sample: Sample
    perturbation: Perturbation | None


_STREAMS = {"labeled": 0, "unlabeled": 1}
_SIZE, _VIEW, _PERTURB, _PERTURB_LABELED = range(4)
"""What a random number is for; each use has a stream of its own."""


class Samples(Dataset):
    """Samples by place; ``sources`` by kind, default: those of the configuration, opened here."""

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

    def __getitem__(self, place: SampleIndex) -> LoadedSample:
        """One sample, cut to the step's size, and what is done to it."""
        sample = self.view(place)
        configuration = self._configuration
        settings, use = (
            (configuration.labeled_augmentation, _PERTURB_LABELED)
            if place.kind == "labeled"
            else (configuration.augmentation, _PERTURB)
        )
        if settings is None:
            return LoadedSample(place.kind, sample, None)
        generator = np.random.default_rng((self._seed, use, self._position(place)))
        return LoadedSample(place.kind, sample, draw_perturbation(settings, sample.image.shape[:2], generator))

    def __getitems__(self, places: Sequence[SampleIndex]) -> list[LoadedSample] | Exception:
        """The samples of a batch; or what kept one from being read, which a process would else send as mere text."""
        try:
            return [self[place] for place in places]
        except (OSError, ValueError, MemoryError) as error:
            return error

    def view(self, place: SampleIndex) -> Sample:
        """One sample, cut to the step's size. Raises `DataError` for a labeled one without depth or classes."""
        position = self._position(place)
        size, smallest = self.size_of(place.part), self._configuration.data.smallest_crop
        # A crop that is not enlarged shows nothing of what a larger image would have had beside.
        sample = self.mixtures[place.kind].read(position, least_side=math.ceil(max(size) / smallest))
        if place.kind == "labeled":
            self._check_labeled(sample)
        elif not self._carry_labels:  # what else is known of them, such as true depth, is not for the student
            sample = replace(sample, inverse_depth=None, labels=None)
        generator = np.random.default_rng((self._seed, _VIEW, _STREAMS[place.kind], position))
        return random_view(sample, size, smallest, generator)

    def _position(self, place: SampleIndex) -> int:
        """A place's number among all samples of its kind that the run sees."""
        return place.part * self._images[place.kind] + place.slot

    def size_of(self, part: int) -> tuple[int, int]:
        """(height, width) of the images of a step, the same in all its parts."""
        sizes = self._configuration.data.sizes
        step = part // self._configuration.optimizer.grad_accum_steps
        return sizes[np.random.default_rng((self._seed, _SIZE, step)).integers(len(sizes))]

    def _check_labeled(self, sample: Sample) -> None:
        segmentation = self._configuration.segmentation
        if segmentation is None:
            if sample.inverse_depth is None:
                raise DataError(f"{sample.name} has no depth, so that it is of no use as labeled")
        elif sample.labels is None:
            raise DataError(f"{sample.name} has no classes, so that nothing can be segmented")
        else:
            check_classes(sample.name, sample.labels, segmentation.classes)


class Data(NamedTuple):
    """What a stage reads: samples to learn from, and all sources by kind."""

    samples: Samples
    sources: Sources


def open_data(configuration: StageConfiguration, names: Path | None = None) -> Data:
    """Opens every source, before devices and processes are asked for; ``names``: see `open_sources`.

    Raises `DataError` for what is absent or would be left unused, for images that would be both trained on and scored,
    and, where meters are to be learned, for depth that is not in meters.
    """
    sources = open_sources(configuration, names)
    if configuration.stage == "metric":
        for source in (*sources["labeled"], *sources["validation"]):
            if not source.is_metric:
                raise DataError(f"{source.name} knows depth only up to a factor: the stage metric needs meters")
    sources = keep_apart(configuration, sources)
    return Data(Samples(configuration, sources), sources)


def part_sizes(configuration: StageConfiguration) -> dict[str, int]:
    """How many images of each kind one part of a step has, over all devices."""
    parts = configuration.optimizer.grad_accum_steps
    data = configuration.data
    return {"labeled": data.labeled_batch_size // parts, "unlabeled": data.unlabeled_batch_size // parts}


def check_shares(configuration: StageConfiguration, devices: int) -> None:
    """Raises ValueError, naming the setting, where a step's images cannot be dealt to so many devices."""
    parts = configuration.optimizer.grad_accum_steps
    for kind, count in part_sizes(configuration).items():
        multiple = devices * 2 if kind == "unlabeled" else devices
        if count % multiple:
            raise ValueError(
                f"{kind}_batch_size: {count} images in each of {parts} parts of a step cannot be dealt to {devices} "
                f"devices{' in pairs' if kind == 'unlabeled' else ''}; take a multiple of {multiple * parts}"
            )


class BatchSampler(Sampler):
    """The places of one device's batches, from a step on; each device has its own contiguous share of every part."""

    def __init__(self, configuration: StageConfiguration, first_step: int, rank: int = 0, devices: int = 1) -> None:
        parts = configuration.optimizer.grad_accum_steps
        self._parts = range(first_step * parts, configuration.optimizer.steps * parts)
        check_shares(configuration, devices)
        shares = {kind: count // devices for kind, count in part_sizes(configuration).items()}
        self._slots = {kind: range(rank * share, (rank + 1) * share) for kind, share in shares.items()}

    def __iter__(self) -> Iterator[list[SampleIndex]]:
        """Yields one batch's places at a time."""
        for part in self._parts:
            yield [SampleIndex(kind, part, slot) for kind, slots in self._slots.items() for slot in slots]

    def __len__(self) -> int:
        return len(self._parts)


def collate(items: Sequence[LoadedSample] | Exception) -> Batch | Exception:
    """A batch of samples that have one size; what kept one from being read passes by."""
    if isinstance(items, Exception):
        return items
    batch = Batch(*(_images([item for item in items if item.kind == kind]) for kind in ("labeled", "unlabeled")))
    return batch if get_worker_info() is None else in_shared_memory(batch)


def _images(items: Sequence[LoadedSample]) -> Images | None:
    if not items:
        return None
    samples = [item.sample for item in items]
    return Images(
        torch.from_numpy(np.stack([sample.image for sample in samples])),
        _stacked([sample.inverse_depth for sample in samples]),
        _stacked([sample.labels for sample in samples]),
        None if items[0].perturbation is None else stack_perturbations([item.perturbation for item in items]),
    )


def _stacked(arrays: Sequence[np.ndarray | None]) -> Tensor | None:
    """One tensor, or None unless all samples have it."""
    return None if any(array is None for array in arrays) else torch.from_numpy(np.stack(arrays))


def open_batches(
    configuration: StageConfiguration, samples: Samples, first_step: int, rank: int = 0, devices: int = 1
) -> DataLoader:
    """One device's batches in order, read ahead by worker processes; in place of one, what kept it from being read."""
    workers = min(configuration.data.workers, usable_cores())
    return _Loader(
        samples,
        batch_sampler=BatchSampler(configuration, first_step, rank, devices),
        collate_fn=collate,
        num_workers=workers,
        # They share what is open already. Python 3.14 would start anew, import all and send the samples by pickle.
        multiprocessing_context="fork" if workers else None,
        prefetch_factor=4 if workers else None,
        pin_memory=torch.cuda.is_available(),
        worker_init_fn=ignore_stop_signals,
    )


class _Loader(DataLoader):
    """Each of its processes decodes in one thread: OpenCV would start as many as there are cores in every one."""

    def __iter__(self) -> Iterator[Batch]:
        before = cv2.getNumThreads()
        cv2.setNumThreads(1)  # here: a forked process that ended OpenCV's threads would wait for ever for them
        try:
            return super().__iter__()
        finally:
            cv2.setNumThreads(before)
