"""Random crops of a sample at the step's size, mirrored or not."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np

from depth_anything_ros.data.sources import Sample
from depth_anything_ros.images.resizing import resized_image


def random_view(sample: Sample, size: tuple[int, int], smallest_crop: float, generator: np.random.Generator) -> Sample:
    """Crop a sample, resize the crop with its aspect ratio kept, and mirror it half the time.

    The crop is the largest that fits, times a factor from ``smallest_crop`` to 1. With 1 and a square size that is the
    paper's "short side to 518, then a random crop". The image is resized as for inference (`resize_image`), depth and
    classes to nearest.

    Args:
        sample: the sample.
        size: (height, width) of the result.
        smallest_crop: side of the smallest crop, as a fraction of the largest.
        generator: source of random numbers.
    """
    height, width = sample.image.shape[:2]
    share = min(height / size[0], width / size[1]) * generator.uniform(smallest_crop, 1.0)
    crop = max(1, round(size[0] * share)), max(1, round(size[1] * share))
    top = int(generator.integers(height - crop[0] + 1))
    left = int(generator.integers(width - crop[1] + 1))
    mirrored = generator.random() < 0.5

    rows, columns = slice(top, top + crop[0]), slice(left, left + crop[1])

    def nearest(pixels: np.ndarray | None) -> np.ndarray | None:
        if pixels is None:
            return None
        return flipped(cv2.resize(pixels[rows, columns], size[::-1], interpolation=cv2.INTER_NEAREST_EXACT))

    def flipped(pixels: np.ndarray) -> np.ndarray:
        return np.ascontiguousarray(pixels[:, ::-1]) if mirrored else pixels

    return replace(
        sample,
        image=flipped(resized_image(sample.image[rows, columns], size)),
        inverse_depth=nearest(sample.inverse_depth),
        labels=nearest(sample.labels),
        focal=resized_focal(sample.focal, crop, size),
    )


def resized_focal(
    focal: tuple[float, float] | None, size: tuple[int, int], requested: tuple[int, int]
) -> tuple[float, float] | None:
    """Return the focal length after resizing an image.

    Args:
        focal: (fx, fy) in pixels, or None, which stays None.
        size: (height, width) before.
        requested: (height, width) after.
    """
    return None if focal is None else (focal[0] * requested[1] / size[1], focal[1] * requested[0] / size[0])
