"""What is scored beside every model: guesses that never look at the image."""

from __future__ import annotations

import numpy as np


def constant(image: np.ndarray) -> np.ndarray:
    """Inverse depth 1 everywhere, float32 (H, W). Aligned, it becomes the mean inverse depth of the image's truth.

    So it is the best constant in the space where models are aligned too, and knows each image's scale as they do.
    """
    return np.ones(image.shape[:2], np.float32)


def vertical_gradient(image: np.ndarray) -> np.ndarray:
    """Inverse depth equal to the row, float32 (H, W): exact for a ground plane under a level camera.

    Aligned with scale and shift it also finds the horizon, which makes it a strong baseline on roads.
    """
    height, width = image.shape[:2]
    return np.repeat(np.arange(height, dtype=np.float32)[:, None], width, axis=1)


BASELINES = {"constant": constant, "vertical gradient": vertical_gradient}
"""Predictors of inverse depth by name."""
