"""Images with what is wanted of them, checked before any of them is run."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from depth_anything_ros.images.resizing import check_image, check_map

Size = tuple[int, int]


class ImageRequest(NamedTuple):
    """An image, RGB uint8 (H, W, 3), the ``size`` (height, width) of the map wanted, and what takes it, if given."""

    image: np.ndarray
    size: Size
    out: np.ndarray | None


def image_requests(
    images: Sequence[np.ndarray],
    sizes: Sequence[Size | None] | None = None,
    outs: Sequence[np.ndarray | None] | None = None,
) -> list[ImageRequest]:
    """One for each image; see `Estimator.estimate_batch`. Raises `ValueError`, saying which one is wrong."""
    sizes = [None] * len(images) if sizes is None else sizes
    outs = [None] * len(images) if outs is None else outs
    if not len(images) == len(sizes) == len(outs):
        raise ValueError(f"{len(images)} images, {len(sizes)} sizes and {len(outs)} outs: must be as many of each")
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
