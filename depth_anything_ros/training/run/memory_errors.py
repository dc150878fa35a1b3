"""Memory that ran out, in words: whose, and what to lower."""

from __future__ import annotations

import torch

_OF_GPUS = ("CUDA out of memory", "CUBLAS_STATUS_ALLOC_FAILED", "CUDNN_STATUS_ALLOC_FAILED")
_OF_MACHINES = ("can't allocate memory", "not enough memory", "Cannot allocate memory")


class MemoryRanOutError(RuntimeError):
    """Memory ran out; the message says whose, what to lower, and what became of the run."""


def memory_that_ran_out(error: BaseException) -> str | None:
    """Whose memory it is, where an error tells that it ran out; None for every other error.

    PyTorch has a class of its own for a part of them; the others are `RuntimeError`, and known by their text.
    """
    if isinstance(error, torch.OutOfMemoryError):
        return "the GPU's memory"
    if isinstance(error, MemoryError):
        return "this machine's memory"
    text = str(error) if isinstance(error, RuntimeError) else ""
    if any(words in text for words in _OF_GPUS):
        return "the GPU's memory"
    return "this machine's memory" if any(words in text for words in _OF_MACHINES) else None
