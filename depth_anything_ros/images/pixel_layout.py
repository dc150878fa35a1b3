"""RGB images as views of pixels that lie in memory as gray, BGR or with a fourth channel, and the way back.

A camera's pixels are most cheaply kept as they come: NumPy shows them as RGB (H, W, 3) by strides alone, and whoever
hands them to OpenCV, which reads no such strides, asks for the stored pixels and swaps channels of its small result.
"""

from __future__ import annotations

from typing import NamedTuple

import cv2
import numpy as np


class Stored(NamedTuple):
    """Pixels as OpenCV reads them in place, uint8 (H, W) or (H, W, 3 or 4), and a key of `TO_RGB` that tells which."""

    pixels: np.ndarray
    order: str


TO_RGB: dict[str, int | None] = {
    "gray": cv2.COLOR_GRAY2RGB,
    "rgb": None,
    "bgr": cv2.COLOR_BGR2RGB,
    "rgba": cv2.COLOR_RGBA2RGB,
    "bgra": cv2.COLOR_BGRA2RGB,
}
"""The conversion of OpenCV from each order to RGB; None where it is RGB already."""
TO_BGRA: dict[str, int | None] = {
    "gray": cv2.COLOR_GRAY2BGRA,
    "rgb": cv2.COLOR_RGB2BGRA,
    "bgr": cv2.COLOR_BGR2BGRA,
    "rgba": cv2.COLOR_RGBA2BGRA,
    "bgra": None,
}
"""The same to BGRA; the fourth channel may be anything."""

_ORDERS: dict[tuple[int, ...], str] = {(1, 0): "gray", (3, 1): "rgb", (3, -1): "bgr", (4, 1): "rgba", (4, -1): "bgra"}
"""By the bytes from pixel to pixel, and from channel to channel."""


def as_rgb(pixels: np.ndarray, order: str) -> np.ndarray:
    """Stored pixels, uint8 (H, W) or (H, W, 3 or 4), seen as RGB (H, W, 3). Copies nothing."""
    if order == "gray":
        return np.broadcast_to(pixels[..., np.newaxis], (*pixels.shape, 3))
    return pixels[..., 2::-1] if order.startswith("bgr") else pixels[..., :3]


def stored(image: np.ndarray) -> Stored:
    """The pixels behind RGB uint8 (H, W, 3) of any strides: the inverse of `as_rgb`.

    An image that lies in none of the orders of `TO_RGB`, such as one in planes or upside down, is copied.
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
    """Writes stored pixels into ``out`` in the order that ``conversions`` lead to; ``out`` may be the pixels."""
    conversion = conversions[source.order]
    if conversion is not None:
        cv2.cvtColor(source.pixels, conversion, dst=out)
    elif out is not source.pixels:
        np.copyto(out, source.pixels)


def _copied(image: np.ndarray) -> np.ndarray:
    """The image, contiguous. Channel by channel where pixels do not lie together: four times as fast."""
    if image.strides[1:] == (3, 1):
        return np.ascontiguousarray(image)
    result = np.empty(image.shape, np.uint8)
    for channel in range(3):
        result[..., channel] = image[..., channel]
    return result


def _has_byte_behind(pixels: np.ndarray) -> bool:
    """Whether one more byte than the view's last lies in the array that owns its memory.

    Of four channels the fourth may lie outside: so with ARGB seen from its second byte on.
    """
    owner = pixels
    while isinstance(owner.base, np.ndarray):
        owner = owner.base
    return _end(pixels) < _end(owner)


def _end(array: np.ndarray) -> int:
    """The address behind the last byte of an array."""
    steps = zip(array.shape, array.strides, strict=True)
    return array.ctypes.data + sum(max(0, (size - 1) * step) for size, step in steps) + array.itemsize
