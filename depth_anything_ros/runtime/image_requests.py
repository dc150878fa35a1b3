"""Images with the requested size and output of each, checked before any of them runs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from depth_anything_ros.images.resizing import check_image, check_map

Size = tuple[int, int]


class ImageRequest(NamedTuple):
    """An image, RGB uint8 (H, W, 3), the ``size`` (height, width) of its map, and the array for it, or None."""

    image: np.ndarray
    size: Size
    out: np.ndarray | None


def image_requests(
    images: Sequence[np.ndarray],
    sizes: Sequence[Size | None] | None = None,
    outs: Sequence[np.ndarray | None] | None = None,
) -> list[ImageRequest]:
    """Return one request per image.

    Args:
        images: see `Estimator.estimate_batch`.
        sizes: see `Estimator.estimate_batch`.
        outs: see `Estimator.estimate_batch`.

    Raises:
        ValueError: an image, size or array is invalid; the message names the image.
    """
    sizes = [None] * len(images) if sizes is None else sizes
    outs = [None] * len(images) if outs is None else outs
    if not len(images) == len(sizes) == len(outs):
        raise ValueError(f"{len(images)} images, {len(sizes)} sizes and {len(outs)} outs: must be equally many")
    frames = []
    for index, (image, size, out) in enumerate(zip(images, sizes, outs, strict=True)):
        try:
            check_image(image)
            height, width = image.shape[:2] if size is None else size
            frame = ImageRequest(image, (height, width), out)
            if min(frame.size) < 1:
                raise ValueError(f"size is {frame.size}, must be a positive (height, width)")
            if out is not None:
                check_map(out, frame.size)
        except ValueError as error:
            raise ValueError(f"image {index}: {error}") from error
        frames.append(frame)
    return frames
