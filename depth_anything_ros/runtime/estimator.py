"""The one class that turns images into depth, whatever the model and the backend."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from depth_anything_ros.images.resizing import check_image
from depth_anything_ros.runtime import gate
from depth_anything_ros.runtime.backends import REFERENCE, builds_for_minutes, check, choices, reads_weights
from depth_anything_ros.runtime.backends.interface import BackendChoice, BuildOptions, LoadRequest
from depth_anything_ros.runtime.candidates import Candidates
from depth_anything_ros.runtime.cuda.gpu_advice import runs_on_gpu, unused_gpu
from depth_anything_ros.runtime.engines.cache import Engine
from depth_anything_ros.runtime.errors import ModelError, UnavailableError, WrongOutputError
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
from depth_anything_ros.system.lru_cache import LruCache
from depth_anything_ros.zoo.record import ModelRecord

__all__ = ["Estimator", "ModelError"]

Size = tuple[int, int]

log = logging.getLogger(__name__)

MAX_NETWORKS = 8
"""Input sizes that are kept loaded; a model that takes any size would otherwise fill the memory with them."""

WEIGHTS_REFERENCE = BackendChoice("torch", "fp32")
"""What a model is held to that was never exported."""

DEFAULT_BUILDING = BuildOptions()


class Estimator:
    """Estimates a map of inverse depth, or of meters, for one image at a time.

    Images of any size may follow one another: each is resized to the network size of the nearest aspect ratio that
    the model has, and graphs are loaded when first needed, then kept. Not for use by several threads at once.
    Every graph must give what ONNX Runtime gives on fixed images (`runtime.gate`) before it sees one of yours.
    What compiles for minutes (TensorRT) does so for the size of the first image, unless the model has one size only.

    Args:
        model: a name in the zoo, an .onnx file, a folder with a `record.json` and one graph per size, or one with a
            single model file, such as transformers writes.
        backend: a key of `BACKENDS`, or "auto" for the fastest one that is installed and passes the gate: one for
            an NVIDIA GPU if that is there, else what is measured to be fastest (`runtime.measured_choice`).
        precision: one of `PRECISIONS` that the backend offers, or "auto" for its usual one. What fails the gate is
            followed by the next safer one, to fp32.
        record: what describes an .onnx that does not describe itself: a record, or the JSON file that holds it.
            Default: `NAME.record.json` beside `NAME.onnx`, if there is one.
        size: the only network size (height, width) to use; default: all that the model has.
        threads: CPU threads to compute with; default: the backend's choice.
        gated: False lets a backend that fails the gate through, for looking at what it does.
        fallback: False takes the best choice or none: what fails is not followed by another.
        building: how engines are built that are not in the cache.
        measured: False takes the first of `BACKENDS` that works, for results that must be the same whatever else the
            machine had to do while backends were compared.

    Attributes:
        record: the model's record.
        backend_name: the backend in use; another one after a size that it failed at.
        precision: what it computes in; as above.
        provenance: where the model came from and what runs it, in a line for logs.
        gate_result: how the network that was loaded last passed the gate, in a line.
        waits_for_image: whether nothing is loaded before the first image, or `load_for`, says its size.
        unused_gpu: why "auto" has the processor at work though an NVIDIA GPU is there, which a warning says when it
            comes to that, perhaps at a later size; "" otherwise.

    Raises:
        ModelError: the model is absent, damaged or undescribed, contradicts its record, has no such size, or no
            backend gives the right depth with it.
        ValueError: ``backend`` or ``precision`` is unknown, or not offered together, or ``threads`` is below 1.
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
        found = choices(backend, precision)[: None if fallback else 1]
        measured = measured and backend == "auto" and fallback
        self._candidates = Candidates(found, precision, measured, rebuild=building.rebuild)
        self._threads, self._building, self._gated = threads, building, gated
        self.gate_result, self.unused_gpu = "nothing is loaded yet", ""
        self._wants_gpu = backend == "auto" and precision not in ("int8", "bf16")  # which no GPU is offered for
        self._networks: LruCache[Size, Network] = LruCache(MAX_NETWORKS)
        self._references = gate.References()
        files = find_model_files(model, record, weights=all(map(reads_weights, found)))
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
        # A graph that cannot do what its record says must fail here, not at a robot's first image.
        self._prove_free_size()
        self.waits_for_image = False
        self._load_first()
        self._origin = files.origin
        self._reason = ", the fastest here that passes the gate" if backend == "auto" else ""

    @property
    def provenance(self) -> str:
        """See the class."""
        reason = ", built and checked when the first image comes" if self.waits_for_image else self._reason
        text = f"{self.record.name} ({self.record.output}), {self._origin}, on {self._candidates.best}{reason}"
        return f"{text}; refused: {'; '.join(self._candidates.refusals)}" if self._candidates.refusals else text

    @property
    def backend_name(self) -> str:
        """See the class."""
        return self._candidates.best.backend

    @property
    def precision(self) -> str:
        """See the class."""
        return self._candidates.best.precision

    @property
    def gives_confidence(self) -> bool:
        """Whether `estimate` fills ``confidence``: the record names one, and the backend gives it."""
        if self.waits_for_image:  # what builds for minutes gives it
            return self.record.confidence is not None
        return self._network(self._usual_size()).gives_confidence

    @property
    def batches(self) -> bool:
        """Whether `estimate_batch` runs images of the usual size together; tried, which may take a moment, once."""
        return not self.waits_for_image and self._network(self._usual_size()).batches

    def input_size_for(self, height: int, width: int) -> Size:
        """The network size (height, width) that an image of this size is resized to: see `runtime.input_sizes`."""
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
        """The model's output for one image.

        Args:
            image: RGB uint8 (H, W, 3); may be a view of any strides, such as a crop or a BGR image seen as RGB.
            size: (height, width) of the result; default: the image's.
            out: float32 array of that size to write the result into.
            confidence: float32 array of that size to write the model's confidence into, larger where it is surer, in
                the model's own units. Costs nothing where it is left out.

        Returns:
            float32 (height, width): inverse depth of unknown scale and shift, or meters, as `record.output` says.

        Raises:
            ValueError: image, ``size``, ``out`` or ``confidence`` is not as above, or there is no confidence.
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
        """The model's output for several images, of several cameras say: what `estimate` gives for each.

        Those that go to one network size are run together, up to `MAX_BATCH` of them at once, where graph and
        backend can; all others one after the other. The first time that so many come may take a moment.

        Args:
            images: as in `estimate`.
            sizes: of the results, one for each image; default, also of each: the image's.
            outs: arrays to write the results into, one for each image; each may be None.

        Returns:
            The results, in the images' order.

        Raises:
            ValueError: an image, size or array is not as in `estimate`, or there are not as many of each; nothing
                was run then.
            ModelError: the model failed at one of them, or its output is NaN everywhere.
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
        """The stored engines that are in use; none where graphs run as they are. From any thread."""
        # A list at once: an image of another size may load a network meanwhile.
        return [network.engine for network in list(self._networks.values()) if network.engine is not None]

    def load_for(self, height: int, width: int) -> None:
        """Loads, builds and gates what an image of this size needs now, instead of when it comes.

        Raises:
            ModelError: no candidate gives the right depth.
        """
        self._network(self.input_size_for(height, width))

    def load_all_sizes(self) -> None:
        """Loads, builds and gates every graph of the model now; one that takes any size, at the record's.

        Raises:
            ModelError: no candidate gives the right depth at one of the sizes.
        """
        for size in self._graphs:
            self._network(size or self._usual_size())

    def judge(self, size: Size) -> gate.Verdict:
        """How far what runs at a network size is from the reference, gated or not. Raises `ModelError`."""
        return gate.judge(self._network(size), self._reference(size))

    def _load_first(self) -> None:
        """Loads what a usual image needs, unless that may be for nothing and takes minutes."""
        size, has_one = self._usual_size(), len(self._graphs) == 1 and None not in self._graphs
        while builds_for_minutes(self._candidates.best) and not has_one:
            choice = self._candidates.best
            try:
                check(self._request(choice, self._graph(choice, size), size))
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
        """The network of the best choice that works at a size. Raises `ModelError`."""
        network = self._candidates.first_that_works(
            lambda choice: self._checked_network(choice, size),
            lambda compared: question_about(
                self._request(compared[0], self._graph(compared[0], size), size), compared, self._gated
            ),
        )
        self.gate_result = network.gate_result
        self._warn_of_unused_gpu()
        return network

    def _warn_of_unused_gpu(self) -> None:
        """Says it once, when the processor takes over."""
        if not self._wants_gpu or self.unused_gpu:
            return
        passed_over = {choice: why for choice, why in self._candidates.reasons.items() if runs_on_gpu(choice.backend)}
        self.unused_gpu = unused_gpu(self.backend_name, [f"{choice}: {why}" for choice, why in passed_over.items()])
        if self.unused_gpu:
            log.warning(self.unused_gpu)

    def _checked_network(self, choice: BackendChoice, size: Size) -> Network:
        """A network that has passed the gate."""
        graph = self._graph(choice, size)
        network = Network(self._request(choice, graph, size))
        if choice == self._reference_choice(size):
            return network
        if not self._gated:
            network.gate_result = "not looked at"
            return network
        reference = self._reference(size)
        try:
            verdict = gate.judge(network, reference)
        except WrongOutputError as error:
            network.reject(str(error))
            raise
        if not verdict.passed:
            network.reject(str(verdict))
            raise ModelError(f"{graph.path} on {choice} gives wrong depth: {verdict}")
        if network.engine is not None:
            network.engine.pass_gate(str(verdict))
        network.gate_result = f"passed: {verdict}"
        log.info("%s on %s at %dx%d passes the gate: %s", self.record.name, choice, *size, verdict)
        return network

    def _reference(self, size: Size) -> np.ndarray:
        """What the gate's images must give; computed once, then kept in the cache."""
        choice = self._reference_choice(size)
        graph = self._graph(choice, size)
        reference = self._references.read(graph, self.record, size)
        if reference is None:
            log.info("computing the reference outputs of %s at %dx%d, once", graph.path, *size)
            reference = gate.outputs(Network(self._request(choice, graph, size)))
            try:
                self._references.write(graph, self.record, size, reference)
            except OSError as error:
                log.warning("the reference outputs cannot be kept, and are computed at every start: %s", error)
        return reference

    def _reference_choice(self, size: Size) -> BackendChoice:
        """ONNX Runtime in 32 bits; for a model that was never exported, the network's own definition."""
        return WEIGHTS_REFERENCE if self._graphs.get(size, self._graphs.get(None)) is self._weights else REFERENCE

    def _graph(self, choice: BackendChoice, size: Size) -> Graph:
        """What the choice is to load for a size: a graph, or weights."""
        if not reads_weights(choice):
            return self._graphs[size if size in self._graphs else None]
        if self._weights is None:
            raise ModelError(
                f"{self.record.name} is a graph, {choice.backend} runs weights: name the checkpoint instead"
            )
        return self._weights

    def _request(self, choice: BackendChoice, graph: Graph, size: Size) -> LoadRequest:
        return LoadRequest(choice, graph, self.record, size, self._threads, self._building)

    def _usual_size(self) -> Size:
        """The size that an image of the record's gets."""
        return self.input_size_for(*self.record.input_size)

    def _prove_free_size(self) -> None:
        """Has the reference run a graph that claims to take any size at another than the usual. Raises `ModelError`."""
        if self._graphs.get(None, self._weights) is not self._weights:
            height, width = self._usual_size()
            self._reference((height, width + self.record.input_multiple))
