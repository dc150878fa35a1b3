"""Resizing: images to a network's input, and its map back to the size asked for. One rule for robot and training."""

from __future__ import annotations

import cv2
import numpy as np

from depth_anything_ros.images.pixel_layout import TO_RGB, Stored, convert, stored

RESIZING = "halved at once, then bicubic"
"""Names the rule of `resize_image` in caches of what networks give: another rule gives other depth."""


def check_image(image: np.ndarray) -> None:
    """Raises `ValueError`, naming what is wrong, unless the image is uint8 RGB (H, W, 3) with at least one pixel."""
    if not isinstance(image, np.ndarray):
        raise ValueError(f"image is a {type(image).__name__}, must be a NumPy array")
    if image.dtype != np.uint8:
        raise ValueError(f"image has dtype {image.dtype}, must be uint8")
    if image.ndim != 3 or image.shape[2] != 3:
        raise ValueError(f"image has shape {image.shape}, must be (height, width, 3)")
    if not image.size:
        raise ValueError(f"image is empty: its shape is {image.shape}")


def check_map(target: np.ndarray, size: tuple[int, int], name: str = "out") -> None:
    """Raises `ValueError`, calling it ``name``, unless a map of ``size`` (height, width) can be written into it."""
    shape = tuple(size)
    if target.shape != shape or target.dtype != np.float32 or not target.flags.writeable:
        raise ValueError(f"{name} is {target.dtype} {target.shape}, must be a writable float32 array of shape {shape}")


def resize_image(image: np.ndarray, out: np.ndarray, halves: list[np.ndarray] | None = None) -> None:
    """Resizes uint8 RGB (H, W, 3) of any strides into contiguous ``out`` (h, w, 3).

    ``halves`` is a list that intermediate images are kept in from one call to the next, so that none is allocated.

    Bicubic with OpenCV's kernel, as Depth Anything V1 and V2 resize in training and when they run. Two things differ:
    the result is rounded and clipped to bytes, and an image of twice the size or more is halved by averaging first,
    where theirs aliases. Training resizes by this function too. docs/backends.md has the measured difference.
    """
    pixels, order = stored(image)
    height, width = out.shape[:2]
    halves = [] if halves is None else halves
    size = halved_size(pixels.shape[:2], (height, width))
    is_halved = size != pixels.shape[:2]
    if is_halved:
        half = _half(halves, 0, (*size, *pixels.shape[2:]))
        pixels = cv2.resize(pixels, size[::-1], dst=half, interpolation=cv2.INTER_AREA)
    # Gray, BGR or four channels become RGB when they are small: that is cheaper than to convert the large image.
    small = out if pixels.shape[2:] == (3,) else _half(halves, is_halved, (height, width, *pixels.shape[2:]))
    cv2.resize(pixels, (width, height), dst=small, interpolation=cv2.INTER_CUBIC)
    convert(Stored(small, order), TO_RGB, out)


def resized_image(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """A new array with `resize_image`'s result: uint8 RGB (H, W, 3) to ``size`` (height, width)."""
    out = np.empty((*size, 3), np.uint8)
    resize_image(image, out)
    return out


def halved_size(source: tuple[int, int], target: tuple[int, int]) -> tuple[int, int]:
    """The size (height, width) that an image is averaged to on its way to ``target``: its own, halved while it can be.

    It is averaged at once: several halvings would each round.
    """
    height, width = source
    while height >= 2 * target[0] and width >= 2 * target[1]:
        height, width = height // 2, width // 2
    return height, width


def _half(halves: list[np.ndarray], level: int, shape: tuple[int, ...]) -> np.ndarray:
    """The array at ``level``, made anew if it has another shape."""
    if level == len(halves):
        halves.append(np.empty(shape, np.uint8))
    elif halves[level].shape != shape:
        halves[level] = np.empty(shape, np.uint8)
    return halves[level]


def resize_map(values: np.ndarray, size: tuple[int, int], out: np.ndarray | None = None) -> np.ndarray:
    """Resizes a float32 map (h, w) bilinearly to ``size`` (height, width); never returns ``values`` itself.

    Bilinear, since cubic would overshoot at edges and invent depths that neither side has.

    Raises:
        ValueError: ``size`` is not positive, or ``out`` is not a writable float32 array of that size.
    """
    height, width = size
    if height < 1 or width < 1:
        raise ValueError(f"size is {size}, must be a positive (height, width)")
    if out is None:
        out = np.empty((height, width), np.float32)
    else:
        check_map(out, (height, width))
    if values.shape == (height, width):
        np.copyto(out, values)
    elif out.flags.c_contiguous:
        cv2.resize(values, (width, height), dst=out, interpolation=cv2.INTER_LINEAR)
    else:
        np.copyto(out, cv2.resize(values, (width, height), interpolation=cv2.INTER_LINEAR))
    return out
