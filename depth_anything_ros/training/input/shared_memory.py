"""Batches in shared memory, on their way from the processes that read them to the one that trains."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import Tensor

if TYPE_CHECKING:
    from depth_anything_ros.training.input.batches import Batch

MORE_OF_IT = "lower data.workers, or give a container more of /dev/shm (docker run --shm-size)"


class SharedMemoryError(RuntimeError):
    """Shared memory does not hold a batch; the message says what to change."""


def in_shared_memory(batch: Batch) -> Batch | SharedMemoryError:
    """The batch in shared memory, or what to raise where that is full.

    PyTorch would move it there in a thread of the reading process, which prints an error and sends nothing: the process
    that trains would wait for ever.
    """
    try:
        return batch.map(Tensor.share_memory_)
    except RuntimeError as error:
        return SharedMemoryError(f"shared memory does not hold the batches that are read ahead ({error}): {MORE_OF_IT}")
