"""Batches on which the ranges of activations are measured for a network in 8 bits."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from depth_anything_ros.runtime import gate
from depth_anything_ros.runtime.backends.interface import LoadRequest
from depth_anything_ros.runtime.preprocessing import Preprocessor


def batches(request: LoadRequest) -> Iterator[np.ndarray]:
    """Yield batches of one image in the graph's layout, each in an array of its own."""
    preprocess = Preprocessor(request.record, request.size)
    for image in request.building.images or default_images():
        yield preprocess(image).copy()


def default_images() -> list[np.ndarray]:
    """Return the gate's images, their quarters and their centers, each also mirrored.

    RGB uint8 (H, W, 3), 36 of them: near and far views of a street, of a room and of clutter.
    """
    pieces = []
    for image in gate.images():
        height, width = (side // 2 for side in image.shape[:2])
        corners = [(0, 0), (0, width), (height, 0), (height, width), (height // 2, width // 2)]
        pieces += [image, *(image[top : top + height, left : left + width] for top, left in corners)]
    return [view for piece in pieces for view in (piece, piece[:, ::-1])]
