"""The class that turns images into depth, for every model and backend."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from depth_anything_ros.images.resizing import check_image
from depth_anything_ros.runtime import gate
from depth_anything_ros.runtime.backends import builds_for_minutes, check, reads_weights
from depth_anything_ros.runtime.backends.interface import BuildOptions
from depth_anything_ros.runtime.candidates import Candidates
from depth_anything_ros.runtime.checked_networks import CheckedNetworks
from depth_anything_ros.runtime.cuda.gpu_advice import runs_on_gpu, unused_gpu
from depth_anything_ros.runtime.engines.cache import Engine
from depth_anything_ros.runtime.errors import ModelError, UnavailableError
from depth_anything_ros.runtime.graph import Graph, read_graph
from depth_anything_ros.runtime.image_requests import image_requests
from depth_anything_ros.runtime.input_sizes import free_size, nearest_size
from depth_anything_ros.runtime.measured_choice import question_about
from depth_anything_ros.runtime.model_files import (
    check_agreement,
    find_model_files,
    graphs_by_size,
    record_within,
    warn_of_maps,
)
from depth_anything_ros.runtime.network import Network
from depth_anything_ros.runtime.precision_choice import choices
from depth_anything_ros.system.lru_cache import LruCache
from depth_anything_ros.zoo.record import ModelRecord

__all__ = ["Estimator", "ModelError"]

Size = tuple[int, int]

log = logging.getLogger(__name__)

MAX_NETWORKS = 8
"""Most input sizes that stay loaded: a model that takes any size would otherwise fill the memory."""

DEFAULT_BUILDING = BuildOptions()


class Estimator:
    """An estimator of inverse depth, or of meters, for one image at a time. Not thread-safe.

    Images can have any size: each is resized to the model's network size with the nearest aspect ratio. A graph is
    loaded at its first use, and then kept. Before its first image, every graph must give the same result as ONNX
    Runtime on fixed images (`runtime.gate`). A backend that compiles for minutes (TensorRT) does so for the size of the
    first image, unless the model has only one size.

    Args:
        model: a name in the zoo, an .onnx file, or a folder. The folder has a `record.json` and one graph per size, or
            a single model file, such as transformers writes.
        backend: a key of `BACKENDS`, or "auto" for the fastest one that is installed and passes the gate: one for an
            NVIDIA GPU if there is one, else the fastest by measurement (`runtime.measured_choice`).
        record: the record of an .onnx file without one, or the JSON file with it. Default: `NAME.record.json` in the
            folder of `NAME.onnx`, if it exists.
        size: the only network size (height, width) to use; default: all of the model's.
        threads: CPU threads; default: the backend's choice.
        precision: one of `PRECISIONS` that the backend offers, or "auto" for its usual one. If it fails the gate, the
            next safer one follows, up to fp32.
        gated: False also accepts a backend that fails the gate, to examine its output.
        fallback: False uses only the best choice, and raises if it fails.
        building: options for engines that are not in the cache.
        measured: False uses the first of `BACKENDS` that works. Then results do not depend on the machine's load during
            a measurement.

    Attributes:
        record: the model's record.
        backend_name: the current backend. It changes if the backend fails at a later size.
        precision: of the current backend. It can change too.
        provenance: the origin of the model and its backend, in one line for logs.
        summary: the model's name and its backend, for a status.
        gate_result: how the latest loaded network passed the gate, in one line.
        waits_for_image: whether nothing is loaded until the first image, or `load_for`, determines the size.
        unused_gpu: the reason why "auto" uses the processor although there is an NVIDIA GPU, else "". A warning reports
            it when it happens, possibly at a later size.

    Raises:
        ModelError: the model is missing, damaged or has no record, contradicts its record, has no such size, or no
            backend gives correct depth with it.
        ValueError: ``backend`` or ``precision`` is unknown, they are not offered together, or ``threads`` is below 1.
    """

    record: ModelRecord

    def __init__(
        self,
        model: str | Path = "tiny",
        backend: str = "auto",
        record: ModelRecord | str | Path | None = None,
        size: Size | None = None,
        threads: int | None = None,
        precision: str = "auto",
        gated: bool = True,
        fallback: bool = True,
        building: BuildOptions = DEFAULT_BUILDING,
        measured: bool = True,
    ) -> None:
        candidates = choices(backend, precision)[: None if fallback else 1]
        measured = measured and backend == "auto" and fallback
        self._candidates = Candidates(candidates, precision, measured, rebuild=building.rebuild)
        self._gated = gated
        self.gate_result, self.unused_gpu = "nothing is loaded yet", ""
        self._prefers_gpu = backend == "auto" and precision not in ("int8", "bf16")  # no GPU backend offers these
        self._networks: LruCache[Size, Network] = LruCache(MAX_NETWORKS)
        files = find_model_files(model, record, weights=all(map(reads_weights, candidates)))
        self._weights = Graph(files.weights) if files.weights else None
        graphs = {key: read_graph(path) for key, path in files.graphs.items()}
        if files.record is not None and record is None and None not in graphs:
            for graph in graphs.values():
                check_agreement(files.record, graph)
        if self._weights is not None and not graphs:
            graphs = {None: self._weights}
        first = next(iter(graphs.values()))
        self.record = files.record or record_within(first)
        warn_of_maps(first, self.record)
        self._graphs = graphs_by_size(graphs, size)
        self._loader = CheckedNetworks(self.record, self._graphs, self._weights, threads, building, gated)
        # A graph that contradicts its record must fail here, not at a robot's first image.
        self._prove_free_size()
        self.waits_for_image = False
        self._load_first()
        self._origin = files.origin
        self._reason = ", the fastest here that passes the gate" if backend == "auto" else ""

    @property
    def provenance(self) -> str:
        """The origin of the model and its backend, in one line for logs."""
        reason = ", built and checked at the first image" if self.waits_for_image else self._reason
        origin = f"({self.record.output}), {self._origin},"
        return f"{self.record.name} {origin} on {self._candidates.best}{reason}{self._refused}"

    @property
    def summary(self) -> str:
        """The model's name, its backend, and what was refused: `provenance` without paths and reasons."""
        return f"{self.record.name} on {self._candidates.best}{self._refused}"

    @property
    def _refused(self) -> str:
        return f"; refused: {'; '.join(self._candidates.rejections)}" if self._candidates.rejections else ""

    @property
    def backend_name(self) -> str:
        """The current backend, a key of `BACKENDS`."""
        return self._candidates.best.backend

    @property
    def precision(self) -> str:
        """The precision of the current backend, one of `PRECISIONS`."""
        return self._candidates.best.precision

    @property
    def gives_confidence(self) -> bool:
        """Whether `estimate` fills ``confidence``: the record names a confidence, and the backend gives it."""
        if self.waits_for_image:  # all backends that build for minutes give it
            return self.record.confidence is not None
        return self._network(self._usual_size()).gives_confidence

    @property
    def batches(self) -> bool:
        """Whether `estimate_batch` runs images of the usual size together. The first access tries it."""
        return not self.waits_for_image and self._network(self._usual_size()).batches

    def input_size_for(self, height: int, width: int) -> Size:
        """Return the network size (height, width) for an image.

        Args:
            height: of the image.
            width: of the image.
        """
        if None in self._graphs:
            return free_size(self.record, height, width)
        return nearest_size(filter(None, self._graphs), height, width)

    def estimate(
        self,
        image: np.ndarray,
        size: Size | None = None,
        out: np.ndarray | None = None,
        confidence: np.ndarray | None = None,
    ) -> np.ndarray:
        """Return the model's output for one image.

        Args:
            image: RGB uint8 (H, W, 3); may be a view of any strides, such as a crop or a BGR image viewed as RGB.
            size: (height, width) of the result; default: the image's.
            out: float32 array of that size, receives the result.
            confidence: float32 array of that size, receives the model's confidence in its own units; larger is more
                certain. It costs nothing if omitted.

        Returns:
            float32 (height, width): inverse depth of unknown scale and shift, or meters, see `record.output`.

        Raises:
            ValueError: image, ``size``, ``out`` or ``confidence`` is invalid, or there is no confidence.
            ModelError: the model failed, or its output is NaN everywhere.
        """
        check_image(image)
        height, width = image.shape[:2]
        network = self._network(self.input_size_for(height, width))
        return network.estimate(image, (height, width) if size is None else size, out, confidence)

    def estimate_batch(
        self,
        images: Sequence[np.ndarray],
        sizes: Sequence[Size | None] | None = None,
        outs: Sequence[np.ndarray | None] | None = None,
    ) -> list[np.ndarray]:
        """Return the result of `estimate` for several images, for example of several cameras.

        Images with the same network size run together, up to `MAX_BATCH` at once, if graph and backend support it. Else
        they run one by one. The first batch of a new length can take longer.

        Args:
            images: see `estimate`.
            sizes: of the results, one per image; default, also for each one: the image's.
            outs: arrays for the results, one per image; each may be None.

        Returns:
            The results, in the images' order.

        Raises:
            ValueError: an image, size or array is invalid, or their numbers differ. Nothing has run then.
            ModelError: the model failed at one image, or its output is NaN everywhere.
        """
        frames = image_requests(images, sizes, outs)
        by_network: dict[Size, list[int]] = {}
        for index, frame in enumerate(frames):
            by_network.setdefault(self.input_size_for(*frame.image.shape[:2]), []).append(index)
        results: dict[int, np.ndarray] = {}
        for size, indices in by_network.items():
            maps = self._network(size).estimate_batch([frames[index] for index in indices])
            results.update(zip(indices, maps, strict=True))
        return [results[index] for index in range(len(frames))]

    def engines(self) -> list[Engine]:
        """Return the stored engines in use; none if graphs run directly. Any thread may call it."""
        # Copied to a list at once: an image of another size can load a network meanwhile.
        return [network.engine for network in list(self._networks.values()) if network.engine is not None]

    def load_for(self, height: int, width: int) -> None:
        """Load, build and check the network for an image size now, before such an image arrives.

        Args:
            height: of the image.
            width: of the image.

        Raises:
            ModelError: no candidate gives correct depth.
        """
        self._network(self.input_size_for(height, width))

    def load_all_sizes(self) -> None:
        """Load, build and check every graph of the model now. A graph for any size is loaded at the record's size.

        Raises:
            ModelError: no candidate gives correct depth at one of the sizes.
        """
        for size in self._graphs:
            self._network(size or self._usual_size())

    def judge(self, size: Size) -> gate.Verdict:
        """Compare the network at a size (height, width) with the reference, gated or not. Raises `ModelError`."""
        return gate.judge(self._network(size), self._loader.reference(size))

    def _load_first(self) -> None:
        """Load the network for a usual image, unless that takes minutes and may be useless."""
        size, has_one = self._usual_size(), len(self._graphs) == 1 and None not in self._graphs
        while builds_for_minutes(self._candidates.best) and not has_one:
            choice = self._candidates.best
            try:
                check(self._loader.request(choice, size))
            except UnavailableError as error:
                self._candidates.pass_over(choice, error)
            else:
                self.waits_for_image = True
                return
        self._network(size)

    def _network(self, size: Size) -> Network:
        network = self._networks.obtain(size, lambda: self._open(size))
        self.waits_for_image = False
        return network

    def _open(self, size: Size) -> Network:
        """Return the network of the best choice that works at a size. Raises `ModelError`."""
        network = self._candidates.first_that_works(
            lambda choice: self._loader.open(choice, size),
            lambda compared: question_about(self._loader.request(compared[0], size), compared, self._gated),
        )
        self.gate_result = network.gate_result
        self._warn_of_unused_gpu()
        return network

    def _warn_of_unused_gpu(self) -> None:
        """Log a warning, once, when the processor takes over."""
        if not self._prefers_gpu or self.unused_gpu:
            return
        passed_over = {choice: why for choice, why in self._candidates.reasons.items() if runs_on_gpu(choice.backend)}
        self.unused_gpu = unused_gpu(self.backend_name, [f"{choice}: {why}" for choice, why in passed_over.items()])
        if self.unused_gpu:
            log.warning(self.unused_gpu)

    def _usual_size(self) -> Size:
        """Return the network size for an image of the record's size."""
        return self.input_size_for(*self.record.input_size)

    def _prove_free_size(self) -> None:
        """Let the reference run a graph for any size at another size than usual. Raises `ModelError`."""
        if self._graphs.get(None, self._weights) is not self._weights:
            height, width = self._usual_size()
            self._loader.reference((height, width + self.record.input_multiple))
