"""View pixels stored as gray, BGR or with a fourth channel as RGB, and get the stored pixels back.

Keeping a camera's pixels in their layout is cheapest. NumPy shows them as RGB (H, W, 3) by strides alone. OpenCV
cannot read such strides. Code that calls it gets the stored pixels and converts the small result.
"""

from __future__ import annotations

from typing import NamedTuple

import cv2
import numpy as np


class Stored(NamedTuple):
    """Pixels that OpenCV can read in place, uint8 (H, W) or (H, W, 3 or 4), and their order, a key of `TO_RGB`."""

    pixels: np.ndarray
    order: str


TO_RGB: dict[str, int | None] = {
    "gray": cv2.COLOR_GRAY2RGB,
    "rgb": None,
    "bgr": cv2.COLOR_BGR2RGB,
    "rgba": cv2.COLOR_RGBA2RGB,
    "bgra": cv2.COLOR_BGRA2RGB,
}
"""OpenCV's conversion from each order to RGB; None for RGB itself."""
TO_BGRA: dict[str, int | None] = {
    "gray": cv2.COLOR_GRAY2BGRA,
    "rgb": cv2.COLOR_RGB2BGRA,
    "bgr": cv2.COLOR_BGR2BGRA,
    "rgba": cv2.COLOR_RGBA2BGRA,
    "bgra": None,
}
"""OpenCV's conversion from each order to BGRA. The fourth channel can have any value."""

_ORDERS: dict[tuple[int, ...], str] = {(1, 0): "gray", (3, 1): "rgb", (3, -1): "bgr", (4, 1): "rgba", (4, -1): "bgra"}
"""Order by the bytes from pixel to pixel and from channel to channel."""


def as_rgb(pixels: np.ndarray, order: str) -> np.ndarray:
    """Return a view of stored pixels as RGB (H, W, 3), without a copy.

    Args:
        pixels: uint8 (H, W) or (H, W, 3 or 4).
        order: of their channels, a key of `TO_RGB`.
    """
    if order == "gray":
        return np.broadcast_to(pixels[..., np.newaxis], (*pixels.shape, 3))
    return pixels[..., 2::-1] if order.startswith("bgr") else pixels[..., :3]


def stored(image: np.ndarray) -> Stored:
    """Return the pixels behind RGB uint8 (H, W, 3) of any strides: the inverse of `as_rgb`.

    It copies an image in another layout than those of `TO_RGB`, such as planar or upside down.
    """
    height, width = image.shape[:2]
    row_step, *steps = image.strides
    order = _ORDERS.get(tuple(steps))
    if order is None or row_step < steps[0] * width:
        return Stored(_copied(image), "rgb")
    if order == "gray":
        return Stored(image[..., 0], order)
    pixels = image[..., ::-1] if order.startswith("bgr") else image
    if steps[0] == 3:
        return Stored(pixels, order)
    if not _has_byte_behind(pixels):
        return Stored(_copied(image), "rgb")
    return Stored(np.lib.stride_tricks.as_strided(pixels, (height, width, 4), (row_step, 4, 1)), order)


def convert(source: Stored, conversions: dict[str, int | None], out: np.ndarray) -> None:
    """Convert stored pixels into ``out``.

    Args:
        source: the stored pixels.
        conversions: `TO_RGB` or `TO_BGRA`.
        out: receives the result; it may be the stored pixels themselves.
    """
    conversion = conversions[source.order]
    if conversion is not None:
        cv2.cvtColor(source.pixels, conversion, dst=out)
    elif out is not source.pixels:
        np.copyto(out, source.pixels)


def _copied(image: np.ndarray) -> np.ndarray:
    """Copy the image to contiguous memory, by channels unless pixels are contiguous: that is four times as fast."""
    if image.strides[1:] == (3, 1):
        return np.ascontiguousarray(image)
    result = np.empty(image.shape, np.uint8)
    for channel in range(3):
        result[..., channel] = image[..., channel]
    return result


def _has_byte_behind(pixels: np.ndarray) -> bool:
    """Return whether the array that owns the memory has a byte after the view's last byte.

    The fourth channel can be outside: for example in ARGB viewed from its second byte.
    """
    owner = pixels
    while isinstance(owner.base, np.ndarray):
        owner = owner.base
    return _end(pixels) < _end(owner)


def _end(array: np.ndarray) -> int:
    """Return the address after the last byte of an array."""
    steps = zip(array.shape, array.strides, strict=True)
    return array.ctypes.data + sum(max(0, (size - 1) * step) for size, step in steps) + array.itemsize
