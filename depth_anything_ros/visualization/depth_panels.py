"""An image next to its depth, with a color scale in meters."""

from __future__ import annotations

import cv2
import numpy as np

from depth_anything_ros.visualization.captions import PAPER, captioned, write_text
from depth_anything_ros.visualization.colormap import ROBUST_PERCENTILES, colorize

BAR_WIDTH, MARGIN = 24, 12
TICKS = 5


def draw_side_by_side(image: np.ndarray, depth: np.ndarray, caption: str) -> np.ndarray:
    """Return a picture, BGR uint8, of an image, its depth, a color bar in meters and a caption.

    Args:
        image: uint8 (H, W, 3) BGR.
        depth: float32 (h, w) in meters; black where not finite.
        caption: ASCII.

    Raises:
        ValueError: no depth is finite.
    """
    nearest, farthest = depth_range(depth)
    height, width = image.shape[:2]
    with np.errstate(divide="ignore"):
        inverse_depth = np.where(np.isfinite(depth), 1.0 / depth, np.nan)
    colors = colorize(inverse_depth, 1.0 / farthest, 1.0 / nearest)[..., ::-1]
    colors = cv2.resize(colors, (width, height), interpolation=cv2.INTER_LINEAR)
    bar = _color_bar(height, nearest, farthest)
    row = np.hstack((image, np.full((height, MARGIN, 3), PAPER, np.uint8), colors, bar))
    return captioned(row, caption)


def depth_range(depth: np.ndarray) -> tuple[float, float]:
    """Return the robust range of a depth map in meters. Raises `ValueError` if no depth is finite."""
    finite = depth[np.isfinite(depth) & (depth > 0)]
    if not finite.size:
        raise ValueError("the depth image has no finite depth")
    nearest, farthest = np.percentile(finite, ROBUST_PERCENTILES)
    return float(nearest), float(max(farthest, nearest * 1.001))


def _color_bar(height: int, nearest: float, farthest: float) -> np.ndarray:
    """Return a bar from far (top) to near (bottom) with ticks in meters, even in inverse depth as the colors are."""
    top, bottom = MARGIN, height - MARGIN
    inverse_depth = np.linspace(1.0 / farthest, 1.0 / nearest, bottom - top)
    colors = colorize(np.repeat(inverse_depth[:, np.newaxis], BAR_WIDTH, axis=1), 1.0 / farthest, 1.0 / nearest)
    panel = np.full((height, 110, 3), PAPER, np.uint8)
    panel[top:bottom, MARGIN : MARGIN + BAR_WIDTH] = colors[..., ::-1]
    for index in np.linspace(0, len(inverse_depth) - 1, TICKS).round().astype(int):
        label = f"{1.0 / inverse_depth[index]:.2f} m"
        row = min(max(top + index + 5, 14), height - 4)
        write_text(panel, label, 2 * MARGIN + BAR_WIDTH - 6, row)
    return panel
