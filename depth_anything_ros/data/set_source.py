"""A dataset that is not packed as a source of samples."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from itertools import islice
from pathlib import Path

import numpy as np

from depth_anything_ros.data.depth_set import DepthSet
from depth_anything_ros.data.frame import DataError, reraise_disk_error
from depth_anything_ros.data.image_set import ImageSet, readable_names
from depth_anything_ros.data.name_summary import NameSummary
from depth_anything_ros.data.names import Names, once
from depth_anything_ros.data.retry import with_retries
from depth_anything_ros.data.segmentation import SegmentationSet
from depth_anything_ros.data.set_version import set_version
from depth_anything_ros.data.sources import CLASSES, METERS, RELATIVE, EmptySetError, Map, Sample, inverse_depth_of

_log = logging.getLogger(__name__)

NAMES_PER_BLOCK = 1000
"""Number of images that are drawn together, like those of a shard."""


class SetSource:
    """A dataset in its published layout.

    Args:
        declared: the set.
        root: its folder.
        limit: read only the first images; 0 for all.
        shared: a file in which processes share the names, see `once`.

    Raises:
        EmptySetError: the folder contains no image of the set.
    """

    def __init__(self, declared: ImageSet, root: Path, limit: int = 0, shared: Path | None = None) -> None:
        self.name = declared.name
        self.is_metric = isinstance(declared, DepthSet) and declared.is_metric
        self.fields = dict(declared.selection)
        if isinstance(declared, DepthSet):
            self.annotation = METERS if self.is_metric else RELATIVE
        else:
            self.annotation = CLASSES if isinstance(declared, SegmentationSet) else ""
        self._declared, self._root = declared, root
        self._names, self.version = once(lambda: _look_through(declared, root, limit), shared)
        count = len(self._names)
        self.blocks = [min(NAMES_PER_BLOCK, count - start) for start in range(0, count, NAMES_PER_BLOCK)]

    def read(self, block: int, index: int, least_side: int = 0) -> Sample:
        """Read one sample at full size.

        Args:
            block: the block of `NAMES_PER_BLOCK` names.
            index: the sample in the block.
            least_side: not used.

        Raises:
            DataError: a file is missing or damaged; the message names it.
        """
        name = self._names[block * NAMES_PER_BLOCK + index]
        if isinstance(self._declared, DepthSet):
            frame = self._declared.read(self._root, name)
            focal = None if frame.camera is None else (frame.camera.fx, frame.camera.fy)
            return Sample(frame.name, frame.image, inverse_depth_of(frame), focal=focal)
        if isinstance(self._declared, SegmentationSet):
            image, labels = self._declared.read(self._root, name)
            return Sample(f"{self.name}/{name}", image, labels=labels)
        return Sample(f"{self.name}/{name}", self._declared.read_image(self._root, name))

    def sample_name(self, block: int, index: int) -> str:
        """Return the names of set and file.

        Args:
            block: the block.
            index: the sample in the block.
        """
        return f"{self.name}/{self._names[block * NAMES_PER_BLOCK + index]}"

    def image_file(self, block: int, index: int) -> bytes:
        """Return the image file as `pack` would store it.

        Args:
            block: the block.
            index: the sample in the block.

        Raises:
            DataError: the file is missing.
        """
        return self._declared.read_file(self._root, self._names[block * NAMES_PER_BLOCK + index])[1]

    def image_sizes(self, run: Map = map) -> Iterable[np.ndarray]:
        """Yield the sizes of the files. This process does all the work: sending the names would take longer."""
        names = iter(self._names)
        return (_sizes_of_files(self._declared, self._root, islice(names, count)) for count in self.blocks)


def _sizes_of_files(declared: ImageSet, root: Path, names: Iterable[str]) -> np.ndarray:
    """Return the size of each image file in bytes, int64 (N,); 0 if it is missing, damaged or not a file."""

    def size(name: str) -> int:
        try:
            return with_retries(declared.file_size, root, name) or 0
        except DataError as error:  # reading reports it
            reraise_disk_error(error)
            return 0

    return np.array([size(name) for name in names], np.int64)


def _look_through(declared: ImageSet, root: Path, limit: int) -> tuple[Names, str]:
    """Return the names and the version of a set; log skipped images. Raises `EmptySetError` if there are none."""
    faults = NameSummary()
    names = Names(islice(readable_names(declared, root, faults.add), limit or None))
    if faults.count:
        _log.warning("%s: left out %d images: %s", root, faults.count, faults)
    if not names:
        raise EmptySetError(declared.empty_message(root))
    return names, set_version(declared, root, names)
