"""A backend of almost no cost that always sees the same scene, to measure everything around a network."""

from __future__ import annotations

import numpy as np

from depth_anything_ros.runtime.backends import BACKENDS, BackendModule
from depth_anything_ros.runtime.backends.interface import LoadRequest

NAME = "constant"


class ConstantBackend:
    """Returns the inverse depth, 0.05 to 1, of a slanted floor with boxes on it, for every image."""

    engine, resizes = None, False

    def __init__(self, size: tuple[int, int]) -> None:
        height, width = size
        rows, columns = np.mgrid[:height, :width] / np.array([[[height]], [[width]]])
        scene = 0.05 + 0.5 * rows
        scene += 0.4 * ((np.sin(9 * columns) > 0.5) & (rows > 0.4))
        self._map = scene.astype(np.float32)[np.newaxis]

    def run(self, batch: np.ndarray) -> np.ndarray:
        """Return the scene, for any batch of one."""
        return self._map


def load(request: LoadRequest) -> ConstantBackend:
    """Load the backend; `depth_anything_ros.runtime.backends.load` calls this."""
    return ConstantBackend(request.size)


def register() -> None:
    """Register the backend for this process's estimators as `NAME`; they must not be gated."""
    BACKENDS[NAME] = BackendModule(__name__, "numpy", ("fp32",), None)
