"""Memory that ran out: recognized, with a message that has the fix."""

from __future__ import annotations

import torch

_OF_GPUS = ("CUDA out of memory", "CUBLAS_STATUS_ALLOC_FAILED", "CUDNN_STATUS_ALLOC_FAILED")
_OF_MACHINES = ("can't allocate memory", "not enough memory", "Cannot allocate memory")


class MemoryRanOutError(RuntimeError):
    """Memory ran out; the message says which memory, the fix, and the state of the run."""


def memory_that_ran_out(error: BaseException) -> str | None:
    """Return which memory ran out, if that is what an error means; None for any other error.

    PyTorch has an error class for some cases; the others are `RuntimeError`, recognized by their text.
    """
    if isinstance(error, torch.OutOfMemoryError):
        return "the GPU's memory"
    if isinstance(error, MemoryError):
        return "this machine's memory"
    text = str(error) if isinstance(error, RuntimeError) else ""
    if any(words in text for words in _OF_GPUS):
        return "the GPU's memory"
    return "this machine's memory" if any(words in text for words in _OF_MACHINES) else None
