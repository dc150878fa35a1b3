"""Members of a tar read by their position, so that any sample of any shard is one seek away."""

from __future__ import annotations

import tarfile
from collections.abc import Iterator, Mapping
from functools import lru_cache
from pathlib import Path

import numpy as np

from depth_anything_ros.data.frame import DataError
from depth_anything_ros.data.names import Names

_MEND = "fetch it or pack it anew"


class ArchiveError(DataError):
    """An archive is absent, cannot be read, or is cut short or damaged: no word on what any one file in it holds."""


class TarMembers(Mapping[str, tuple[int, int]]):
    """Where each file in an archive lies, by name: its first byte and its length; read-only.

    A member takes some 25 bytes, where a dictionary takes 350: every process that reads images remembers many archives.
    A name is known by 64 bits of its hash.

    Args:
        places: first byte, a multiple of 512, and length by name.
    """

    def __init__(self, places: Mapping[str, tuple[int, int]]) -> None:
        self._names = Names(places)
        hashes = np.fromiter(map(hash, places), np.int64, len(places))
        order = np.argsort(hashes)
        starts, sizes = np.array(list(places.values()), np.int64).reshape(-1, 2)[order].T
        self._hashes = hashes[order]
        self._blocks, self._sizes = _narrow(starts // tarfile.BLOCKSIZE), _narrow(sizes)

    def __getitem__(self, name: str) -> tuple[int, int]:
        """First byte and length. Raises `KeyError` for a name that there is not."""
        requested = hash(name)
        place = int(np.searchsorted(self._hashes, requested))
        if place == len(self._hashes) or self._hashes[place] != requested:
            raise KeyError(name)
        return int(self._blocks[place]) * tarfile.BLOCKSIZE, int(self._sizes[place])

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)


def _is_file(member: tarfile.TarInfo) -> bool:
    return member.isreg() and not member.issparse() and "\0" not in member.name


def _narrow(values: np.ndarray) -> np.ndarray:
    """The same in 32 bits where they fit."""
    fits = not len(values) or values.max() <= np.iinfo(np.uint32).max
    return values.astype(np.uint32 if fits else np.int64)


@lru_cache(maxsize=64)
def tar_members(path: Path) -> TarMembers:
    """Where each file in an archive lies: its first byte and its length, in the order in which they were packed.

    What is returned is kept and shared. Raises `ArchiveError`, naming the archive, where it is absent, unreadable,
    compressed, truncated or damaged.
    """
    try:
        with tarfile.open(path, "r:") as archive:  # positions in a compressed one would mean nothing
            members = {one.name: (one.offset_data, one.size) for one in archive if _is_file(one)}
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
    return TarMembers(members)


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
