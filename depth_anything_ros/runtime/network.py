"""One graph at one input size: the link between a backend's batches and the estimator's images."""

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
    """A loaded graph with buffers for its images.

    Args:
        request: the graph, its record, its input size, and the backend.

    Attributes:
        size: (height, width) of the input.
        gives_confidence: whether the record names a confidence and the backend gives it.
        gate_result: how it passed the gate, in one line.
        choice: backend and precision.
        engine: the stored engine that runs, or None.
        resizes: whether the backend resizes images and maps on the device.

    Raises:
        UnavailableError: the backend cannot run here.
        ModelError: the graph contradicts its record in layout, input size, outputs or output size. The output's size is
            found by one run: exports that claim to take any size often have one size baked into their output, and then
            silently give wrong maps for every other size.
    """

    def __init__(self, request: LoadRequest) -> None:
        graph, record = request.graph, request.record
        self.size = request.size
        self.gate_result = "not needed: this is the reference itself"
        self.choice = request.choice
        self._name = record.name
        if graph.layout != record.input:
            raise ModelError(f"{record.name}: the graph's input is {graph.layout}, but its record has {record.input}")
        if graph.input_size not in (None, self.size):
            raise ModelError(f"{record.name}: the graph's input is {graph.input_size}, but its record has {self.size}")
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
        """Reject the engine for good, if one is running: a rebuild would give the same.

        ``fault`` is stored as the reason.
        """
        if self.engine is not None:
            self.engine.reject(fault)

    def __call__(self, image: np.ndarray) -> np.ndarray:
        """Map RGB uint8 (H, W, 3) to the raw map, float32 (h, w) of `size`. Raises `ModelError`.

        The result can be the backend's own buffer, which the next call overwrites.
        """
        (values,) = self._checked(self._backend.run(self._preprocess(image)))
        return values

    def estimate(
        self, image: np.ndarray, size: tuple[int, int], out: np.ndarray | None, confidence: np.ndarray | None = None
    ) -> np.ndarray:
        """Return the map at the requested size.

        Args:
            image: RGB uint8 (H, W, 3).
            size: (height, width) of the result.
            out: float32 of that size, receives the result; None allocates it.
            confidence: float32 of that size, receives the confidence; None skips it.

        Raises:
            ValueError: ``size``, ``out`` or ``confidence`` is invalid, or there is no confidence.
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

        The first access tries it with two images: a graph may claim it and still have one image baked in.
        """
        if not self._claims_batches or self.resizes:
            return False
        trial = _trial_image(self.size)
        images = (trial, trial[::-1, ::-1])
        try:
            alone = [self(image).copy() for image in images]
            together = self._checked(self._backend.run(self._preprocess(*images)))
        except ModelError as error:
            log.warning("%s runs images one by one, not together on %s: %s", self._name, self.choice, error)
            return False
        for expected, values in zip(alone, together, strict=True):
            verdict = gate.compare(expected, values, gate.LIMITS[self.choice.precision])
            if not verdict.passed:
                log.warning(
                    "%s runs images one by one: together on %s they give different depth: %s",
                    *(self._name, self.choice, verdict),
                )
                return False
        return True

    def estimate_batch(self, frames: Sequence[ImageRequest]) -> list[np.ndarray]:
        """Return the result of `estimate` for each frame, run together if possible. Raises `ModelError`."""
        if len(frames) == 1 or not self.batches:
            return [self.estimate(*frame) for frame in frames]
        results = []
        for start in range(0, len(frames), MAX_BATCH):
            part = frames[start : start + MAX_BATCH]
            maps = self._checked(self._backend.run(self._preprocess(*(frame.image for frame in part))))
            results += [resize_map(values, frame.size, frame.out) for values, frame in zip(maps, part, strict=True)]
        return results

    def _checked(self, maps: np.ndarray) -> np.ndarray:
        """Check that a backend's maps (N, h, w) have `size` and are not all NaN, and return them."""
        if maps.shape[1:] != self.size:
            raise WrongOutputError(
                f"{self._name}: an input of {self.size} gave an output of {maps.shape[1:]}; "
                "export it for this size, or use the size that it was exported for (the size option)"
            )
        for values in maps:
            self._check(values)
        return maps

    def _check_confidence(self, confidence: np.ndarray, size: tuple[int, int]) -> None:
        if not self.gives_confidence:
            raise ValueError(f"{self._name} gives no confidence on {self.choice}")
        check_map(confidence, size, "confidence")

    def _check(self, values: np.ndarray) -> None:
        if not np.isfinite(values[0, 0]) and not np.isfinite(values).any():  # the second test reads megabytes
            raise WrongOutputError(
                f"{self._name}: the output is NaN or infinite everywhere; the weights are damaged or overflow"
            )


def _check_outputs(request: LoadRequest) -> None:
    """Raise `ModelError` if the record's confidence is missing in the graph, or is its only map."""
    outputs, confidence = request.graph.outputs, request.record.confidence
    if confidence is None or not outputs:  # the outputs of weights have no names
        return
    if confidence not in outputs:
        raise ModelError(
            f"{request.graph.path}: has no output {confidence!r}, the confidence in its record "
            f"{request.record.name!r}, only {', '.join(outputs)}"
        )
    if request.depth_output is None:
        raise ModelError(
            f"{request.graph.path}: its only map is the output {confidence!r}, the confidence in its record "
            f"{request.record.name!r}, so there is no depth"
        )


def _trial_image(size: tuple[int, int]) -> np.ndarray:
    """Return a pattern that no network maps to a constant by accident."""
    height, width = size
    rows, columns = np.mgrid[:height, :width]
    return np.stack([rows * 5, columns * 3, rows * columns], axis=-1).astype(np.uint8)
