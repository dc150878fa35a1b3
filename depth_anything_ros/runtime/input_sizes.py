"""Which of the input sizes that a network takes an image is resized to."""

from __future__ import annotations

import math
from collections.abc import Iterable

from depth_anything_ros.zoo.record import ModelRecord

Size = tuple[int, int]

# The cost of attention grows with the square of the number of pixels, so a strip of 1:20 must not become an input of
# 1:20. Kept whole by squeezing it along its long side, as fixed sizes do too: to bound the pixels at its own aspect
# ratio would leave it few rows of patches. Cameras stay below the bound: KITTI's long images are 3.3 to 1.
MAX_ASPECT_RATIO = 4.0
"""How many times the short side of a free-size network's input its long side may be; longer images are squeezed."""


def nearest_size(sizes: Iterable[Size], height: int, width: int) -> Size:
    """Of some sizes (height, width), the one whose aspect ratio is nearest to an image's."""
    return min(sizes, key=lambda size: abs(math.log(size[1] / size[0] * height / width)))


def free_size(record: ModelRecord, height: int, width: int) -> Size:
    """The size for an image where any will do.

    The image's aspect ratio, up to `MAX_ASPECT_RATIO`, with the short side as the record prefers it, in its multiples.
    """
    short, multiple = min(record.input_size), record.input_multiple
    shape = (min(side / min(height, width), MAX_ASPECT_RATIO) for side in (height, width))
    rows, columns = (max(1, round(short * side / multiple)) * multiple for side in shape)
    return rows, columns
