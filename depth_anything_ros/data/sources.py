"""Samples by index: the interface that training and labeling read.

`ShardSource` reads packed shards, `SetSource` a dataset that is not packed.
"""

from __future__ import annotations

import logging
from bisect import bisect_right
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any, Protocol

import numpy as np

from depth_anything_ros.data.frame import (
    DataError,
    LabeledImage,
)
from depth_anything_ros.data.retry import with_retries

_log = logging.getLogger(__name__)
Map = Callable[..., Iterable[Any]]

METERS, RELATIVE, CLASSES = "depth in meters", "depth up to a factor", "classes"
"""Annotations of a source's images."""


@dataclass(frozen=True)
class Sample:
    """One image with its annotation.

    Attributes:
        name: the name in messages.
        image: RGB uint8 (H, W, 3).
        inverse_depth: float32 (H, W); NaN is unknown, 0 is the sky. The unit is 1/m, or has an unknown factor.
            Pseudo-labels also have an unknown shift. None if the source has no depth.
        labels: classes, uint8 (H, W), `IGNORED` for none; None if the source has no classes.
        focal: fx and fy in pixels; None if unknown.
    """

    name: str
    image: np.ndarray
    inverse_depth: np.ndarray | None = None
    labels: np.ndarray | None = None
    focal: tuple[float, float] | None = None

    def __post_init__(self) -> None:
        """Check that image and annotation have the same size. Raises `DataError`, naming the sample."""
        for pixels in (self.inverse_depth, self.labels):
            if pixels is not None and pixels.shape != self.image.shape[:2]:
                raise DataError(f"{self.name}: image is {self.image.shape[:2]}, its depth or labels are {pixels.shape}")


class EmptySetError(DataError):
    """A set contains no image in its folder."""


class Source(Protocol):
    """Samples in blocks. Samples of one block are stored together, so reading them in order is fast."""

    name: str
    version: str
    """Identifies the state of the data, for the record of a run."""
    blocks: Sequence[int]
    """Number of samples in each block."""
    is_metric: bool
    """Whether depth, if any, is in meters."""
    annotation: str
    """Description of depth or classes; "" for images without annotation."""

    def read(self, block: int, index: int, least_side: int = 0) -> Sample:
        """Read one sample.

        Args:
            block: the block.
            index: the sample in the block.
            least_side: minimum side of an image without annotation, see `decode_image`.

        Raises:
            DataError: a file is damaged; the message names it.
            OSError: the disk is gone.
        """

    def sample_name(self, block: int, index: int) -> str:
        """Return the name of a sample in messages. It reads no image.

        Args:
            block: the block.
            index: the sample in the block.
        """

    def image_file(self, block: int, index: int) -> bytes:
        """Return the content of a sample's image file.

        Args:
            block: the block.
            index: the sample in the block.

        Raises:
            DataError: the file cannot be read.
        """

    def image_sizes(self, run: Map = map) -> Iterable[np.ndarray]:
        """Yield the sizes of the image files in bytes, block by block: int64 (N,), 0 if unknown without reading.

        ``run`` is a replacement for `map`, such as that of a process pool.
        """


def name_and_version(source: Source) -> str:
    """Return the identity of a source and its state."""
    return f"{source.name} ({source.version})"


def block_and_index(source: Source, number: int) -> tuple[int, int]:
    """Convert the number of a sample in a source to block and index.

    Args:
        source: the source.
        number: the sample, counted through all blocks.
    """
    ends = list(accumulate(source.blocks))
    block = bisect_right(ends, number)
    return block, number - (ends[block] - source.blocks[block])


def read_numbered(source: Source, number: int) -> Sample:
    """Read the sample of this number, with retries.

    Args:
        source: the source.
        number: the sample, counted through all blocks.
    """
    return with_retries(source.read, *block_and_index(source, number))


def inverse_depth_of(frame: LabeledImage) -> np.ndarray:
    """Return 1 / depth, float32 (H, W): NaN is unknown, 0 is the sky."""
    with np.errstate(divide="ignore"):
        return (1.0 / frame.depth).astype(np.float32)
