"""The interface between the estimator and a backend: what a backend loads, and what it runs.

To add a backend, also add it to `BACKENDS` in `runtime.backends`; CONTRIBUTING.md has the steps.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, Protocol

import numpy as np

from depth_anything_ros.runtime.engines.cache import Engine, EngineKey
from depth_anything_ros.runtime.errors import ModelError
from depth_anything_ros.runtime.graph import Graph
from depth_anything_ros.zoo.record import ModelRecord

MAX_BATCH = 4
"""Most images per batch: a backend keeps the compiled form for every batch size that it has run."""


class BackendChoice(NamedTuple):
    """A backend and its precision."""

    backend: str
    precision: str

    def __str__(self) -> str:
        return f"{self.backend} {self.precision}"


@dataclass(frozen=True)
class BuildOptions:
    """Options for building engines.

    Attributes:
        images: RGB uint8 (H, W, 3) to measure INT8 ranges on; default: crops of the gate's images.
        report: receives the phase and the finished fraction 0..1, from any thread.
        rebuild: whether to build an engine again that exists or was rejected.
        workspace: bytes of device memory for TensorRT; default: all.
    """

    images: Sequence[np.ndarray] | None = None
    report: Callable[[str, float], None] | None = None
    rebuild: bool = False
    workspace: int | None = None


@dataclass(frozen=True)
class LoadRequest:
    """A request to load a graph for one input size (height, width) with one backend."""

    choice: BackendChoice
    graph: Graph
    record: ModelRecord
    size: tuple[int, int]
    threads: int | None = None
    building: BuildOptions = BuildOptions()

    @property
    def device(self) -> str:
        """The part of the backend's name after the colon, or ""."""
        return self.choice.backend.partition(":")[2]

    @property
    def depth_output(self) -> str | None:
        """The name of the graph's first map except its confidence; None for weights, whose outputs have no names."""
        return next((name for name in self.graph.maps if name != self.record.confidence), None)

    def engine_key(self, library: str, device: str) -> EngineKey:
        """Return the key of the engine for this request.

        Args:
            library: that builds it, with its version.
            device: the GPU's name and compute capability, or the processor's kind and features.
        """
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

    A backend that gives the record's confidence has ``gives_confidence`` True and is a `ConfidenceBackend`. One with
    ``batches`` True runs any number of images with the same result as alone, without a build that takes minutes. Both
    attributes may be missing, which means False.

    Attributes:
        engine: the stored engine that it runs, None if nothing was built.
        resizes: whether it is also a `ResizingBackend`.
    """

    engine: Engine | None
    resizes: bool

    def run(self, batch: np.ndarray) -> np.ndarray:
        """Run a batch in the graph's layout. Return its maps, float32 (N, h, w). Raises `ModelError`.

        The result may be the backend's own buffer, which the next call overwrites.
        """
        ...


class ConfidenceBackend(Backend, Protocol):
    """A backend that also gives the confidence."""

    def run_both(self, batch: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Run a batch like `run`. Return its maps and its confidence maps, float32 (N, h', w')."""
        ...


class ResizingBackend(Backend, Protocol):
    """A backend that resizes images and maps on the device."""

    def estimate(
        self,
        image: np.ndarray,
        size: tuple[int, int],
        out: np.ndarray | None,
        confidence: np.ndarray | None = None,
    ) -> np.ndarray:
        """Estimate a map at the requested size. Raises `ModelError`.

        Args:
            image: RGB uint8 (H, W, 3).
            size: (height, width) of the result.
            out: float32 of that size, receives the result; None allocates it.
            confidence: float32 of that size, receives the confidence; None unless the backend gives it.
        """
        ...


def drop_channel(maps: np.ndarray, count: int, path: Path, kind: str = "output") -> np.ndarray:
    """Return a graph's output as (N, h, w), without the channel axis of length one that many networks have.

    Args:
        maps: the output.
        count: images in the batch.
        path: of the graph, for the message.
        kind: of the output, for the message.

    Raises:
        ModelError: the output is not one map per image.
    """
    if maps.ndim == 4:
        channel = 1 if maps.shape[1] == 1 else 3
        if maps.shape[channel] == 1:
            maps = maps.squeeze(channel)
    if maps.ndim != 3 or len(maps) != count:
        raise ModelError(f"{path}: {kind} has shape {maps.shape}, expected ({count}, height, width)")
    return maps.astype(np.float32, copy=False)
