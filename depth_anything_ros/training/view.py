"""What of a sample a network is shown: a random crop at the step's size, mirrored or not."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np

from depth_anything_ros.data.sources import Sample


def random_view(sample: Sample, size: tuple[int, int], smallest_crop: float, generator: np.random.Generator) -> Sample:
    """A crop of the sample, resized to ``size`` (height, width) with its proportions kept, mirrored half the time.

    The crop is the largest that fits, times a factor from ``smallest_crop`` to 1: with 1, and a square size, that is
    the paper's "short side to 518, then a random crop". Depth and classes are resized to nearest.
    """
    height, width = sample.image.shape[:2]
    share = min(height / size[0], width / size[1]) * generator.uniform(smallest_crop, 1.0)
    crop = max(1, round(size[0] * share)), max(1, round(size[1] * share))
    top = int(generator.integers(height - crop[0] + 1))
    left = int(generator.integers(width - crop[1] + 1))
    mirrored = generator.random() < 0.5

    def view(pixels: np.ndarray | None, interpolation: int) -> np.ndarray | None:
        if pixels is None:
            return None
        pixels = pixels[top : top + crop[0], left : left + crop[1]]
        pixels = cv2.resize(pixels, size[::-1], interpolation=interpolation)
        return np.ascontiguousarray(pixels[:, ::-1]) if mirrored else pixels

    return replace(
        sample,
        image=view(sample.image, image_interpolation(crop[0], size[0])),
        inverse_depth=view(sample.inverse_depth, cv2.INTER_NEAREST_EXACT),
        labels=view(sample.labels, cv2.INTER_NEAREST_EXACT),
    )


def image_interpolation(height: int, wanted: int) -> int:
    """How OpenCV is to resize an image: by the mean of pixels where it shrinks, which is nothing to enlarge by."""
    return cv2.INTER_AREA if height > wanted else cv2.INTER_LINEAR
