"""The labeled frames of NYUv2, one MATLAB file in HDF5."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from depth_anything_ros.data.depth_files import import_for
from depth_anything_ros.data.depth_set import DepthSet
from depth_anything_ros.data.frame import DataError, LabeledImage, as_png
from depth_anything_ros.data.splits import TEST, TRAIN, read_matlab

SPLITS = "splits.mat"


@dataclass(frozen=True)
class NyuLabeledSet(DepthSet):
    """The frames by their index in the file, from 0000; splits.mat lists the splits.

    The default is the test split, which papers score, or all frames without splits.mat. Arrays are (N, 3, W, H) and (N,
    W, H), columns first, as in MATLAB.
    """

    split_names = (TRAIN, TEST)

    def names(self, root: Path) -> Iterator[str]:
        """Yield four-digit numbers."""
        splits = root / SPLITS
        if "split" in self.selection or splits.exists():
            requested = (
                [name for name in self.split_names if self.is_selected(name)] if "split" in self.selection else [TEST]
            )
            lists = read_matlab(splits, *(f"{name}Ndxs" for name in requested))
            numbers = sorted(int(number) - 1 for listed in lists for number in listed)
        else:
            with self._open(root) as file:
                numbers = range(len(file.get("images", ())))
        for number in numbers:
            yield f"{number:04d}"

    def empty_message(self, root: Path) -> str:
        """Return the error message for a file without images."""
        return f"{root / self.images} has no images, or {SPLITS} next to it lists none"

    def read_image(self, root: Path, name: str) -> np.ndarray:
        """Read one image.

        Args:
            root: the set's folder.
            name: the image.

        Returns:
            RGB uint8 (H, W, 3).

        Raises:
            DataError: the file is damaged or has no such frame.
        """
        return np.ascontiguousarray(self._part(root, "images", name).transpose(2, 1, 0))

    def read_file(self, root: Path, name: str) -> tuple[str, bytes]:
        """Return the image as PNG, because it is not a separate file.

        Args:
            root: the set's folder.
            name: the image.

        Raises:
            DataError: the file is damaged or has no such frame.
        """
        return "png", as_png(self.read_image(root, name))

    def read(self, root: Path, name: str) -> LabeledImage:
        """Read the image with the raw depth of the sensor; 0 is unknown.

        Args:
            root: the set's folder.
            name: the image.

        Raises:
            DataError: the file is damaged or has no such frame.
        """
        image = self.read_image(root, name)
        depth = self._part(root, "rawDepths", name).T.astype(np.float32)
        depth = np.where(depth > 0, depth, np.float32(np.nan))
        return LabeledImage(f"{self.name}/{name}", image, depth, self._camera(root, {}, image.shape[:2]))

    def file_size(self, root: Path, name: str) -> int:
        """Return the size of the PNG, which is encoded for this.

        Args:
            root: the set's folder.
            name: the image.
        """
        return len(self.read_file(root, name)[1])

    def sources(self, root: Path, name: str) -> tuple[Path, ...]:
        """Return the MATLAB file.

        Args:
            root: the set's folder.
            name: the image.
        """
        return (root / self.images,)

    def _open(self, root: Path):
        path = root / self.images
        try:
            return import_for("h5py", path).File(path, "r")
        except OSError as error:
            raise DataError(f"cannot read {path}: {error}") from error

    def _part(self, root: Path, key: str, name: str) -> np.ndarray:
        with self._open(root) as file:
            try:
                return np.asarray(file[key][int(name)])
            except (KeyError, ValueError, IndexError, OSError) as error:
                raise DataError(f"{root / self.images} has no {key} of frame {name}: {error}") from error
