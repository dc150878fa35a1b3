"""An image and its depth next to each other, with colors that stay steady over a video."""

from __future__ import annotations

import numpy as np

from depth_anything_ros.visualization.colormap import colorize, robust_range

INERTIA = 0.9
"""Share of the earlier range of colors that each frame of a video keeps."""


class SteadyColors:
    """Colors for successive maps of inverse depth. Their range follows the maps slowly, so a video does not flicker."""

    def __init__(self) -> None:
        self._range: np.ndarray | None = None

    def __call__(self, nearness: np.ndarray) -> np.ndarray:
        """Return a map in colors, uint8 (H, W, 3) RGB; ``nearness`` is float32 (H, W), larger is nearer."""
        latest = np.array(robust_range(nearness))
        self._range = latest if self._range is None else INERTIA * self._range + (1 - INERTIA) * latest
        lower, upper = map(float, self._range)
        return colorize(nearness, lower, upper)


def side_by_side(rgb: np.ndarray, colors: np.ndarray) -> np.ndarray:
    """Return the image to the left of its depth, uint8 (H, 2 W, 3).

    Args:
        rgb: the image, uint8 (H, W, 3).
        colors: its depth in colors, uint8 (H, W, 3).
    """
    return np.ascontiguousarray(np.hstack([rgb, colors]))
