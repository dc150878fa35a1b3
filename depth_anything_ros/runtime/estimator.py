"""The one class that turns images into depth, whatever the model and the backend."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import numpy as np

from depth_anything_ros.runtime import gate
from depth_anything_ros.runtime.backends import REFERENCE_BACKEND, Backend, candidates, create
from depth_anything_ros.runtime.errors import ModelError
from depth_anything_ros.runtime.model_files import find_model_files
from depth_anything_ros.runtime.network import Network
from depth_anything_ros.runtime.preprocessing import check_image, resize_map
from depth_anything_ros.zoo.record import METADATA_KEY, ModelRecord, RecordError

__all__ = ["Estimator", "ModelError"]

Size = tuple[int, int]
Result = TypeVar("Result")

log = logging.getLogger(__name__)

# The cost of attention grows with the square of the number of pixels, so a strip of 1:20 must not become an input of
# 1:20. Kept whole by squeezing it along its long side, as fixed sizes do too: to bound the pixels at its own aspect
# ratio would leave it few rows of patches. Cameras stay below the bound: KITTI's long images are 3.3 to 1.
LONGEST_SHAPE = 4.0
"""How many times the short side of a free-size network's input its long side may be; longer images are squeezed."""


class Estimator:
    """Estimates a map of inverse depth, or of metres, for one image at a time.

    Images of any size may follow one another: each is resized to the network size of the nearest aspect ratio that
    the model has, and graphs are loaded when first needed, then kept. Not for use by several threads at once.
    Every graph must give what ONNX Runtime gives on fixed images (`runtime.gate`) before it sees one of yours.

    Args:
        model: a name in the zoo, an .onnx file, or a folder with a `record.json` and one graph per size.
        backend: a key of `BACKENDS`, or "auto" for the fastest one that is installed and passes the gate.
        record: what describes an .onnx that does not describe itself: a record, or the JSON file that holds it.
            Default: `NAME.record.json` beside `NAME.onnx`, if there is one.
        size: the only network size (height, width) to use; default: all that the model has.
        threads: CPU threads to compute with; default: the backend's choice.
        gated: False lets a backend that fails the gate through, for looking at what it does.

    Attributes:
        record: the model's record.
        backend_name: the backend in use.
        precision: what it computes in, a key of the gate's limits.
        provenance: where the model came from and what runs it, in a line for logs.

    Raises:
        ModelError: the model is absent, damaged or undescribed, contradicts its record, has no such size, or no
            backend gives the right depth with it.
        ValueError: ``backend`` is unknown or ``threads`` is below 1.
    """

    record: ModelRecord
    backend_name: str
    precision: str
    provenance: str

    def __init__(
        self,
        model: str | Path = "tiny",
        backend: str = "auto",
        record: ModelRecord | str | Path | None = None,
        size: Size | None = None,
        threads: int | None = None,
        gated: bool = True,
    ) -> None:
        self._gated = gated
        self._candidates, self._threads = candidates(backend), threads
        self._refusals: list[str] = []
        self._loaded: dict[tuple[str, Path], Backend] = {}
        self._networks: dict[Size, Network] = {}
        self._references = gate.References()
        files = find_model_files(model, record)
        first = files.graphs.get(size) or next(iter(files.graphs.values()))
        loaded = self._first_that_works(lambda name: self._backend(name, first))
        self.record = files.record or _record_within(loaded, first)
        self._graphs = _graphs_by_size(files.graphs, loaded, size)
        # A graph that cannot do what its record says must fail here, not at a robot's first image.
        for trial in self._trial_sizes():
            self._network(trial)
        self.backend_name = self._candidates[0]
        self.precision = next(iter(self._networks.values())).precision
        self.provenance = f"{self.record.name} ({self.record.output}), {files.origin}, on {self.backend_name}"
        if self._refusals:
            self.provenance += f"; refused: {'; '.join(self._refusals)}"

    def input_size_for(self, height: int, width: int) -> Size:
        """The network size (height, width) that an image of this size is resized to.

        Of a model's fixed sizes, the one of the nearest aspect ratio; for a network that takes any size, the
        image's aspect ratio, up to `LONGEST_SHAPE`, with the short side as the record prefers it, in its multiples.
        """
        if None in self._graphs:
            short, multiple = min(self.record.input_size), self.record.input_multiple
            shape = (min(side / min(height, width), LONGEST_SHAPE) for side in (height, width))
            rows, columns = (max(1, round(short * side / multiple)) * multiple for side in shape)
            return rows, columns
        return min(self._graphs, key=lambda size: abs(math.log(size[1] / size[0] * height / width)))

    def estimate(self, image: np.ndarray, size: Size | None = None, out: np.ndarray | None = None) -> np.ndarray:
        """The model's output for one image.

        Args:
            image: RGB uint8 (H, W, 3); may be a view of any strides, such as a crop or a BGR image seen as RGB.
            size: (height, width) of the result; default: the image's.
            out: float32 array of that size to write the result into.

        Returns:
            float32 (height, width): inverse depth of unknown scale and shift, or metres, as `record.output` says.

        Raises:
            ValueError: image, ``size`` or ``out`` is not as above.
            ModelError: the model failed, or its output is NaN everywhere.
        """
        check_image(image)
        height, width = image.shape[:2]
        values = self._network(self.input_size_for(height, width))(image)
        return resize_map(values, (height, width) if size is None else size, out)

    def _network(self, size: Size) -> Network:
        if size not in self._networks:
            self._networks[size] = self._first_that_works(lambda name: self._checked_network(name, size))
        return self._networks[size]

    def _first_that_works(self, attempt: Callable[[str], Result]) -> Result:
        """The attempt's result with the best backend; one that fails is not tried again, unless it is the last."""
        while True:
            name = self._candidates[0]
            try:
                return attempt(name)
            except ModelError as error:
                if len(self._candidates) == 1:
                    raise
                self._refusals.append(f"{name} ({error})")
                log.warning("backend %s refused: %s; trying %s", name, error, self._candidates[1])
                del self._candidates[0]

    def _checked_network(self, name: str, size: Size) -> Network:
        """A network that has passed the gate; the reference backend defines what passing means."""
        path = self._graphs[size if size in self._graphs else None]
        network = Network(self._backend(name, path), self.record, size)
        if name == REFERENCE_BACKEND or not self._gated:
            return network
        reference = self._references.read(path, size)
        if reference is None:
            log.info("computing the reference outputs of %s at %dx%d, once", path, *size)
            reference = gate.outputs(Network(self._backend(REFERENCE_BACKEND, path), self.record, size))
            self._references.write(path, size, reference)
            self._loaded.pop((REFERENCE_BACKEND, path))
        verdict = gate.judge(network, reference)
        if not verdict.passed:
            raise ModelError(f"{path} on {name} gives wrong depth: {verdict}")
        log.info("%s on %s at %dx%d passes the gate: %s", self.record.name, name, *size, verdict)
        return network

    def _backend(self, name: str, path: Path) -> Backend:
        if (name, path) not in self._loaded:
            self._loaded[name, path] = create(name, path, self._threads)
        return self._loaded[name, path]

    def _trial_sizes(self) -> tuple[Size, ...]:
        """The size a usual image gets; for a graph that claims to take any size, one more to prove the claim."""
        usual = self.input_size_for(*self.record.input_size)
        return (usual, (usual[0], usual[1] + self.record.input_multiple)) if None in self._graphs else (usual,)


def _record_within(backend: Backend, path: Path) -> ModelRecord:
    """The record that one of our exports carries in its metadata."""
    if METADATA_KEY not in backend.metadata:
        raise ModelError(
            f"{path} says nothing about what it predicts: describe it in {path.with_suffix('.record.json').name} "
            "beside it, or name a record"
        )
    try:
        return ModelRecord.from_json(backend.metadata[METADATA_KEY])
    except RecordError as error:
        raise ModelError(f"{path}: {error}") from error


def _graphs_by_size(graphs: dict[Size | None, Path], loaded: Backend, size: Size | None) -> dict[Size | None, Path]:
    """The graphs to use by input size; the key None stands for one that takes any size.

    A single file's size is known only once it is loaded. A requested ``size`` leaves one graph.
    """
    if None in graphs:
        graphs = {loaded.input_size: graphs[None]}
    if size is None:
        return graphs
    if None in graphs:
        return {size: graphs[None]}
    if size not in graphs:
        sizes = ", ".join(f"{height}x{width}" for height, width in graphs)
        raise ModelError(f"the model has no graph for {size[0]}x{size[1]}, only for {sizes}")
    return {size: graphs[size]}
