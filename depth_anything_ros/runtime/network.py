"""One graph at one input size: what is between a backend's batches and the estimator's images."""

from __future__ import annotations

import numpy as np

from depth_anything_ros.runtime.backends import Backend
from depth_anything_ros.runtime.errors import ModelError
from depth_anything_ros.runtime.preprocessing import Preprocessor
from depth_anything_ros.zoo.record import ModelRecord


class Network:
    """A loaded graph with the buffers that its images pass through.

    Args:
        backend: the loaded graph.
        record: what the graph is said to be.
        size: (height, width) to feed it.

    Raises:
        ModelError: the graph contradicts its record in layout, input size or output size. The output's size is
            learnt by running it once: exports that claim to take any size often have one size baked into their
            output, and give wrong maps for every other without a word.
    """

    def __init__(self, backend: Backend, record: ModelRecord, size: tuple[int, int]) -> None:
        self.size = size
        self.precision = backend.precision
        self._backend = backend
        self._name = record.name
        if backend.layout != record.input:
            raise ModelError(f"{record.name}: the graph's input is {backend.layout}, its record says {record.input}")
        if backend.input_size not in (None, size):
            raise ModelError(f"{record.name}: the graph's input is {backend.input_size}, its record says {size}")
        self._preprocess = Preprocessor(record, size)
        self(_trial_image(size))

    def __call__(self, image: np.ndarray) -> np.ndarray:
        """RGB uint8 (H, W, 3) to the raw map, float32 (h, w) of `size`. Raises `ModelError`."""
        (values,) = self._backend.run(self._preprocess(image))
        if values.shape != self.size:
            raise ModelError(
                f"{self._name}: an input of {self.size} gave an output of {values.shape}; "
                "export it for this size, or run it at the size it was exported for (the size option)"
            )
        if np.isnan(values).all():
            raise ModelError(f"{self._name}: the output is NaN everywhere; the weights are damaged or overflow")
        return values


def _trial_image(size: tuple[int, int]) -> np.ndarray:
    """A pattern that no network maps to a constant by accident."""
    height, width = size
    rows, columns = np.mgrid[:height, :width]
    return np.stack([rows * 5, columns * 3, rows * columns], axis=-1).astype(np.uint8)
