"""One graph at one input size: what is between a backend's batches and the estimator's images."""

from __future__ import annotations

import numpy as np

from depth_anything_ros.runtime.backends import LoadRequest, load
from depth_anything_ros.runtime.errors import ModelError, WrongOutputError
from depth_anything_ros.runtime.preprocessing import Preprocessor, resize_map


class Network:
    """A loaded graph with the buffers that its images pass through.

    Args:
        request: the graph, what it is said to be, the size to feed it, and what runs it.

    Raises:
        UnavailableError: the backend cannot run here.
        ModelError: the graph contradicts its record in layout, input size or output size. The output's size is
            learnt by running it once: exports that claim to take any size often have one size baked into their
            output, and give wrong maps for every other without a word.
    """

    def __init__(self, request: LoadRequest) -> None:
        graph, record = request.graph, request.record
        self.size = request.size
        self.choice = request.choice
        self._name = record.name
        if graph.layout != record.input:
            raise ModelError(f"{record.name}: the graph's input is {graph.layout}, its record says {record.input}")
        if graph.input_size not in (None, self.size):
            raise ModelError(f"{record.name}: the graph's input is {graph.input_size}, its record says {self.size}")
        self._backend = load(request)
        self.engine, self.resizes = self._backend.engine, self._backend.resizes
        self._preprocess = Preprocessor(record, self.size)
        try:
            self(_trial_image(self.size))
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
        (values,) = self._backend.run(self._preprocess(image))
        if values.shape != self.size:
            raise WrongOutputError(
                f"{self._name}: an input of {self.size} gave an output of {values.shape}; "
                "export it for this size, or run it at the size it was exported for (the size option)"
            )
        self._check(values)
        return values

    def estimate(self, image: np.ndarray, size: tuple[int, int], out: np.ndarray | None) -> np.ndarray:
        """The map at ``size`` (height, width), float32, in ``out`` where one is given. Raises `ModelError`."""
        if not self.resizes:
            return resize_map(self(image), size, out)
        values = self._backend.estimate(image, size, out)
        self._check(values)
        return values

    def _check(self, values: np.ndarray) -> None:
        if not np.isfinite(values[0, 0]) and not np.isfinite(values).any():  # the second looks at megabytes
            raise WrongOutputError(
                f"{self._name}: the output is NaN or infinite everywhere; the weights are damaged or overflow"
            )


def _trial_image(size: tuple[int, int]) -> np.ndarray:
    """A pattern that no network maps to a constant by accident."""
    height, width = size
    rows, columns = np.mgrid[:height, :width]
    return np.stack([rows * 5, columns * 3, rows * columns], axis=-1).astype(np.uint8)
