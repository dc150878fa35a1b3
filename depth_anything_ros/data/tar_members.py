"""Members of a tar read by their position, so that any sample of any shard is one seek away."""

from __future__ import annotations

import tarfile
from functools import lru_cache
from pathlib import Path

from depth_anything_ros.data.frame import DataError

_MEND = "fetch it or pack it anew"


class ArchiveError(DataError):
    """An archive is absent, cannot be read, or is cut short or damaged: no word on what any one file in it holds."""


@lru_cache(maxsize=64)
def tar_members(path: Path) -> dict[str, tuple[int, int]]:
    """Where each file in an archive lies: its first byte and its length, in the order in which they were packed.

    What is returned is kept and shared, and not to be changed. Raises `ArchiveError`, naming the archive, where it is
    absent, unreadable, compressed, truncated or damaged.
    """
    try:
        with tarfile.open(path, "r:") as archive:  # positions in a compressed one would mean nothing
            members = {one.name: (one.offset_data, one.size) for one in archive if one.isreg() and not one.issparse()}
            end = archive.offset
        with path.open("rb") as file:
            file.seek(end)
            block = file.read(tarfile.BLOCKSIZE)
    except tarfile.TarError as error:
        raise ArchiveError(f"cannot read {path}: {error}: it is no uncompressed tar, or damaged; {_MEND}") from error
    except OSError as error:
        raise ArchiveError(f"cannot read {path}: {error.strerror}") from error
    if block != bytes(tarfile.BLOCKSIZE):  # tarfile stops at whatever is no header, as if the archive ended there
        amiss = "has no member" if len(block) == tarfile.BLOCKSIZE else "is truncated"
        raise ArchiveError(f"{path} {amiss} at byte {end}, where neither a file nor the archive's end is; {_MEND}")
    return members


def read_member(path: Path, name: str) -> bytes:
    """The content of one file in an archive.

    Raises `ArchiveError` as `tar_members` does, `DataError`, naming both, where the archive lacks it.

    Opens the archive and reads what is asked for, nothing else; safe from many threads and processes.
    """
    place = tar_members(path).get(name)
    if place is None:
        raise DataError(f"{path} has no {name}")
    offset, size = place
    try:
        with path.open("rb") as file:
            file.seek(offset)
            content = file.read(size)
    except OSError as error:
        raise ArchiveError(f"cannot read {name} of {path}: {error.strerror}") from error
    if len(content) != size:
        raise ArchiveError(f"{path} ends within {name}; {_MEND}")
    return content
