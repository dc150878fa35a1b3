"""Pictures in tar archives, in a folder and its subfolders."""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from depth_anything_ros.data.file_metadata import ending_of
from depth_anything_ros.data.folder_search import EVERYWHERE, UNREADABLE, error_of, log_skipped, raise_unlistable
from depth_anything_ros.data.frame import DataError, decode_image, reraise_disk_error
from depth_anything_ros.data.image_set import ImageSet
from depth_anything_ros.data.retry import with_retries
from depth_anything_ros.data.tar_members import read_member, tar_members
from depth_anything_ros.images.file_kinds import FileKind, kind_of_name
from depth_anything_ros.images.folders import PassedOver, walk_files

_log = logging.getLogger(__name__)
_IMAGES = frozenset({FileKind.IMAGE, FileKind.UNREAD_IMAGE})
_UNPACKED_BY = {
    **dict.fromkeys((".tar.gz", ".tgz"), "run `gunzip {}`"),
    **dict.fromkeys((".tar.bz2", ".tbz2", ".tbz"), "run `bunzip2 {}`"),
    **dict.fromkeys((".tar.xz", ".txz"), "run `unxz {}`"),
    **dict.fromkeys((".tar.zst", ".tzst"), "run `unzstd {}`"),
    **dict.fromkeys((".tar.lz4", ".tlz4"), "run `unlz4 {}`"),
    **dict.fromkeys((".zip", ".7z", ".rar"), "unpack it, and read the folder with the set `folder`"),
}
"""How to unpack compressed archives, by ending. They do not allow random access."""


@dataclass(frozen=True)
class TarSet(ImageSet):
    """Pictures in archives that stay packed, such as SA-1B or any WebDataset. An image is called ARCHIVE#MEMBER."""

    name: str = "archives"
    title: str = "archives of pictures"
    terms: str = "yours"
    homepage: str = ""
    images: str = EVERYWHERE

    def names(self, root: Path) -> Iterator[str]:
        """Yield the images archive by archive, in stored order.

        An unreadable or compressed archive gives a warning and one unreadable name, ARCHIVE#. So `pack` reports the
        missing images. Raises `OSError` for a disk error.
        """
        passed_over = PassedOver()
        for path in self._archives(root, passed_over):
            try:
                members = with_retries(_members, root / path)
            except DataError as error:
                reraise_disk_error(error)
                _log.warning("left out: %s", error)
                yield path + UNREADABLE
                continue
            for member in members:
                if _is_picture(member, passed_over):
                    yield f"{path}#{member}"
        log_skipped(root, passed_over)

    def _archives(self, root: Path, passed_over: PassedOver) -> Iterator[str]:
        if self.images != EVERYWHERE:
            yield from (self._images.path(fields) for fields in self._images.find(root))
            return
        for path in walk_files(root, passed_over, raise_unlistable):
            name = path.relative_to(root).as_posix()
            if name.lower().endswith((".tar", *_UNPACKED_BY)):
                yield name
            else:
                passed_over.note("other files", name)

    def empty_message(self, root: Path) -> str:
        """Return the error message for a folder without archives."""
        if self.images != EVERYWHERE:
            return super().empty_message(root)
        return f"{root} and its subfolders contain no .tar file with pictures"

    def fault(self, root: Path, name: str) -> str | None:
        """Return why an archive cannot be read, or None.

        Args:
            root: the folder.
            name: the image.
        """
        return error_of(_members, root / name[: -len(UNREADABLE)]) if name.endswith(UNREADABLE) else None

    def read_image(self, root: Path, name: str) -> np.ndarray:
        """Read one image.

        Args:
            root: the folder.
            name: the image.

        Returns:
            RGB uint8 (H, W, 3).

        Raises:
            DataError: the archive or the picture is missing or damaged.
        """
        return decode_image(self.read_file(root, name)[1], name, input_range=self.input_range)

    def read_file(self, root: Path, name: str) -> tuple[str, bytes]:
        """Return the file as stored in the archive.

        Args:
            root: the folder.
            name: the image.

        Raises:
            DataError: the archive or the picture is missing or damaged.
        """
        path, member = _split(name)
        _members(root / path)
        return ending_of(member), read_member(root / path, member)

    def file_size(self, root: Path, name: str) -> int:
        """Return the size of the picture in its archive, bytes.

        Args:
            root: the folder.
            name: the image.
        """
        path, member = _split(name)
        return tar_members(root / path).get(member, (0, 0))[1]

    def sources(self, root: Path, name: str) -> tuple[Path, ...]:
        """Return the archive.

        Args:
            root: the folder.
            name: the image.
        """
        return (root / _split(name)[0],)


def _split(name: str) -> tuple[str, str]:
    """Split a name into archive and member. Folders and members may also contain "#"."""
    if name.endswith(UNREADABLE):
        return name[: -len(UNREADABLE)], ""
    end = name.lower().index(".tar#") + len(".tar")
    return name[:end], name[end + 1 :]


def _members(path: Path) -> Collection[str]:
    """Return the members of an archive. Raises `DataError`, with the fix for a compressed one."""
    for ending, tool in _UNPACKED_BY.items():
        if path.name.lower().endswith(ending):
            raise DataError(f"cannot read {path}: it is compressed; {tool.format(path.name)}")
    return tar_members(path)


def _is_picture(member: str, passed_over: PassedOver) -> bool:
    """Return whether a member is a picture: not hidden, and no depth or labels of a shard. Counts all others."""
    if member.rpartition("/")[2].startswith("."):
        passed_over.note("hidden members", member)
        return False
    if kind_of_name(member) in _IMAGES:
        return True
    passed_over.note("other members", member)
    return False
