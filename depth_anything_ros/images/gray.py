"""Gray images, for features that are tracked from one to the next."""

from __future__ import annotations

import cv2
import numpy as np

from depth_anything_ros.images.pixel_layout import stored

_TO_GRAY = {
    "gray": None,
    "rgb": cv2.COLOR_RGB2GRAY,
    "bgr": cv2.COLOR_BGR2GRAY,
    "rgba": cv2.COLOR_RGBA2GRAY,
    "bgra": cv2.COLOR_BGRA2GRAY,
}


def gray_at(rgb: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Return an image in gray, uint8 of this size, as a new array.

    Args:
        rgb: uint8 (H, W, 3) of any strides.
        size: (height, width).
    """
    pixels, order = stored(rgb)
    conversion = _TO_GRAY[order]
    gray = pixels.copy() if conversion is None else cv2.cvtColor(pixels, conversion)
    if gray.shape == size:
        return gray
    return cv2.resize(gray, size[::-1], interpolation=cv2.INTER_AREA)
