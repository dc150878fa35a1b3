"""A miniature TUM set."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np


def put_tum(data: Path) -> Path:
    """Write two frames to a folder `tum` of ``data`` and return ``data``: a hill that is green where it is near."""
    folder = data / "tum"
    folder.mkdir(parents=True)
    row, column = np.mgrid[0:28, 0:56]
    for index in range(2):
        inverse_depth = 0.2 + 0.6 * np.exp(-((column - 20 - 8 * index) ** 2 + (row - 14) ** 2) / 150)
        image = np.full((28, 56, 3), 60, np.uint8)
        image[..., 1] = np.rint(inverse_depth * 250)
        depth = np.rint(5000 / inverse_depth).astype(np.uint16)
        depth[:2] = 0
        cv2.imwrite(str(folder / f"{index}_color.png"), image)
        cv2.imwrite(str(folder / f"{index}_depth.png"), depth)
    return data
