"""A set of images with a class for each pixel."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from depth_anything_ros.data.frame import DataError, read_picture
from depth_anything_ros.data.image_set import ImageSet, SampleParts, check_shape
from depth_anything_ros.data.path_pattern import PathPattern

IGNORED = 255
"""The label of pixels that belong to no class."""


@dataclass(frozen=True)
class SegmentationSet(ImageSet):
    """Images with a class for each pixel.

    ``labels``: the pattern of the label pictures; ``classes``: their names, in the order that networks are trained in;
    ``stored``: the stored value of each class; all other values are `IGNORED`.
    """

    labels: str = ""
    classes: tuple[str, ...] = ()
    stored: tuple[int, ...] = ()

    as_stored = True

    @cached_property
    def _labels(self) -> PathPattern:
        return PathPattern(self.labels)

    @cached_property
    def _class_of(self) -> np.ndarray:
        table = np.full(256, IGNORED, np.uint8)
        table[list(self.stored)] = np.arange(len(self.stored))
        return table

    def read(self, root: Path, name: str) -> tuple[np.ndarray, np.ndarray]:
        """An image and the class of each of its pixels. Raises `DataError`, naming the file that does not fit."""
        image, labels = self.read_image(root, name), self.read_labels(root, name)
        check_shape(root / self._labels.path(self._fields(name)), labels, image.shape[:2])
        return image, labels

    def parts(self, root: Path, name: str) -> SampleParts:
        """The image's file, and the classes."""
        return SampleParts(*self.read_file(root, name), labels=self.read(root, name)[1])

    def sources(self, root: Path, name: str) -> tuple[Path, ...]:
        """Image and labels."""
        return root / name, root / self._labels.path(self._fields(name))

    def read_labels(self, root: Path, name: str) -> np.ndarray:
        """The class of each pixel, uint8 (H, W), `IGNORED` for none. Raises `DataError`, naming the file."""
        path = root / self._labels.path(self._fields(name))
        stored = read_picture(path)
        if stored.dtype != np.uint8 or stored.ndim != 2:
            raise DataError(f"{path}: labels are {stored.dtype} {stored.shape}, must be a picture of 8 bits")
        return self._class_of[stored]


def check_classes(name: str, labels: np.ndarray, classes: int) -> None:
    """Raises `DataError`, naming the sample, where its labels, uint8 (H, W), hold a class beyond so many."""
    highest = labels.max(where=labels != IGNORED, initial=0)
    if highest >= classes:
        raise DataError(
            f"{name} has class {highest}, counted from 0, but segmentation.classes is {classes}: give the number of "
            "classes of its set"
        )
