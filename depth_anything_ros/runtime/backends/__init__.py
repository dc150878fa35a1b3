"""Backends: the libraries that run a network's graph, behind one small interface.

A backend knows graphs and batches; images, resizing and records are the estimator's. Each one lives in a module of
its own, imported only when it is chosen. A name such as "onnxruntime:cuda" is a library and what it runs on; the bare
library's name means the CPU, but for TensorRT, which has no other device than a GPU.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from itertools import takewhile
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np

from depth_anything_ros.runtime.cpu_features import X86, processor
from depth_anything_ros.runtime.engines.cache import Engine, EngineKey
from depth_anything_ros.runtime.errors import ModelError, UnavailableError
from depth_anything_ros.runtime.graph import Graph
from depth_anything_ros.system.extras import advice
from depth_anything_ros.zoo.record import ModelRecord

PRECISIONS = ("int8", "fp16", "mixed", "bf16", "fp32")
"""What engines compute in, the least precise first. "mixed" is fp16 but for what overflows or rounds badly in it."""


class BackendModule(NamedTuple):
    """A backend's implementation.

    ``module`` has ``load(request) -> Backend``, and ``check(request)`` where it builds for minutes. ``library`` is the
    Python module it needs. ``precisions`` are those it offers, each followed by what is tried when it fails. ``usual``
    is the one that "auto" begins with, None where "auto" leaves the backend out. ``reads_weights``: it is given a
    checkpoint instead of a graph. ``builds_for_minutes``: it compiles for each input size, which may take minutes.
    """

    module: str
    library: str
    precisions: tuple[str, ...] = ("fp32",)
    usual: str | None = "fp32"
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
    "torch:cuda": BackendModule(f"{_HERE}.torch_backend", "torch", ("fp16", "fp32"), None, reads_weights=True),
    "torch:cuda_compile": BackendModule(f"{_HERE}.torch_backend", "torch", ("fp16", "fp32"), None, reads_weights=True),
    "openvino:gpu": BackendModule(f"{_HERE}.openvino_backend", "openvino", ("fp16", "fp32"), "fp16"),
    "openvino:npu": BackendModule(f"{_HERE}.openvino_backend", "openvino", ("fp16",), None),
    "openvino": BackendModule(f"{_HERE}.openvino_backend", "openvino", ("int8", "bf16", "fp32"), "bf16"),
    "onnxruntime": BackendModule(f"{_HERE}.onnxruntime_backend", "onnxruntime", ("int8", "fp32")),
    "torch:compile": BackendModule(f"{_HERE}.torch_backend", "torch", usual=None, reads_weights=True),
    "torch": BackendModule(f"{_HERE}.torch_backend", "torch", usual=None, reads_weights=True),
}
"""Backends by name. "auto" tries those for NVIDIA's GPUs in this order, and measures the others against each other."""

MAX_BATCH = 4
"""Images that run together at most: a backend keeps what it compiled for every number of images that it has met."""


class BackendChoice(NamedTuple):
    """A backend and the precision it computes in."""

    backend: str
    precision: str

    def __str__(self) -> str:
        return f"{self.backend} {self.precision}"


REFERENCE = BackendChoice("onnxruntime", "fp32")
"""What every other choice is held to."""


@dataclass(frozen=True)
class BuildOptions:
    """How engines that must be built first are built.

    ``images``: RGB uint8 (H, W, 3) that INT8 ranges are measured on; default: pieces of the gate's images.
    ``report(phase, fraction)`` receives progress, from any thread. ``rebuild`` builds even what is there or was refused
    before. ``workspace``: bytes of device memory that TensorRT may use; default: all.
    """

    images: Sequence[np.ndarray] | None = None
    report: Callable[[str, float], None] | None = None
    rebuild: bool = False
    workspace: int | None = None


@dataclass(frozen=True)
class LoadRequest:
    """What a backend is to load: a graph for one input size (height, width)."""

    choice: BackendChoice
    graph: Graph
    record: ModelRecord
    size: tuple[int, int]
    threads: int | None = None
    building: BuildOptions = BuildOptions()

    @property
    def device(self) -> str:
        """What stands behind the colon of the backend's name, "" if there is none."""
        return self.choice.backend.partition(":")[2]

    @property
    def depth_output(self) -> str | None:
        """The name of the graph's first map that is not its confidence; None for weights, which have no names."""
        return next((name for name in self.graph.maps if name != self.record.confidence), None)

    def engine_key(self, library: str, device: str) -> EngineKey:
        """The key of the engine that is to be built for it, by ``library`` (with its version) for ``device``."""
        return EngineKey(
            model=self.record.name,
            graph_sha256=self.graph.sha256,
            weights_sha256=self.graph.weights_sha256,
            backend=self.choice.backend,
            library=library,
            device=device,
            precision=self.choice.precision,
            shape=self.graph.batch_shape(self.size),
            normalization=f"{self.record.input} {self.record.mean} {self.record.std}",
        )


class Backend(Protocol):
    """One loaded graph.

    ``engine`` is the stored engine that it runs, None where nothing was built. ``resizes`` says whether it is a
    `ResizingBackend` too.

    One that gives the confidence that the record names has ``gives_confidence`` True and is a `ConfidenceBackend`. One
    that runs any number of images as they would run alone, without building anything that takes minutes, has
    ``batches`` True. Both may be absent, which means False.
    """

    engine: Engine | None
    resizes: bool

    def run(self, batch: np.ndarray) -> np.ndarray:
        """A batch in the graph's layout to its maps, float32 (N, h, w). Raises `ModelError`.

        The result may be the backend's own buffer, good until the next call.
        """
        ...


class ConfidenceBackend(Backend, Protocol):
    """One that gives the confidence too."""

    def run_both(self, batch: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """As `run`, with the confidence maps, float32 (N, h', w'), behind the others."""
        ...


class ResizingBackend(Backend, Protocol):
    """One that brings images to the network's size, and maps to the size asked for, on the device."""

    def estimate(
        self,
        image: np.ndarray,
        size: tuple[int, int],
        out: np.ndarray | None,
        confidence: np.ndarray | None = None,
    ) -> np.ndarray:
        """As `Network.estimate`. ``confidence`` is given only to one that gives it."""
        ...


def choices(backend: str = "auto", precision: str = "auto") -> list[BackendChoice]:
    """What to try, best first.

    For a named backend its precisions from the one asked for to the safest; for "auto" those of all whose library is
    installed. A precision that this processor only emulates is there where it was asked for by name, to be refused
    with that reason, and nowhere else.

    Raises:
        ValueError: no such backend or precision, or the backend does not offer it.
    """
    if backend != "auto" and backend not in BACKENDS:
        raise ValueError(f"unknown backend {backend!r}: choose one of auto, {', '.join(BACKENDS)}")
    if precision != "auto" and precision not in PRECISIONS:
        raise ValueError(f"unknown precision {precision!r}: choose one of auto, {', '.join(PRECISIONS)}")
    if backend != "auto":
        return _choices_of(backend, precision)
    installed = [name for name, entry in BACKENDS.items() if entry.usual is not None and is_installed(name)]
    if precision == "auto":
        return [choice for name in installed for choice in _choices_of(name, precision)]
    able = [name for name in installed if precision in BACKENDS[name].precisions]
    if not able:
        raise ValueError(f"no backend that is installed offers precision {precision!r}")
    found = [choice for name in able for choice in _choices_of(name, precision)]
    return sorted(found, key=lambda choice: PRECISIONS.index(choice.precision))


def _choices_of(backend: str, precision: str) -> list[BackendChoice]:
    entry = BACKENDS[backend]
    requested = (entry.usual or entry.precisions[0]) if precision == "auto" else precision
    if requested not in entry.precisions:
        raise ValueError(f"{backend} does not offer precision {requested!r}, only {', '.join(entry.precisions)}")
    names = entry.precisions[entry.precisions.index(requested) :]
    return [
        BackendChoice(backend, name) for name in names if name == precision or name != "bf16" or _computes_bfloat16()
    ]


def _computes_bfloat16() -> bool:
    """Whether OpenVINO computes in bfloat16 here; on Arm it does not, whatever the processor has."""
    found = processor()
    return found.bf16 and found.architecture in X86


def builds_for_minutes(choice: BackendChoice) -> bool:
    """Whether the choice compiles for each input size, which may take minutes."""
    return BACKENDS[choice.backend].builds_for_minutes


def is_measured(choice: BackendChoice) -> bool:
    """Whether "auto" measures it against others: all but what is for NVIDIA's GPUs, which no processor outruns."""
    return choice.backend.partition(":")[2] in ("", "gpu") and not builds_for_minutes(choice)


def rivals(candidates: Sequence[BackendChoice], any_precision: bool) -> list[BackendChoice]:
    """The first of the candidates that "auto" measures against each other, two or more, or none.

    ``any_precision``: whether they may differ in it; where one was asked for, the next is a way out and no rival.
    """
    precisions = PRECISIONS if any_precision else {choice.precision for choice in candidates[:1]}
    found = list(takewhile(lambda other: is_measured(other) and other.precision in precisions, candidates))
    return found if len(found) > 1 else []


def reads_weights(choice: BackendChoice) -> bool:
    """Whether the choice is given a checkpoint instead of a graph."""
    return BACKENDS[choice.backend].reads_weights


def is_installed(backend: str) -> bool:
    """Whether the library of a backend is there; its device may still be missing."""
    return find_spec(BACKENDS[backend].library) is not None


def load(request: LoadRequest) -> Backend:
    """Loads a graph, building its engine first where the choice needs one that is not there.

    Raises:
        ValueError: no such backend, or ``threads`` below 1.
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
    """Looks for the device and the packages of a backend that ``builds_for_minutes``, and builds nothing.

    Raises:
        UnavailableError: the backend cannot run on this machine.
    """
    _call("check", request)


def _call(function: str, request: LoadRequest) -> Any:
    """Calls a function of the request's backend, with what goes wrong in the library as `ModelError`."""
    backend = request.choice.backend
    try:
        return getattr(importlib.import_module(BACKENDS[backend].module), function)(request)
    except ImportError as error:  # of the library itself, or of what only some of its uses need
        raise UnavailableError(
            f"backend {backend!r} lacks a package: {error}; {advice(error.name or '')} (docs/backends.md)"
        ) from error
    except ModelError:
        raise
    except (OSError, RuntimeError) as error:  # of a library in the middle of its work
        raise ModelError(f"{request.graph.path}: {request.choice} failed: {error}") from error


def drop_channel(maps: np.ndarray, count: int, path: Path, kind: str = "output") -> np.ndarray:
    """A graph's output as (N, h, w): a channel axis of one, which many networks leave in it, is dropped.

    ``kind`` is what errors call it.

    Raises:
        ModelError: the output is no map per image of a batch of ``count``.
    """
    if maps.ndim == 4:
        channel = 1 if maps.shape[1] == 1 else 3
        if maps.shape[channel] == 1:
            maps = maps.squeeze(channel)
    if maps.ndim != 3 or len(maps) != count:
        raise ModelError(f"{path}: {kind} has shape {maps.shape}, expected ({count}, height, width)")
    return maps.astype(np.float32, copy=False)
