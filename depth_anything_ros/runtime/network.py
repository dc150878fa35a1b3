"""One graph at one input size: what is between a backend's batches and the estimator's images."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from functools import cached_property
from typing import cast

import numpy as np

from depth_anything_ros.images.resizing import check_map, resize_map
from depth_anything_ros.runtime import gate
from depth_anything_ros.runtime.backends import load
from depth_anything_ros.runtime.backends.interface import MAX_BATCH, ConfidenceBackend, LoadRequest, ResizingBackend
from depth_anything_ros.runtime.errors import ModelError, WrongOutputError
from depth_anything_ros.runtime.image_requests import ImageRequest
from depth_anything_ros.runtime.preprocessing import Preprocessor

log = logging.getLogger(__name__)


class Network:
    """A loaded graph with the buffers that its images pass through.

    Args:
        request: the graph, what it is said to be, the size to feed it, and what runs it.

    Attributes:
        gives_confidence: whether the record names a confidence and the backend gives it.
        gate_result: how it passed the gate, in a line.

    Raises:
        UnavailableError: the backend cannot run here.
        ModelError: the graph contradicts its record in layout, input size, outputs or output size. The output's size is
            learned by running it once: exports that claim to take any size often have one size baked into their
            output, and give wrong maps for every other without a word.
    """

    def __init__(self, request: LoadRequest) -> None:
        graph, record = request.graph, request.record
        self.size = request.size
        self.gate_result = "what runs is the reference itself"
        self.choice = request.choice
        self._name = record.name
        if graph.layout != record.input:
            raise ModelError(f"{record.name}: the graph's input is {graph.layout}, its record says {record.input}")
        if graph.input_size not in (None, self.size):
            raise ModelError(f"{record.name}: the graph's input is {graph.input_size}, its record says {self.size}")
        _check_outputs(request)
        self._backend = load(request)
        self.engine, self.resizes = self._backend.engine, self._backend.resizes
        self.gives_confidence = record.confidence is not None and getattr(self._backend, "gives_confidence", False)
        if record.confidence is not None and not self.gives_confidence:
            log.info("%s: %s does not give its confidence", record.name, self.choice)
        self._claims_batches = graph.batch is None and getattr(self._backend, "batches", False)
        self._preprocess = Preprocessor(record, self.size)
        try:
            self(_trial_image(self.size))
            if self.gives_confidence:
                self._run_both(_trial_image(self.size))
        except WrongOutputError as error:
            self.reject(str(error))
            raise

    def reject(self, fault: str) -> None:
        """Takes the engine out of use for good, if one is run: building it again would give the same."""
        if self.engine is not None:
            self.engine.reject(fault)

    def __call__(self, image: np.ndarray) -> np.ndarray:
        """RGB uint8 (H, W, 3) to the raw map, float32 (h, w) of `size`. Raises `ModelError`.

        The result may be the backend's own buffer, good until the next call.
        """
        (values,) = self._checked(self._backend.run(self._preprocess(image)))
        return values

    def estimate(
        self, image: np.ndarray, size: tuple[int, int], out: np.ndarray | None, confidence: np.ndarray | None = None
    ) -> np.ndarray:
        """The map at ``size`` (height, width), float32, in ``out`` where one is given; fills ``confidence`` too.

        Raises:
            ValueError: ``size``, ``out`` or ``confidence`` is of no use, or there is no confidence.
            ModelError: the network failed.
        """
        if confidence is not None:
            self._check_confidence(confidence, size)
        if self.resizes:
            backend = cast(ResizingBackend, self._backend)
            if confidence is None:
                values = backend.estimate(image, size, out)
            else:
                values = backend.estimate(image, size, out, confidence)
            self._check(values)
            return values
        if confidence is None:
            return resize_map(self(image), size, out)
        maps, confidences = self._run_both(image)
        (values,) = self._checked(maps)
        resize_map(confidences[0], size, confidence)
        return resize_map(values, size, out)

    def _run_both(self, image: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return cast(ConfidenceBackend, self._backend).run_both(self._preprocess(image))

    @cached_property
    def batches(self) -> bool:
        """Whether several images run together.

        Tried at the first use, with two images: a graph may claim it and have one image baked in all the same.
        """
        if not self._claims_batches or self.resizes:
            return False
        trial = _trial_image(self.size)
        images = (trial, trial[::-1, ::-1])
        try:
            alone = [self(image).copy() for image in images]
            together = self._checked(self._backend.run(self._preprocess(*images)))
        except ModelError as error:
            log.warning("%s runs images one after the other, not together on %s: %s", self._name, self.choice, error)
            return False
        for expected, values in zip(alone, together, strict=True):
            verdict = gate.compare(expected, values, gate.LIMITS[self.choice.precision])
            if not verdict.passed:
                log.warning(
                    "%s runs images one after the other: together on %s they give other depth: %s",
                    *(self._name, self.choice, verdict),
                )
                return False
        return True

    def estimate_batch(self, frames: Sequence[ImageRequest]) -> list[np.ndarray]:
        """What `estimate` gives for each, run together where that can be. Raises `ModelError`."""
        if len(frames) == 1 or not self.batches:
            return [self.estimate(*frame) for frame in frames]
        results = []
        for start in range(0, len(frames), MAX_BATCH):
            part = frames[start : start + MAX_BATCH]
            maps = self._checked(self._backend.run(self._preprocess(*(frame.image for frame in part))))
            results += [resize_map(values, frame.size, frame.out) for values, frame in zip(maps, part, strict=True)]
        return results

    def _checked(self, maps: np.ndarray) -> np.ndarray:
        """A backend's maps (N, h, w), if they are of `size` and not all NaN."""
        if maps.shape[1:] != self.size:
            raise WrongOutputError(
                f"{self._name}: an input of {self.size} gave an output of {maps.shape[1:]}; "
                "export it for this size, or run it at the size it was exported for (the size option)"
            )
        for values in maps:
            self._check(values)
        return maps

    def _check_confidence(self, confidence: np.ndarray, size: tuple[int, int]) -> None:
        if not self.gives_confidence:
            raise ValueError(f"{self._name} gives no confidence on {self.choice}")
        check_map(confidence, size, "confidence")

    def _check(self, values: np.ndarray) -> None:
        if not np.isfinite(values[0, 0]) and not np.isfinite(values).any():  # the second looks at megabytes
            raise WrongOutputError(
                f"{self._name}: the output is NaN or infinite everywhere; the weights are damaged or overflow"
            )


def _check_outputs(request: LoadRequest) -> None:
    """Raises `ModelError` where the record names a confidence that the graph lacks, or that is all it gives."""
    outputs, confidence = request.graph.outputs, request.record.confidence
    if confidence is None or not outputs:  # weights have no names
        return
    if confidence not in outputs:
        raise ModelError(
            f"{request.graph.path}: has no output {confidence!r}, which its record {request.record.name!r} calls its "
            f"confidence, only {', '.join(outputs)}"
        )
    if request.depth_output is None:
        raise ModelError(
            f"{request.graph.path}: its only map is the output {confidence!r}, which its record "
            f"{request.record.name!r} calls its confidence: there is no depth"
        )


def _trial_image(size: tuple[int, int]) -> np.ndarray:
    """A pattern that no network maps to a constant by accident."""
    height, width = size
    rows, columns = np.mgrid[:height, :width]
    return np.stack([rows * 5, columns * 3, rows * columns], axis=-1).astype(np.uint8)
