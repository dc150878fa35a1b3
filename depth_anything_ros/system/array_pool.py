"""Arrays that outlive a frame, so that frames of one size after another allocate none."""

from __future__ import annotations

import numpy as np


class ArrayPool:
    """Keeps an array for each name. What it holds is good until the name is asked for again. For one thread."""

    def __init__(self) -> None:
        self._arrays: dict[str, np.ndarray] = {}

    def get(self, name: str, shape: tuple[int, ...], dtype: type = np.uint8) -> np.ndarray:
        """The array of that name, contiguous and of any content; made anew if it had another shape or type."""
        kept = self._arrays.get(name)
        if kept is None or kept.shape != shape or kept.dtype != dtype:
            kept = self._arrays[name] = np.empty(shape, dtype)
        return kept

    def clear(self) -> None:
        """Lets go of all of them."""
        self._arrays.clear()
