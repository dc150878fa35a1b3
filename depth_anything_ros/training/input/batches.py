"""Batches: the samples of each device's share of a step, read ahead by worker processes.

A step has the same batch whenever it is repeated, and over all devices the same as on one.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Sampler, get_worker_info

from depth_anything_ros.system.cpu_cores import usable_cores
from depth_anything_ros.system.signals import ignore_stop_signals
from depth_anything_ros.training.configuration import StageConfiguration
from depth_anything_ros.training.input.augmentation import stack_perturbations
from depth_anything_ros.training.input.batch import Batch, Images
from depth_anything_ros.training.input.samples import LoadedSample, SampleIndex, Samples, part_sizes
from depth_anything_ros.training.input.shared_memory import in_shared_memory


def check_shares(configuration: StageConfiguration, devices: int) -> None:
    """Check that a step's images can be divided among the devices.

    Args:
        configuration: the stage's settings.
        devices: number of devices.

    Raises:
        ValueError: they cannot; the message names the setting and a value that fits.
    """
    parts = configuration.optimizer.grad_accum_steps
    for kind, count in part_sizes(configuration).items():
        multiple = devices * 2 if kind == "unlabeled" else devices
        if count % multiple:
            raise ValueError(
                f"{kind}_batch_size: {count} images in each of {parts} parts of a step cannot be divided among "
                f"{devices} devices{' in pairs' if kind == 'unlabeled' else ''}; use a multiple of {multiple * parts}"
            )


class BatchSampler(Sampler):
    """The sample indices of one device's batches; each device has a contiguous share of every part.

    Args:
        configuration: the stage's settings.
        first_step: the first step to read.
        rank: of this device.
        devices: number of devices.
    """

    def __init__(self, configuration: StageConfiguration, first_step: int, rank: int = 0, devices: int = 1) -> None:
        parts = configuration.optimizer.grad_accum_steps
        self._parts = range(first_step * parts, configuration.optimizer.steps * parts)
        check_shares(configuration, devices)
        shares = {kind: count // devices for kind, count in part_sizes(configuration).items()}
        self._slots = {kind: range(rank * share, (rank + 1) * share) for kind, share in shares.items()}

    def __iter__(self) -> Iterator[list[SampleIndex]]:
        """Yield the indices of one batch at a time."""
        for part in self._parts:
            yield [SampleIndex(kind, part, slot) for kind, slots in self._slots.items() for slot in slots]

    def __len__(self) -> int:
        return len(self._parts)


def collate(items: Sequence[LoadedSample] | Exception) -> Batch | Exception:
    """Stack samples of one size into a batch; pass an error through."""
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
    """Return one tensor, or None unless all samples have the array."""
    return None if any(array is None for array in arrays) else torch.from_numpy(np.stack(arrays))


def open_batches(
    configuration: StageConfiguration, samples: Samples, first_step: int, rank: int = 0, devices: int = 1
) -> DataLoader:
    """Open one device's batches in order, read ahead by worker processes.

    The loader yields an exception instead of a batch that could not be read.

    Args:
        configuration: the stage's settings.
        samples: the samples of the run.
        first_step: the first step to read.
        rank: of this device.
        devices: number of devices.
    """
    workers = min(configuration.data.workers, usable_cores())
    return _Loader(
        samples,
        batch_sampler=BatchSampler(configuration, first_step, rank, devices),
        collate_fn=collate,
        num_workers=workers,
        # Forked processes share open files. The default of Python 3.14 would import all again and pickle the samples.
        multiprocessing_context="fork" if workers else None,
        prefetch_factor=4 if workers else None,
        pin_memory=torch.cuda.is_available(),
        worker_init_fn=ignore_stop_signals,
    )


class _Loader(DataLoader):
    """A loader whose processes decode in one thread each, where OpenCV would start one for each core."""

    def __iter__(self) -> Iterator[Batch]:
        before = cv2.getNumThreads()
        cv2.setNumThreads(1)  # before the fork: a forked process that ends OpenCV's threads waits for them forever
        try:
            return super().__iter__()
        finally:
            cv2.setNumThreads(before)
