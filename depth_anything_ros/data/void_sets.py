"""VOID: images with sparse points of visual-inertial odometry, and dense depth to score them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

from depth_anything_ros.data.camera_files import NumbersFile
from depth_anything_ros.data.depth_files import Picture
from depth_anything_ros.data.frame import DataError, LabeledImage
from depth_anything_ros.data.image_set import check_shape
from depth_anything_ros.data.listed_set import ListedSet, lines_of, tail_of
from depth_anything_ros.data.path_pattern import PathPattern
from depth_anything_ros.data.splits import TEST, OneSplit

_FRAME, _SEQUENCE = 4, 3
"""Names in the paths data/SEQUENCE/FOLDER/FRAME.png and data/SEQUENCE/K.txt."""


@dataclass(frozen=True)
class VoidSet(ListedSet):
    """One density of VOID. Four lists name the image, points, depth and intrinsics of each frame, line by line.

    Attributes:
        sparse: the pattern of the pictures with the points.
        other_lists: the other lists, by the pattern of what they name.
    """

    sparse: str = "data/{sequence}/sparse_depth/{frame}.png"

    @property
    def other_lists(self) -> dict[str, str]:
        """Return the pattern of the files in each of the other lists."""
        return {
            "test_sparse_depth.txt": self.sparse,
            "test_ground_truth.txt": self.depths,
            "test_intrinsics.txt": "data/{sequence}/K.txt",
        }

    @cached_property
    def _sparse(self) -> PathPattern:
        return PathPattern(self.sparse)

    def listed(self, root: Path) -> Iterable[str]:
        """Return the images. Raises `DataError` if a list is missing, or if the lists do not match line by line."""
        images = [tail_of(line, _FRAME) for line in lines_of(root / self.listing)]
        pattern = PathPattern(self.images)
        for listing, expected in self.other_lists.items():
            path, of = root / listing, PathPattern(expected)
            lines = lines_of(path)
            if len(lines) != len(images):
                raise DataError(f"{path} has {len(lines)} lines, {self.listing} has {len(images)}")
            for number, (line, image) in enumerate(zip(lines, images, strict=True), 1):
                fields = pattern.match(image)
                names = _SEQUENCE if listing == "test_intrinsics.txt" else _FRAME
                if fields is not None and tail_of(line, names) != of.path(fields):
                    raise DataError(f"{path}: line {number} is {line}, but the image of {self.listing} is {image}")
        return images

    def read(self, root: Path, name: str) -> LabeledImage:
        """Read a frame with its points.

        Args:
            root: the set's folder.
            name: the image.

        Raises:
            DataError: a file is missing or damaged; the message names it.
        """
        frame, path = super().read(root, name), root / self._sparse.path(self._fields(name))
        size = frame.depth.shape
        points = self.read_depth(path, size)
        check_shape(path, points, size)
        return replace(frame, sparse=points)

    def sources(self, root: Path, name: str) -> tuple[Path, ...]:
        """Return the files of image, depth, intrinsics and points.

        Args:
            root: the set's folder.
            name: the image.
        """
        return (*super().sources(root, name), root / self._sparse.path(self._fields(name)))


VOID_SETS = tuple(
    VoidSet(
        name=f"void_{points}",
        title=f"VOID with {points} points (Wong et al., RA-L 2020)",
        terms="research",
        homepage="https://github.com/alexklwong/void-dataset",
        images="data/{sequence}/image/{frame}.png",
        depths="data/{sequence}/ground_truth/{frame}.png",
        read_depth=Picture(1 / 256),
        camera=NumbersFile("data/{sequence}/K.txt", at=(0, 4, 2, 5)),
        splits=OneSplit(TEST),
        count=800,
        listing="test_image.txt",
        owners_folder=f"void_release/void_{points}",
        pitfalls="value / 256 m. The points come from odometry and are not exact. Sequences for training are in the "
        "same folder; the lists test_*.txt name the 800 frames that papers score.",
    )
    for points in (150, 500, 1500)
)
"""VOID by its number of points."""
