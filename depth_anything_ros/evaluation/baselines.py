"""Baselines that evaluation scores next to every model: predictions that ignore the image."""

from __future__ import annotations

import numpy as np


def constant(image: np.ndarray) -> np.ndarray:
    """Return inverse depth 1 everywhere, float32 (H, W).

    Alignment turns it into the mean inverse depth of the image's truth. It is the best constant in the space in which
    models are aligned, and knows each image's scale as they do.
    """
    return np.ones(image.shape[:2], np.float32)


def vertical_gradient(image: np.ndarray) -> np.ndarray:
    """Return inverse depth equal to the row, float32 (H, W): exact for a ground plane under a level camera.

    Aligned with scale and shift it also finds the horizon, which makes it a strong baseline on roads.
    """
    height, width = image.shape[:2]
    return np.repeat(np.arange(height, dtype=np.float32)[:, None], width, axis=1)


BASELINES = {"constant": constant, "vertical gradient": vertical_gradient}
"""Predictors of inverse depth by name."""
