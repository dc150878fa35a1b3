"""Comparison of images that were compressed in between."""

from __future__ import annotations

import numpy as np


def centers(image: np.ndarray) -> np.ndarray:
    """Colors of the four quadrants away from their edges, which video blurs: int (4, 3)."""
    height, width = image.shape[:2]
    rows, columns = (height // 4, 3 * height // 4), (width // 4, 3 * width // 4)
    return np.array([image[row, column] for row in rows for column in columns], int)


def assert_is(image: np.ndarray, requested: np.ndarray, tolerance: int) -> None:
    assert image.dtype == np.uint8
    assert image.shape == requested.shape
    np.testing.assert_allclose(centers(image), centers(requested), rtol=0, atol=tolerance)
