"""Batches in shared memory, sent from the reading processes to the training process."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import Tensor

if TYPE_CHECKING:
    from depth_anything_ros.training.input.batch import Batch

ENLARGE_SHARED_MEMORY = "lower data.workers, or give the container more /dev/shm (docker run --shm-size)"


class SharedMemoryError(RuntimeError):
    """Shared memory is too small for a batch; the message has the fix."""


def in_shared_memory(batch: Batch) -> Batch | SharedMemoryError:
    """Move a batch to shared memory; return it, or the error to raise if shared memory is full.

    PyTorch would move it in a thread of the reading process, which prints an error and sends nothing. The training
    process would then wait forever.
    """
    try:
        return batch.map(Tensor.share_memory_)
    except RuntimeError as error:
        return SharedMemoryError(
            f"shared memory is too small for the batches read ahead ({error}): {ENLARGE_SHARED_MEMORY}"
        )
