"""The user's own images: a folder or a list."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from depth_anything_ros.data.file_metadata import size_of
from depth_anything_ros.data.folder_search import EVERYWHERE, log_skipped, raise_unlistable
from depth_anything_ros.data.frame import decode_image
from depth_anything_ros.data.image_set import ImageSet, SampleParts
from depth_anything_ros.data.picture_lists import PictureList
from depth_anything_ros.images.file_kinds import IMAGE_SUFFIXES, FileKind, kind_of_name, kind_of_path
from depth_anything_ros.images.folders import PassedOver, find_files

_log = logging.getLogger(__name__)
_IMAGES = frozenset({FileKind.IMAGE, FileKind.UNREAD_IMAGE})


@dataclass(frozen=True)
class FolderSet(ImageSet):
    """All pictures in a folder and its subfolders."""

    name: str = "folder"
    title: str = "a folder of pictures"
    terms: str = "yours"
    homepage: str = ""
    images: str = EVERYWHERE

    def empty_message(self, root: Path) -> str:
        """Return the error message with the endings of pictures."""
        endings = ", ".join(sorted(IMAGE_SUFFIXES))
        return f"{root} contains no picture: no file ends with {endings} or has content that OpenCV can read"

    def names(self, root: Path) -> Iterator[str]:
        """Yield all pictures, by name or content, in order. Includes picture types that OpenCV cannot read.

        A warning at the end lists skipped files, see `walk_files`.
        """
        passed_over = PassedOver()
        for path, _ in find_files(root, _IMAGES, passed_over, raise_unlistable):
            yield path.relative_to(root).as_posix()
        log_skipped(root, passed_over)

    def fault(self, root: Path, name: str) -> str | None:
        """Return that OpenCV cannot read this type of picture, or None.

        Args:
            root: the folder.
            name: the image.
        """
        if kind_of_name(name) is FileKind.IMAGE or kind_of_path(root / name) is not FileKind.UNREAD_IMAGE:
            return None
        return f"{root / name} is an image that OpenCV cannot read; convert it to JPEG or PNG"


@dataclass(frozen=True)
class ListSet(FolderSet):
    """The pictures of a text file, one path per line, absolute or relative to the folder of the list."""

    name: str = "list"
    title: str = "a list of pictures"

    def names(self, root: Path) -> Iterator[str]:
        """Yield the pictures in list order, each once; ``root`` is the list. A warning counts other lines."""
        listed = PictureList(root)
        yield from listed
        if str(listed):
            _log.warning("%s: %s", root, listed)

    def empty_message(self, root: Path) -> str:
        """Return the error message for an empty list."""
        return f"{root} lists no picture"

    def fault(self, root: Path, name: str) -> str | None:
        """Return that the file is missing or OpenCV cannot read it, or None.

        Args:
            root: the list.
            name: the image.
        """
        path = os.path.join(root.parent, name)
        if not os.path.exists(path):
            return f"cannot read {path}: No such file or directory"
        return super().fault(root.parent, name)

    def read_image(self, root: Path, name: str) -> np.ndarray:
        """Read one image.

        Args:
            root: the list.
            name: the image.

        Returns:
            RGB uint8 (H, W, 3).

        Raises:
            DataError: the file is missing or damaged.
        """
        return super().read_image(root.parent, name)

    def read_file(self, root: Path, name: str) -> tuple[str, bytes]:
        """Return the file unchanged.

        Args:
            root: the list.
            name: the image.

        Raises:
            DataError: the file is missing.
        """
        return super().read_file(root.parent, name)

    def parts(self, root: Path, name: str) -> SampleParts:
        """Read the file, and decode it to check that it is readable.

        Args:
            root: the list.
            name: the image.

        Raises:
            DataError: the file is missing or damaged.
        """
        ending, content = self.read_file(root, name)
        decode_image(content, str(root.parent / name))
        return SampleParts(ending, content)

    def file_size(self, root: Path, name: str) -> int:
        """Return the size of the picture, bytes.

        Args:
            root: the list.
            name: the image.
        """
        return size_of(root.parent / name)

    def sources(self, root: Path, name: str) -> tuple[Path, ...]:
        """Return the picture.

        Args:
            root: the list.
            name: the image.
        """
        return super().sources(root.parent, name)
