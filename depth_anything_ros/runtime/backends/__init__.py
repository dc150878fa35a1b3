"""Backends: the libraries that run a network's graph, behind one small interface.

A backend handles graphs and batches. The estimator handles images, resizing and records. Each backend has its own
module, which is imported only when the backend is chosen. A name such as "onnxruntime:cuda" is a library and its
device. A bare library name means the CPU, except for TensorRT, which supports only GPUs.

To add a backend, write a module with `load(request)` that returns a `Backend` (its methods are in `interface`), and add
it to `BACKENDS`. CONTRIBUTING.md lists the extras, documents and tests that belong to it.
"""

from __future__ import annotations

import importlib
from importlib.util import find_spec
from typing import Any, NamedTuple

from depth_anything_ros.runtime.backends.interface import Backend, BackendChoice, LoadRequest
from depth_anything_ros.runtime.errors import ModelError, UnavailableError
from depth_anything_ros.system.extras import import_problem

PRECISIONS = ("int8", "fp16", "mixed", "bf16", "fp32")
"""Precisions of engines, the least precise first. "mixed" is fp16, but fp32 where fp16 overflows or rounds badly."""


class BackendModule(NamedTuple):
    """A backend's implementation.

    Attributes:
        module: has ``load(request) -> Backend``, and ``check(request)`` if "auto" uses it.
        library: the Python module that it needs.
        precisions: that it offers, each followed by its fallback.
        usual: the first precision for "auto"; None if "auto" does not use the backend.
        reads_weights: whether it loads a checkpoint instead of a graph.
        builds_for_minutes: whether it compiles for each input size, which may take minutes.
    """

    module: str
    library: str
    precisions: tuple[str, ...] = ("fp32",)
    usual: str | None = None
    reads_weights: bool = False
    builds_for_minutes: bool = False


_HERE = "depth_anything_ros.runtime.backends"
_HALF = ("fp16", "mixed", "fp32")

BACKENDS = {
    "tensorrt": BackendModule(f"{_HERE}.tensorrt_backend", "tensorrt", _HALF, "fp16", builds_for_minutes=True),
    "onnxruntime:tensorrt_rtx": BackendModule(
        f"{_HERE}.onnxruntime_backend", "onnxruntime_ep_nv_tensorrt_rtx", _HALF, "fp16", builds_for_minutes=True
    ),
    "onnxruntime:tensorrt": BackendModule(
        f"{_HERE}.onnxruntime_backend", "onnxruntime", _HALF, "fp16", builds_for_minutes=True
    ),
    "onnxruntime:cuda": BackendModule(f"{_HERE}.onnxruntime_backend", "onnxruntime", _HALF, "fp16"),
    "torch:cuda": BackendModule(f"{_HERE}.torch_backend", "torch", ("fp16", "fp32"), reads_weights=True),
    "torch:cuda_compile": BackendModule(f"{_HERE}.torch_backend", "torch", ("fp16", "fp32"), reads_weights=True),
    "openvino:gpu": BackendModule(f"{_HERE}.openvino_backend", "openvino", ("fp16", "fp32"), "fp16"),
    "openvino:npu": BackendModule(f"{_HERE}.openvino_backend", "openvino", ("fp16",)),
    "openvino": BackendModule(f"{_HERE}.openvino_backend", "openvino", ("int8", "bf16", "fp32"), "bf16"),
    "onnxruntime": BackendModule(f"{_HERE}.onnxruntime_backend", "onnxruntime", ("int8", "fp32"), "fp32"),
    "torch:compile": BackendModule(f"{_HERE}.torch_backend", "torch", reads_weights=True),
    "torch": BackendModule(f"{_HERE}.torch_backend", "torch", reads_weights=True),
}
"""Backends by name. "auto" tries those for NVIDIA GPUs in this order, and measures the others against each other."""

REFERENCE = BackendChoice("onnxruntime", "fp32")
"""The reference that the gate compares every other choice with."""


def builds_for_minutes(choice: BackendChoice) -> bool:
    """Return whether the choice compiles for each input size, which may take minutes."""
    return BACKENDS[choice.backend].builds_for_minutes


def reads_weights(choice: BackendChoice) -> bool:
    """Return whether the choice loads a checkpoint instead of a graph."""
    return BACKENDS[choice.backend].reads_weights


def is_installed(backend: str) -> bool:
    """Return whether a backend's library is installed; its device may still be missing."""
    return find_spec(BACKENDS[backend].library) is not None


def load(request: LoadRequest) -> Backend:
    """Load a graph, and build its engine first if the choice needs one that is not in the cache.

    Raises:
        ValueError: the backend is unknown, or ``threads`` is below 1.
        UnavailableError: the backend cannot run on this machine.
        ModelError: the files are damaged or not a depth network, or the engine cannot be built.
    """
    backend = request.choice.backend
    if backend not in BACKENDS:
        raise ValueError(f"unknown backend {backend!r}: choose one of {', '.join(BACKENDS)}")
    if request.threads is not None and request.threads < 1:
        raise ValueError(f"threads is {request.threads}, must be at least 1")
    return _call("load", request)


def check(request: LoadRequest) -> None:
    """Check the device and the packages of a backend that "auto" uses, without a build.

    Raises:
        UnavailableError: the backend cannot run on this machine.
    """
    _call("check", request)


def _call(function: str, request: LoadRequest) -> Any:
    """Call a function of the request's backend, and turn the library's errors into `ModelError`."""
    backend = request.choice.backend
    try:
        return getattr(importlib.import_module(BACKENDS[backend].module), function)(request)
    except ImportError as error:  # of the library, or of a package that only some of its uses need
        raise UnavailableError(
            f"backend {backend!r} cannot be imported: {import_problem(error)} (docs/backends.md)"
        ) from error
    except ModelError:
        raise
    except (OSError, RuntimeError) as error:  # from the library at work
        raise ModelError(f"{request.graph.path}: {request.choice} failed: {error}") from error
