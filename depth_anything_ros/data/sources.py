"""Samples by number, from shards or from a set as it lies on disk: what training and labeling read."""

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
"""What is known of a source's images."""


@dataclass(frozen=True)
class Sample:
    """One image, RGB uint8 (H, W, 3), and what is known of its pixels.

    ``inverse_depth``: float32 (H, W), 1/m or up to a factor (of a pseudo-label: up to scale and shift), NaN where
    unknown, 0 for the sky; None where there is none. ``labels``: classes, uint8 (H, W), `IGNORED` for none; or None.
    ``focal``: fx and fy in pixels of the image, None where the source does not tell.
    """

    name: str
    image: np.ndarray
    inverse_depth: np.ndarray | None = None
    labels: np.ndarray | None = None
    focal: tuple[float, float] | None = None

    def __post_init__(self) -> None:
        """Checks that all are of one size. Raises `DataError`, naming the sample."""
        for pixels in (self.inverse_depth, self.labels):
            if pixels is not None and pixels.shape != self.image.shape[:2]:
                raise DataError(f"{self.name}: image is {self.image.shape[:2]}, what is known of it {pixels.shape}")


class EmptySetError(DataError):
    """A set has no image where it should lie."""


class Source(Protocol):
    """Samples in blocks; those of one block lie together, so that reading them one after the other is cheap."""

    name: str
    version: str
    """Tells one state of the data from another, for a run's record."""
    blocks: Sequence[int]
    """How many samples each block has."""
    is_metric: bool
    """Whether depth, where there is any, is in meters."""
    annotation: str
    """What is known of the images, in words; "" for nothing."""

    def read(self, block: int, index: int, least_side: int = 0) -> Sample:
        """One sample. Raises `DataError`, naming what is damaged, and `OSError` where its disk is gone.

        ``least_side``: as `decode_image` has it, of an image of which nothing is known.
        """

    def sample_name(self, block: int, index: int) -> str:
        """What messages call a sample; reads no image."""

    def image_file(self, block: int, index: int) -> bytes:
        """The content of a sample's image file. Raises `DataError` where it cannot be read."""

    def image_sizes(self, run: Map = map) -> Iterable[np.ndarray]:
        """Bytes of the image files, a block at a time: int64 (N,), 0 where that is not known without reading them.

        ``run``: another `map`, such as that of a pool of processes.
        """


def name_and_version(source: Source) -> str:
    """What tells a source, in this state of it, from any other."""
    return f"{source.name} ({source.version})"


def block_and_index(source: Source, number: int) -> tuple[int, int]:
    """Block and index of the sample of that number, counted through all blocks of a source."""
    ends = list(accumulate(source.blocks))
    block = bisect_right(ends, number)
    return block, number - (ends[block] - source.blocks[block])


def read_numbered(source: Source, number: int) -> Sample:
    """The sample of that number, counted through all blocks of a source."""
    return with_retries(source.read, *block_and_index(source, number))


def inverse_depth_of(frame: LabeledImage) -> np.ndarray:
    """1 / depth, float32 (H, W): NaN where unknown, 0 for the sky."""
    with np.errstate(divide="ignore"):
        return (1.0 / frame.depth).astype(np.float32)
