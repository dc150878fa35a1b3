"""Convert a camera's pixels to a network's batch."""

from __future__ import annotations

import cv2
import numpy as np

from depth_anything_ros.images.resizing import resize_image
from depth_anything_ros.system.lru_cache import LruCache
from depth_anything_ros.zoo.record import ModelRecord

CACHED_IMAGE_SIZES = 4
"""Image sizes whose intermediate images are kept: enough for a few cameras, but not for every crop."""


class Preprocessor:
    """A converter that resizes images and, unless the graph does it, normalizes them. Every call reuses the batch.

    Args:
        record: gives the layout of the batch, and mean and standard deviation for the host's normalization.
        size: (height, width) of the network's input.
    """

    def __init__(self, record: ModelRecord, size: tuple[int, int]) -> None:
        height, width = size
        self._halves: LruCache[tuple[int, ...], list[np.ndarray]] = LruCache(CACHED_IMAGE_SIZES)
        self._normalizes = record.input == "float_nchw"
        if self._normalizes:
            self._batch = np.empty((1, 3, height, width), np.float32)
            self._pixels = np.empty((height, width, 3), np.uint8)
            self._planes = [np.empty((height, width), np.uint8) for _ in range(3)]
            mean, std = np.array(record.mean, np.float32), np.array(record.std, np.float32)
            self._gains, self._offsets = 1 / (255 * std), mean / std
        else:
            self._batch = np.empty((1, height, width, 3), np.uint8)

    def __call__(self, *images: np.ndarray) -> np.ndarray:
        """Return the batch of these images, uint8 (N, h, w, 3) or float32 (N, 3, h, w), valid until the next call."""
        if len(images) > len(self._batch):
            self._batch = np.empty((len(images), *self._batch.shape[1:]), self._batch.dtype)
        batch = self._batch[: len(images)]
        for image, target in zip(images, batch, strict=True):
            halves = self._halves.obtain((*image.shape, *image.strides[1:]), list)
            if not self._normalizes:
                resize_image(image, target, halves)
                continue
            resize_image(image, self._pixels, halves)
            cv2.split(self._pixels, self._planes)
            for plane, values, gain, offset in zip(self._planes, target, self._gains, self._offsets, strict=True):
                np.multiply(plane, gain, out=values)
                values -= offset
        return batch
