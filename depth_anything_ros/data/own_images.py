"""Images of one's own, or of anywhere: a folder, or a list."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from depth_anything_ros.data.file_metadata import size_of
from depth_anything_ros.data.frame import decode_image
from depth_anything_ros.data.image_set import ImageSet, SampleParts
from depth_anything_ros.data.own_folders import EVERYWHERE, log_skipped, raise_unlistable
from depth_anything_ros.data.picture_lists import PictureList
from depth_anything_ros.images.file_kinds import IMAGE_SUFFIXES, FileKind, kind_of_name, kind_of_path
from depth_anything_ros.images.folders import PassedOver, find_files

_log = logging.getLogger(__name__)
_IMAGES = frozenset({FileKind.IMAGE, FileKind.UNREAD_IMAGE})


@dataclass(frozen=True)
class FolderSet(ImageSet):
    """Every picture in a folder and in those below."""

    name: str = "folder"
    title: str = "a folder of pictures"
    terms: str = "yours"
    homepage: str = ""
    images: str = EVERYWHERE

    def empty_message(self, root: Path) -> str:
        """Which files would be pictures."""
        endings = ", ".join(sorted(IMAGE_SUFFIXES))
        return f"{root} holds no picture: no file ends with {endings}, or holds what OpenCV reads"

    def names(self, root: Path) -> Iterator[str]:
        """Every picture that OpenCV reads, by name or by content, in order; those of kinds that it does not read too.

        What is passed over is said in the end, as a warning; see `walk_files`.
        """
        passed_over = PassedOver()
        for path, _ in find_files(root, _IMAGES, passed_over, raise_unlistable):
            yield path.relative_to(root).as_posix()
        log_skipped(root, passed_over)

    def fault(self, root: Path, name: str) -> str | None:
        """That OpenCV does not read this kind of picture."""
        if kind_of_name(name) is FileKind.IMAGE or kind_of_path(root / name) is not FileKind.UNREAD_IMAGE:
            return None
        return f"{root / name} is an image of a kind that OpenCV does not read; convert it to JPEG or PNG"


@dataclass(frozen=True)
class ListSet(FolderSet):
    """The pictures that a text file names, a path a line, from the folder that the list lies in or absolute."""

    name: str = "list"
    title: str = "a list of pictures"

    def names(self, root: Path) -> Iterator[str]:
        """In the order of the list, each once; ``root`` is the list. How many lines are no pictures is said."""
        listed = PictureList(root)
        yield from listed
        if str(listed):
            _log.warning("%s: %s", root, listed)

    def empty_message(self, root: Path) -> str:
        """That the list is empty."""
        return f"{root} names no picture"

    def fault(self, root: Path, name: str) -> str | None:
        """That there is no such file, or none that OpenCV reads."""
        path = os.path.join(root.parent, name)
        if not os.path.exists(path):
            return f"cannot read {path}: No such file or directory"
        return super().fault(root.parent, name)

    def read_image(self, root: Path, name: str) -> np.ndarray:
        """One image, RGB uint8 (H, W, 3)."""
        return super().read_image(root.parent, name)

    def read_file(self, root: Path, name: str) -> tuple[str, bytes]:
        """The file as it is."""
        return super().read_file(root.parent, name)

    def parts(self, root: Path, name: str) -> SampleParts:
        """The picture's file."""
        ending, content = self.read_file(root, name)
        decode_image(content, str(root.parent / name))
        return SampleParts(ending, content)

    def file_size(self, root: Path, name: str) -> int:
        """Of the picture."""
        return size_of(root.parent / name)

    def sources(self, root: Path, name: str) -> tuple[Path, ...]:
        """The picture."""
        return super().sources(root.parent, name)
