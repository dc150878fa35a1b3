"""NYUv2's labeled frames, all in one MATLAB file of HDF5."""

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
    """Frames by their place in the file, from 0000 on: of the splits that are chosen, which splits.mat lists.

    Where none is chosen they are those of the test split, which papers score, or all where splits.mat is not there.
    Arrays are (N, 3, W, H) and (N, W, H), columns first, as MATLAB has them.
    """

    split_names = (TRAIN, TEST)

    def names(self, root: Path) -> Iterator[str]:
        """Four-digit numbers."""
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
        """What the file lacks."""
        return f"{root / self.images} holds no images, or {SPLITS} beside it lists none"

    def read_image(self, root: Path, name: str) -> np.ndarray:
        """One image, RGB uint8 (H, W, 3)."""
        return np.ascontiguousarray(self._part(root, "images", name).transpose(2, 1, 0))

    def read_file(self, root: Path, name: str) -> tuple[str, bytes]:
        """The image as PNG, since it is no file of its own."""
        return "png", as_png(self.read_image(root, name))

    def read(self, root: Path, name: str) -> LabeledImage:
        """The image with what the sensor saw, 0 of which is unknown."""
        image = self.read_image(root, name)
        depth = self._part(root, "rawDepths", name).T.astype(np.float32)
        depth = np.where(depth > 0, depth, np.float32(np.nan))
        return LabeledImage(f"{self.name}/{name}", image, depth, self._camera(root, {}, image.shape[:2]))

    def file_size(self, root: Path, name: str) -> int:
        """Of the PNG, which is made for that."""
        return len(self.read_file(root, name)[1])

    def sources(self, root: Path, name: str) -> tuple[Path, ...]:
        """The one file."""
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
