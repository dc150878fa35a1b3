"""The user's own images with depth: a folder in any common layout, without Python code."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from depth_anything_ros.data.depth_set import DepthSet
from depth_anything_ros.data.frame import LabeledImage
from depth_anything_ros.data.name_summary import NameSummary
from depth_anything_ros.data.path_pattern import check_expression
from depth_anything_ros.data.retry import with_retries
from depth_anything_ros.data.rgbd_declaration import Declaration
from depth_anything_ros.data.rgbd_folder import RgbdFolder

_log = logging.getLogger(__name__)

_Key = tuple[Path, Declaration, tuple[tuple[str, str], ...]]
_opened: dict[_Key, RgbdFolder] = {}
"""The folders that this process read last."""
_MAX_OPEN = 16
_NO_OPTIONS = Declaration()


@dataclass(frozen=True)
class RgbdSet(DepthSet):
    """Images and depth files in a folder, paired by their names or by a declaration.

    ``declared`` has priority over rgbd.yaml in the folder, which has priority over names.
    """

    name: str = "rgbd"
    title: str = "images with depth in a folder"
    terms: str = "yours"
    homepage: str = ""
    images: str = "**"
    is_complete: bool = True
    declared: Declaration = _NO_OPTIONS

    def select(self, fields: Mapping[str, str]) -> RgbdSet:
        """Return the subset whose fields match. Raises `DataError` for an invalid regular expression.

        The fields are only checked when a folder is opened.
        """
        for name, expression in fields.items():
            check_expression(name, expression)
        return replace(self, selection={**self.selection, **fields})

    def names(self, root: Path) -> Iterator[str]:
        """Return the images that have depth. Warnings report the interpretation of the folder and skipped files.

        Raises `DataError` if there are none, or the layout is ambiguous.
        """
        _opened.pop(self._key(root), None)  # the folder may have changed
        opened = self._open(root)
        for line in opened.describe():
            _log.warning("%s: %s", root, line)
        left_out = NameSummary(opened.layout.unpaired)
        if left_out.count:
            _log.warning("%s: left out %d files: %s", root, left_out.count, left_out)
        return iter(opened.layout.depth_of)

    def unpaired(self, root: Path) -> list[str]:
        """Return images without depth, and depth without an image."""
        return list(self._open(root).layout.unpaired)

    def empty_message(self, root: Path) -> str:
        """Return the error message for a folder without samples."""
        return f"{root} contains no image with depth"

    def read_image(self, root: Path, name: str) -> np.ndarray:
        """Read one image.

        Args:
            root: the folder.
            name: the image.

        Returns:
            RGB uint8 (H, W, 3).

        Raises:
            DataError: the file is missing or damaged; the message names it.
        """
        return super().read_image(self._open(root).folder, name)

    def read_file(self, root: Path, name: str) -> tuple[str, bytes]:
        """Return the image file.

        Args:
            root: the folder.
            name: the image.

        Raises:
            DataError: the file is missing.
        """
        return super().read_file(self._open(root).folder, name)

    def read(self, root: Path, name: str) -> LabeledImage:
        """Read an image with its depth.

        Args:
            root: the folder.
            name: the image.

        Raises:
            DataError: a file is missing, damaged or of another size; the message names it.
        """
        opened, image = self._open(root), self.read_image(root, name)
        size = image.shape[:2]
        depth = opened.depth_of(name, size)
        return LabeledImage(f"{self.name}/{name}", image, depth, opened.camera_of(name, size))

    def file_size(self, root: Path, name: str) -> int:
        """Return the size of the image file, bytes.

        Args:
            root: the folder.
            name: the image.
        """
        return super().file_size(self._open(root).folder, name)

    def sources(self, root: Path, name: str) -> tuple[Path, ...]:
        """Return the files of image, depth and intrinsics.

        Args:
            root: the folder.
            name: the image.
        """
        opened = self._open(root)
        intrinsics = opened.calibration_of(name).file
        return opened.folder / name, opened.depth_file(name), *([intrinsics] if intrinsics else [])

    def reader_version(self, root: Path) -> str:
        """Return the declaration of the folder, including rgbd.yaml."""
        return str(self._open(root).declared)

    def stamp(self, root: Path, name: str) -> str:
        """Return a text that changes with the files and with the declaration.

        Args:
            root: the folder.
            name: the image.
        """
        opened = self._open(root)
        found = opened.calibration_of(name)
        # The words of earlier releases: other words would pack all shards again.
        calibration = f"Beside(intrinsics={found.intrinsics!r}, file={found.file!r}, depth_scale={found.depth_scale!r})"
        return f"{super().stamp(root, name)} {opened.declared} {calibration}"

    def _open(self, root: Path) -> RgbdFolder:
        key = self._key(root)
        if key not in _opened:
            while len(_opened) >= _MAX_OPEN:
                del _opened[next(iter(_opened))]
            _opened[key] = with_retries(RgbdFolder, root, self.declared, self.selection)
        return _opened[key]

    def _key(self, root: Path) -> _Key:
        return root, self.declared, tuple(sorted(self.selection.items()))
