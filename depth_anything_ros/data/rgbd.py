"""Images with depth of one's own: a folder of both, in any usual layout, without a line of Python."""

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
"""Folders that this process has looked through, the last ones."""
_MAX_OPEN = 16
_NOTHING_SAID = Declaration()


@dataclass(frozen=True)
class RgbdSet(DepthSet):
    """Images and depth files in a folder, which belong together by their names or as they are ``declared``.

    ``declared`` goes before what rgbd.yaml in the folder says, and that before what names tell.
    """

    name: str = "rgbd"
    title: str = "images with depth in a folder"
    terms: str = "yours"
    homepage: str = ""
    images: str = "**"
    is_complete: bool = True
    declared: Declaration = _NOTHING_SAID

    def select(self, fields: Mapping[str, str]) -> RgbdSet:
        """The set of those images alone whose fields match. Raises `DataError` for what is no regular expression.

        Whether there is such a field shows when a folder is opened.
        """
        for name, expression in fields.items():
            check_expression(name, expression)
        return replace(self, selection={**self.selection, **fields})

    def names(self, root: Path) -> Iterator[str]:
        """Images that have depth. What is found out by itself, and what is left out, is said at once, as warnings.

        Raises `DataError` where there are none, or it cannot be found out which they are.
        """
        _opened.pop(self._key(root), None)  # the folder may have changed since
        opened = self._open(root)
        for line in opened.describe():
            _log.warning("%s: %s", root, line)
        left_out = NameSummary(opened.layout.unpaired)
        if left_out.count:
            _log.warning("%s: left out %d files: %s", root, left_out.count, left_out)
        return iter(opened.layout.depth_of)

    def unpaired(self, root: Path) -> list[str]:
        """Images without depth, and depth without an image."""
        return list(self._open(root).layout.unpaired)

    def empty_message(self, root: Path) -> str:
        """What to say where `names` gives none."""
        return f"{root} holds no image with depth"

    def read_image(self, root: Path, name: str) -> np.ndarray:
        """One image, RGB uint8 (H, W, 3). Raises `DataError`, naming the file that is absent or damaged."""
        return super().read_image(self._open(root).folder, name)

    def read_file(self, root: Path, name: str) -> tuple[str, bytes]:
        """The image's file. Raises `DataError`."""
        return super().read_file(self._open(root).folder, name)

    def read(self, root: Path, name: str) -> LabeledImage:
        """An image with its depth. Raises `DataError`, naming the file that is absent, damaged or does not fit."""
        opened, image = self._open(root), self.read_image(root, name)
        size = image.shape[:2]
        depth = opened.depth_of(name, size)
        return LabeledImage(f"{self.name}/{name}", image, depth, opened.camera_of(name, size))

    def file_size(self, root: Path, name: str) -> int:
        """Of the image."""
        return super().file_size(self._open(root).folder, name)

    def sources(self, root: Path, name: str) -> tuple[Path, ...]:
        """Image, depth, and the file of the intrinsics where there is one."""
        opened = self._open(root)
        intrinsics = opened.beside(name).file
        return opened.folder / name, opened.depth_file(name), *([intrinsics] if intrinsics else [])

    def reader_version(self, root: Path) -> str:
        """What is declared of the folder, in rgbd.yaml too."""
        return str(self._open(root).declared)

    def stamp(self, root: Path, name: str) -> str:
        """Changes with the files, and with what is said of them."""
        opened = self._open(root)
        return f"{super().stamp(root, name)} {opened.declared} {opened.beside(name)}"

    def _open(self, root: Path) -> RgbdFolder:
        key = self._key(root)
        if key not in _opened:
            while len(_opened) >= _MAX_OPEN:
                del _opened[next(iter(_opened))]
            _opened[key] = with_retries(RgbdFolder, root, self.declared, self.selection)
        return _opened[key]

    def _key(self, root: Path) -> _Key:
        return root, self.declared, tuple(sorted(self.selection.items()))
