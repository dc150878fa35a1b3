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
"""Label of pixels without a class."""


@dataclass(frozen=True)
class ClassImage:
    """An image with the class of each pixel.

    Attributes:
        name: names of the set and the file, for reports.
        image: RGB uint8 (H, W, 3).
        labels: uint8 (H, W), `IGNORED` for pixels without a class.
        classes: number of classes of the set.
    """

    name: str
    image: np.ndarray
    labels: np.ndarray
    classes: int


@dataclass(frozen=True)
class SegmentationSet(ImageSet):
    """A set of images with a class for each pixel.

    Attributes:
        labels: the pattern of the label pictures.
        classes: the names of the classes in the order of training.
        stored: the stored value of each class; all other values become `IGNORED`.
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
        """Read an image and the class of each pixel.

        Args:
            root: the set's folder.
            name: the image.

        Returns:
            RGB uint8 (H, W, 3) and classes uint8 (H, W).

        Raises:
            DataError: a file is missing, damaged or of another size; the message names it.
        """
        image, labels = self.read_image(root, name), self.read_labels(root, name)
        check_shape(root / self._labels.path(self._fields(name)), labels, image.shape[:2])
        return image, labels

    def parts(self, root: Path, name: str) -> SampleParts:
        """Read the image file and the classes.

        Args:
            root: the set's folder.
            name: the image.

        Raises:
            DataError: a file is missing or damaged; the message names it.
        """
        return SampleParts(*self.read_file(root, name), labels=self.read(root, name)[1])

    def sources(self, root: Path, name: str) -> tuple[Path, ...]:
        """Return the files of image and labels.

        Args:
            root: the set's folder.
            name: the image.
        """
        return root / name, root / self._labels.path(self._fields(name))

    def read_labels(self, root: Path, name: str) -> np.ndarray:
        """Read the class of each pixel.

        Args:
            root: the set's folder.
            name: the image.

        Returns:
            uint8 (H, W), `IGNORED` for pixels without a class.

        Raises:
            DataError: the file is missing or damaged; the message names it.
        """
        path = root / self._labels.path(self._fields(name))
        stored = read_picture(path)
        if stored.dtype != np.uint8 or stored.ndim != 2:
            raise DataError(f"{path}: labels are {stored.dtype} {stored.shape}, must be an 8-bit picture")
        return self._class_of[stored]


def check_classes(name: str, labels: np.ndarray, classes: int) -> None:
    """Check that the labels of a sample contain only the configured classes.

    Args:
        name: the sample.
        labels: uint8 (H, W).
        classes: the number of classes.

    Raises:
        DataError: a label is too large; the message names the sample.
    """
    highest = labels.max(where=labels != IGNORED, initial=0)
    if highest >= classes:
        raise DataError(
            f"{name} has class {highest} (from 0), but segmentation.classes is {classes}: set it to the number of "
            "classes in the dataset"
        )
