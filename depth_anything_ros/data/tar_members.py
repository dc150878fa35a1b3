"""Members of a tar archive by position, so each read is one seek."""

from __future__ import annotations

import tarfile
from collections.abc import Iterator, Mapping
from functools import lru_cache
from pathlib import Path

import numpy as np

from depth_anything_ros.data.frame import DataError
from depth_anything_ros.data.names import Names

_FIX = "fetch it or pack it again"


class ArchiveError(DataError):
    """An archive is missing, unreadable, truncated or damaged. The error is not about a single member."""


class TarMembers(Mapping[str, tuple[int, int]]):
    """First byte and length of each file in an archive, by name; read-only.

    A member takes about 25 bytes instead of 350 in a dictionary, because every reading process keeps many archives. A
    name is identified by 64 bits of its hash.

    Args:
        positions: first byte, a multiple of 512, and length by name.
    """

    def __init__(self, positions: Mapping[str, tuple[int, int]]) -> None:
        self._names = Names(positions)
        hashes = np.fromiter(map(hash, positions), np.int64, len(positions))
        order = np.argsort(hashes)
        starts, sizes = np.array(list(positions.values()), np.int64).reshape(-1, 2)[order].T
        self._hashes = hashes[order]
        self._blocks, self._sizes = _narrow(starts // tarfile.BLOCKSIZE), _narrow(sizes)

    def __getitem__(self, name: str) -> tuple[int, int]:
        """Return first byte and length. Raises `KeyError` for an unknown name."""
        requested = hash(name)
        index = int(np.searchsorted(self._hashes, requested))
        if index == len(self._hashes) or self._hashes[index] != requested:
            raise KeyError(name)
        return int(self._blocks[index]) * tarfile.BLOCKSIZE, int(self._sizes[index])

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)


def _is_file(member: tarfile.TarInfo) -> bool:
    return member.isreg() and not member.issparse() and "\0" not in member.name


def _narrow(values: np.ndarray) -> np.ndarray:
    """Return the values in 32 bits if they fit."""
    fits = not len(values) or values.max() <= np.iinfo(np.uint32).max
    return values.astype(np.uint32 if fits else np.int64)


@lru_cache(maxsize=64)
def tar_members(path: Path) -> TarMembers:
    """Return first byte and length of each file in an archive, in stored order. The result is cached and shared.

    Raises `ArchiveError`, naming the archive, if it is missing, unreadable, compressed, truncated or damaged.
    """
    try:
        with tarfile.open(path, "r:") as archive:  # positions in a compressed archive have no meaning
            members = {one.name: (one.offset_data, one.size) for one in archive if _is_file(one)}
            end = archive.offset
        with path.open("rb") as file:
            file.seek(end)
            block = file.read(tarfile.BLOCKSIZE)
    except tarfile.TarError as error:
        raise ArchiveError(f"cannot read {path}: {error}: it is damaged or not an uncompressed tar; {_FIX}") from error
    except OSError as error:
        raise ArchiveError(f"cannot read {path}: {error.strerror}") from error
    if block != bytes(tarfile.BLOCKSIZE):  # tarfile takes any invalid header for the end
        problem = "has no member" if len(block) == tarfile.BLOCKSIZE else "is truncated"
        raise ArchiveError(f"{path} {problem} at byte {end}, expected a file or the end of the archive; {_FIX}")
    return TarMembers(members)


def read_member(path: Path, name: str) -> bytes:
    """Read one file of an archive. It opens the archive for each call, so it is safe for threads and processes.

    Args:
        path: the archive.
        name: the file.

    Raises:
        ArchiveError: see `tar_members`.
        DataError: the archive has no such file; the message names both.
    """
    position = tar_members(path).get(name)
    if position is None:
        raise DataError(f"{path} has no {name}")
    offset, size = position
    try:
        with path.open("rb") as file:
            file.seek(offset)
            content = file.read(size)
    except OSError as error:
        raise ArchiveError(f"cannot read {name} of {path}: {error.strerror}") from error
    if len(content) != size:
        raise ArchiveError(f"{path} ends within {name}; {_FIX}")
    return content
