"""Resize images to a network's input, and its map to the requested size. Inference and training share this rule."""

from __future__ import annotations

import cv2
import numpy as np

from depth_anything_ros.images.pixel_layout import TO_RGB, Stored, convert, stored

RESIZING = "halved at once, then bicubic"
"""Name of the rule of `resize_image` in cache keys: another rule gives other depth."""


def check_image(image: np.ndarray) -> None:
    """Raise `ValueError` unless the image is uint8 RGB (H, W, 3) with at least one pixel."""
    if not isinstance(image, np.ndarray):
        raise ValueError(f"image is a {type(image).__name__}, must be a NumPy array")
    if image.dtype != np.uint8:
        raise ValueError(f"image has dtype {image.dtype}, must be uint8")
    if image.ndim != 3 or image.shape[2] != 3:
        raise ValueError(f"image has shape {image.shape}, must be (height, width, 3)")
    if not image.size:
        raise ValueError(f"image is empty: its shape is {image.shape}")


def check_map(target: np.ndarray, size: tuple[int, int], name: str = "out") -> None:
    """Check that a map can be written into ``target``.

    Args:
        target: the array to check.
        size: (height, width) of the map.
        name: of the array, for the message.

    Raises:
        ValueError: it is not a writable float32 array of that size.
    """
    shape = tuple(size)
    if target.shape != shape or target.dtype != np.float32 or not target.flags.writeable:
        raise ValueError(f"{name} is {target.dtype} {target.shape}, must be a writable float32 array of shape {shape}")


def resize_image(image: np.ndarray, out: np.ndarray, halves: list[np.ndarray] | None = None) -> None:
    """Resize uint8 RGB (H, W, 3) of any strides into contiguous ``out`` (h, w, 3).

    Bicubic with OpenCV's kernel, like Depth Anything V1 and V2 in training and inference. Two things differ. The result
    is rounded and clipped to bytes. An image of twice the size or more is first halved by averaging, where theirs
    aliases. Training also uses this function. docs/backends.md has the measured difference.

    Args:
        image: uint8 RGB (H, W, 3).
        out: uint8 (h, w, 3), receives the result.
        halves: keeps intermediate images between calls, so that no call allocates. None allocates.
    """
    pixels, order = stored(image)
    height, width = out.shape[:2]
    halves = [] if halves is None else halves
    size = halved_size(pixels.shape[:2], (height, width))
    is_halved = size != pixels.shape[:2]
    if is_halved:
        half = _half(halves, 0, (*size, *pixels.shape[2:]))
        pixels = cv2.resize(pixels, size[::-1], dst=half, interpolation=cv2.INTER_AREA)
    # Gray, BGR or four channels are converted to RGB after the resize, when the image is small.
    small = out if pixels.shape[2:] == (3,) else _half(halves, is_halved, (height, width, *pixels.shape[2:]))
    cv2.resize(pixels, (width, height), dst=small, interpolation=cv2.INTER_CUBIC)
    convert(Stored(small, order), TO_RGB, out)


def resized_image(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Return the result of `resize_image` as a new array.

    Args:
        image: uint8 RGB (H, W, 3).
        size: (height, width) of the result.
    """
    out = np.empty((*size, 3), np.uint8)
    resize_image(image, out)
    return out


def halved_size(source: tuple[int, int], target: tuple[int, int]) -> tuple[int, int]:
    """Return the size (height, width) to which an image is averaged before the bicubic resize.

    It is averaged once: each of several halvings would round.

    Args:
        source: (height, width) of the image.
        target: (height, width) of the result.
    """
    height, width = source
    while height >= 2 * target[0] and width >= 2 * target[1]:
        height, width = height // 2, width // 2
    return height, width


def _half(halves: list[np.ndarray], level: int, shape: tuple[int, ...]) -> np.ndarray:
    """Return the array at ``level``, reallocated if its shape differs."""
    if level == len(halves):
        halves.append(np.empty(shape, np.uint8))
    elif halves[level].shape != shape:
        halves[level] = np.empty(shape, np.uint8)
    return halves[level]


def resize_map(values: np.ndarray, size: tuple[int, int], out: np.ndarray | None = None) -> np.ndarray:
    """Resize a float32 map bilinearly. Bicubic would overshoot at edges and invent depths.

    Args:
        values: float32 (h, w).
        size: (height, width) of the result.
        out: receives the result; None allocates it.

    Returns:
        float32 of ``size``, never ``values`` itself.

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
