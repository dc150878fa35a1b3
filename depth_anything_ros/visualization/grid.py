"""Pictures next to each other: titled rows of panels, and grids."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from depth_anything_ros.visualization.captions import captioned


def titled_row(titles: Sequence[str], panels: Sequence[np.ndarray]) -> np.ndarray:
    """Return panels next to each other, each above its title.

    Args:
        titles: one for each panel; the middle of a long title is cut.
        panels: uint8 (H, W, 3) of one height.
    """
    return np.hstack([captioned(panel, title) for title, panel in zip(titles, panels, strict=True)])


def grid(pictures: Sequence[np.ndarray], columns: int) -> np.ndarray:
    """Return pictures in rows, black where the last row has no more.

    Args:
        pictures: at least one, uint8 (H, W, 3) of one size.
        columns: maximum number of pictures per row.
    """
    columns = min(columns, len(pictures))
    filled = [*pictures, *[np.zeros_like(pictures[0])] * (-len(pictures) % columns)]
    return np.vstack([np.hstack(filled[start : start + columns]) for start in range(0, len(filled), columns)])
