"""What the processor can do at most: products of float32 matrices, by the libraries that are best at them."""

from __future__ import annotations

import time
from collections.abc import Callable
from importlib.util import find_spec

import numpy as np

SIDES = (512, 1024, 2048)
"""Of the square matrices; which is fastest depends on caches and on the number of threads."""


class Gemm:
    """Measures products of square float32 matrices, with NumPy and, if it is installed, PyTorch.

    NumPy's threads are set by the environment of the process (`environment`), before NumPy is imported.
    """

    def __init__(self, threads: int | None) -> None:
        self._products = {"numpy": _numpy_product}
        if find_spec("torch") is not None:
            import torch

            if threads is not None:
                torch.set_num_threads(threads)
            self._products["torch"] = _torch_product

    def measure(self, seconds: float) -> dict[str, float]:
        """The best GFLOP/s of each library over all sides, in about so many seconds in all, two products at least."""
        share = seconds / len(SIDES) / len(self._products)
        return {
            library: max(2e-9 * side**3 / _best_time(product(side), share) for side in SIDES)
            for library, product in self._products.items()
        }


def environment(threads: int | None) -> dict[str, str]:
    """Variables that give the libraries behind NumPy so many threads; none for their own choice."""
    if threads is None:
        return {}
    return {name: str(threads) for name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS")}


def _best_time(call: Callable[[], object], seconds: float) -> float:
    """Seconds of the fastest of calls that last for so many seconds, two at least after one that is not counted."""
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
