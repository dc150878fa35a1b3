"""The processor's peak performance: float32 matrix products by the fastest libraries."""

from __future__ import annotations

import time
from collections.abc import Callable
from importlib.util import find_spec

import numpy as np

SIDES = (512, 1024, 2048)
"""Sides of the square matrices. The fastest depends on caches and the number of threads."""


class Gemm:
    """Measures products of square float32 matrices, with NumPy and, if installed, PyTorch.

    The environment of the process (`environment`) sets NumPy's threads, before NumPy is imported.
    """

    def __init__(self, threads: int | None) -> None:
        self._products = {"numpy": _numpy_product}
        if find_spec("torch") is not None:
            import torch

            if threads is not None:
                torch.set_num_threads(threads)
            self._products["torch"] = _torch_product

    def measure(self, seconds: float) -> dict[str, float]:
        """Return the best GFLOP/s of each library over all sides, in about ``seconds``, with at least two products."""
        share = seconds / len(SIDES) / len(self._products)
        return {
            library: max(2e-9 * side**3 / _best_time(product(side), share) for side in SIDES)
            for library, product in self._products.items()
        }


def environment(threads: int | None) -> dict[str, str]:
    """Return variables that set the threads of the libraries behind NumPy; none for their own choice."""
    if threads is None:
        return {}
    return {name: str(threads) for name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS")}


def _best_time(call: Callable[[], object], seconds: float) -> float:
    """Return the fastest call in seconds, of calls that take ``seconds``, at least two; the first is a warm-up."""
    call()
    times: list[float] = []
    while len(times) < 2 or sum(times) < seconds:
        started = time.perf_counter()
        call()
        times.append(time.perf_counter() - started)
    return min(times)


def _numpy_product(side: int) -> Callable[[], object]:
    left, right = (np.random.default_rng(seed).random((side, side), np.float32) for seed in (0, 1))
    out = np.empty_like(left)
    return lambda: np.matmul(left, right, out=out)


def _torch_product(side: int) -> Callable[[], object]:
    import torch

    left, right = torch.rand(side, side), torch.rand(side, side)
    out = torch.empty(side, side)
    return lambda: torch.mm(left, right, out=out)
