"""From a camera's pixels to a network's batch, and from its map back to the size asked for."""

from __future__ import annotations

import cv2
import numpy as np

from depth_anything_ros.zoo.record import ModelRecord


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


class Preprocessor:
    """Resizes and, where the graph does not do it itself, normalises; the batch it fills is reused at every call.

    Args:
        record: says the layout of the batch, and mean and standard deviation where they are the host's business.
        size: (height, width) of the network's input.
    """

    def __init__(self, record: ModelRecord, size: tuple[int, int]) -> None:
        height, width = size
        self._pixels = np.empty((height, width, 3), np.uint8)
        self._halves: list[np.ndarray] = []
        self._normalises = record.input == "float_nchw"
        if self._normalises:
            self._batch = np.empty((1, 3, height, width), np.float32)
            self._planes = [np.empty((height, width), np.uint8) for _ in range(3)]
            mean, std = np.float32(record.mean), np.float32(record.std)
            self._gains, self._offsets = 1 / (255 * std), mean / std
        else:
            self._batch = self._pixels[np.newaxis]

    def __call__(self, image: np.ndarray) -> np.ndarray:
        """The batch of one image, uint8 (1, h, w, 3) or float32 (1, 3, h, w); valid until the next call."""
        resize_image(image, self._pixels, self._halves)
        if self._normalises:
            cv2.split(self._pixels, self._planes)
            for plane, target, gain, offset in zip(
                self._planes, self._batch[0], self._gains, self._offsets, strict=True
            ):
                np.multiply(plane, gain, out=target)
                target -= offset
        return self._batch


def resize_image(image: np.ndarray, out: np.ndarray, halves: list[np.ndarray] | None = None) -> None:
    """Resizes uint8 RGB (H, W, 3) of any strides into contiguous ``out`` (h, w, 3).

    ``halves`` is a list that intermediate images are kept in from one call to the next, so that none is allocated.

    Shrinking halves by averaging as long as that leaves enough pixels, then is bilinear: as accurate as averaging
    exact areas and ten times as fast. Enlarging is bicubic, as when Depth Anything was trained.
    """
    reversed_channels = image.strides[2] == -1
    if reversed_channels:  # BGR seen as RGB: swapping the channels of the small image is cheaper than of the large
        image = image[..., ::-1]
    if image.strides[2] != 1 or image.strides[1] != 3 or image.strides[0] < 0:
        image = np.ascontiguousarray(image)
    height, width = out.shape[:2]
    enlarges = height > image.shape[0] and width > image.shape[1]
    halves, level = [] if halves is None else halves, 0
    while image.shape[0] >= 2 * height and image.shape[1] >= 2 * width:
        half = _half(halves, level, (image.shape[0] // 2, image.shape[1] // 2, 3))
        image = cv2.resize(image, half.shape[1::-1], dst=half, interpolation=cv2.INTER_AREA)
        level += 1
    cv2.resize(image, (width, height), dst=out, interpolation=cv2.INTER_CUBIC if enlarges else cv2.INTER_LINEAR)
    if reversed_channels:
        cv2.cvtColor(out, cv2.COLOR_BGR2RGB, dst=out)


def _half(halves: list[np.ndarray], level: int, shape: tuple[int, int, int]) -> np.ndarray:
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
    elif out.shape != (height, width) or out.dtype != np.float32 or not out.flags.writeable:
        raise ValueError(f"out is {out.dtype} {out.shape}, must be a writable float32 array of shape {(height, width)}")
    if values.shape == (height, width):
        np.copyto(out, values)
    elif out.flags.c_contiguous:
        cv2.resize(values, (width, height), dst=out, interpolation=cv2.INTER_LINEAR)
    else:
        np.copyto(out, cv2.resize(values, (width, height), interpolation=cv2.INTER_LINEAR))
    return out
