"""Backends: the libraries that run a network's graph, behind one small interface.

A backend knows graphs and batches; images, resizing and records are the estimator's. Each one lives in a module of
its own, imported only when it is chosen.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple, Protocol

import numpy as np

from depth_anything_ros.runtime.errors import ModelError

REFERENCE_BACKEND = "onnxruntime"
"""The backend whose 32-bit output every other one is held to."""


class BackendModule(NamedTuple):
    """Where a backend is implemented (a module with ``load(path, threads) -> Backend``) and the library it needs."""

    module: str
    library: str


BACKENDS = {
    "openvino": BackendModule("depth_anything_ros.runtime.backends.openvino_backend", "openvino"),
    "onnxruntime": BackendModule("depth_anything_ros.runtime.backends.onnxruntime_backend", "onnxruntime"),
}
"""Backends by name, fastest first, as measured on CPUs."""


class Backend(Protocol):
    """One loaded graph.

    ``layout`` is how it wants its batch: "uint8_nhwc" (N, H, W, 3) or "float_nchw" (N, 3, H, W), as in a record's
    ``input``. ``input_size`` is the (height, width) that it takes, None where it claims to take any. ``metadata`` is
    what the graph's file says about itself. ``precision`` is what it computes in, a key of the gate's limits.
    """

    name: str
    layout: str
    input_size: tuple[int, int] | None
    metadata: Mapping[str, str]
    precision: str

    def run(self, batch: np.ndarray) -> np.ndarray:
        """A batch in the graph's layout to its maps, float32 (N, h, w). Raises `ModelError`.

        The result may be the backend's own buffer, good until the next call.
        """
        ...


def candidates(backend: str) -> list[str]:
    """The backends to try, best first: the one named, or for "auto" all whose library is installed.

    Raises:
        ValueError: no such backend.
    """
    if backend == "auto":
        return [name for name, (_, library) in BACKENDS.items() if find_spec(library) is not None]
    if backend not in BACKENDS:
        raise ValueError(f"unknown backend {backend!r}: choose one of auto, {', '.join(BACKENDS)}")
    return [backend]


def create(backend: str, path: Path, threads: int | None = None) -> Backend:
    """Loads the graph at ``path`` with the named backend.

    Args:
        backend: a key of `BACKENDS`.
        path: the graph's file.
        threads: CPU threads to compute with; None leaves the choice to the backend.

    Raises:
        ValueError: no such backend, or ``threads`` below 1.
        ModelError: the file is absent, damaged or not a depth network, or the backend's library is not installed.
    """
    if backend not in BACKENDS:
        raise ValueError(f"unknown backend {backend!r}: choose one of {', '.join(BACKENDS)}")
    if threads is not None and threads < 1:
        raise ValueError(f"threads is {threads}, must be at least 1")
    if not path.is_file():
        raise ModelError(f"{path}: no such file")
    try:
        module = importlib.import_module(BACKENDS[backend].module)
    except ImportError as error:
        raise ModelError(f"backend {backend!r} is not installed: {error}") from error
    return module.load(path, threads)


def drop_channel(maps: np.ndarray, count: int, path: Path) -> np.ndarray:
    """A graph's output as (N, h, w): a channel axis of one, which many networks leave in it, is dropped.

    Raises:
        ModelError: the output is no map per image of a batch of ``count``.
    """
    if maps.ndim == 4:
        channel = 1 if maps.shape[1] == 1 else 3
        if maps.shape[channel] == 1:
            maps = maps.squeeze(channel)
    if maps.ndim != 3 or len(maps) != count:
        raise ModelError(f"{path}: output has shape {maps.shape}, expected ({count}, height, width)")
    return maps.astype(np.float32, copy=False)


def layout_and_size(shape: list[int | None], element_type: str, path: Path) -> tuple[str, tuple[int, int] | None]:
    """The layout and fixed (height, width), if any, that a graph's input asks for.

    Args:
        shape: four sides; None for one that is free.
        element_type: "uint8" or "float32"; others are refused.
        path: for the error.

    Raises:
        ModelError: no image can be fed to such an input.
    """
    for layout, wanted, channel_axis, sides in (
        ("uint8_nhwc", "uint8", 3, slice(1, 3)),
        ("float_nchw", "float32", 1, slice(2, 4)),
    ):
        if element_type != wanted or len(shape) != 4 or shape[channel_axis] not in (3, None):
            continue
        height, width = shape[sides]
        return layout, None if height is None or width is None else (height, width)
    raise ModelError(
        f"{path}: its input is {element_type} {shape}; "
        "needed is uint8 [N, H, W, 3] or float32 [N, 3, H, W] (half-precision graphs must keep a float32 input)"
    )
