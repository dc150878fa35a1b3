"""A backend that costs next to nothing and always sees the same scene: what is left is what surrounds a network."""

from __future__ import annotations

import numpy as np

from depth_anything_ros.runtime.backends import BACKENDS, BackendModule
from depth_anything_ros.runtime.backends.interface import LoadRequest

NAME = "constant"


class ConstantBackend:
    """Gives a slanted floor with boxes on it, inverse depth from 0.05 to 1, as often as there are images."""

    engine, resizes = None, False

    def __init__(self, size: tuple[int, int]) -> None:
        height, width = size
        rows, columns = np.mgrid[:height, :width] / np.array([[[height]], [[width]]])
        scene = 0.05 + 0.5 * rows
        scene += 0.4 * ((np.sin(9 * columns) > 0.5) & (rows > 0.4))
        self._map = scene.astype(np.float32)[np.newaxis]

    def run(self, batch: np.ndarray) -> np.ndarray:
        """The scene, whatever the batch of one shows."""
        return self._map


def load(request: LoadRequest) -> ConstantBackend:
    """What `depth_anything_ros.runtime.backends.load` calls."""
    return ConstantBackend(request.size)


def register() -> None:
    """Makes the backend known to the estimators of this process as `NAME`; they must not be gated."""
    BACKENDS[NAME] = BackendModule(__name__, "numpy", ("fp32",), None)
