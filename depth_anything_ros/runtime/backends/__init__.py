"""Backends: the libraries that run a network's graph, behind one small interface.

A backend knows graphs and batches; images, resizing and records are the estimator's. Each one lives in a module of
its own, imported only when it is chosen.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

import numpy as np

from depth_anything_ros.runtime.errors import ModelError

BACKENDS = {"onnxruntime": "depth_anything_ros.runtime.backends.onnxruntime_backend"}
"""Backends by name, best first; each module has `load(path, threads) -> Backend`."""


class Backend(Protocol):
    """One loaded graph.

    ``layout`` is how it wants its batch: "uint8_nhwc" (N, H, W, 3) or "float_nchw" (N, 3, H, W), as in a record's
    ``input``. ``input_size`` is the (height, width) that it takes, None where it claims to take any. ``metadata`` is
    what the graph's file says about itself.
    """

    name: str
    layout: str
    input_size: tuple[int, int] | None
    metadata: Mapping[str, str]

    def run(self, batch: np.ndarray) -> np.ndarray:
        """A batch in the graph's layout to its maps, float32 (N, h, w). Raises `ModelError`."""
        ...


def create(backend: str, path: Path, threads: int | None = None) -> Backend:
    """Loads the graph at ``path`` with the named backend; "auto" takes the best one.

    Args:
        backend: a key of `BACKENDS`, or "auto".
        path: the graph's file.
        threads: CPU threads to compute with; None leaves the choice to the backend.

    Raises:
        ValueError: no such backend, or ``threads`` below 1.
        ModelError: the file is absent, damaged or not a depth network, or the backend's library is not installed.
    """
    name = next(iter(BACKENDS)) if backend == "auto" else backend
    if name not in BACKENDS:
        raise ValueError(f"unknown backend {backend!r}: choose one of auto, {', '.join(BACKENDS)}")
    if threads is not None and threads < 1:
        raise ValueError(f"threads is {threads}, must be at least 1")
    try:
        module = importlib.import_module(BACKENDS[name])
    except ImportError as error:
        raise ModelError(f"backend {name!r} is not installed: {error}") from error
    return module.load(path, threads)
