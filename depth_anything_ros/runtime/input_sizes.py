"""Choose the network's input size for an image."""

from __future__ import annotations

import math
from collections.abc import Iterable

from depth_anything_ros.zoo.record import ModelRecord

Size = tuple[int, int]

# The cost of attention grows with the square of the number of pixels, so a strip of 1:20 must not become an input of
# 1:20. It is squeezed along its long side, as for fixed sizes, instead of cropped. At its own aspect ratio, a bound on
# the pixels would leave few rows of patches. Cameras stay below the bound: KITTI's wide images are 3.3:1.
MAX_ASPECT_RATIO = 4.0
"""Greatest ratio of the long to the short side of a free-size network's input. Longer images are squeezed."""


def nearest_size(sizes: Iterable[Size], height: int, width: int) -> Size:
    """Return the size whose aspect ratio is nearest to an image's.

    Args:
        sizes: (height, width) to choose from.
        height: of the image.
        width: of the image.
    """
    return min(sizes, key=lambda size: abs(math.log(size[1] / size[0] * height / width)))


def free_size(record: ModelRecord, height: int, width: int) -> Size:
    """Return the input size for an image if the network takes any size.

    It has the image's aspect ratio, up to `MAX_ASPECT_RATIO`, the record's preferred short side and its multiples.

    Args:
        record: of the model.
        height: of the image.
        width: of the image.
    """
    short, multiple = min(record.input_size), record.input_multiple
    shape = (min(side / min(height, width), MAX_ASPECT_RATIO) for side in (height, width))
    rows, columns = (max(1, round(short * side / multiple)) * multiple for side in shape)
    return rows, columns
