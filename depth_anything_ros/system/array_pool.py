"""Arrays that are reused from frame to frame, so that a change of image size allocates nothing."""

from __future__ import annotations

import numpy as np


class ArrayPool:
    """Arrays by name, for one thread. An array is valid until its name is requested again."""

    def __init__(self) -> None:
        self._arrays: dict[str, np.ndarray] = {}

    def get(self, name: str, shape: tuple[int, ...], dtype: type = np.uint8) -> np.ndarray:
        """Return the contiguous array of a name, with undefined content.

        The array is allocated again only if its shape or dtype changed.

        Args:
            name: the same name returns the same memory.
            shape: of the array.
            dtype: of the array; uint8 by default.
        """
        kept = self._arrays.get(name)
        if kept is None or kept.shape != shape or kept.dtype != dtype:
            kept = self._arrays[name] = np.empty(shape, dtype)
        return kept

    def clear(self) -> None:
        """Release all arrays."""
        self._arrays.clear()
