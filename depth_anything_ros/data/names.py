"""The names of a set in little memory: tens of millions of names, shared between processes."""

from __future__ import annotations

import logging
import mmap
import os
from array import array
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path

import numpy as np

from depth_anything_ros.images.sorted_names import BLOCK, pack_block, unpack_block
from depth_anything_ros.system.atomic_file import atomic_path, atomic_write
from depth_anything_ros.system.file_lock import locked

_log = logging.getLogger(__name__)

_NUMBER = "Q"
"""`array` type code of 64-bit unsigned integers."""


class Names(Sequence[str]):
    """Names in order, read-only: one buffer of compressed blocks, and the start of each block.

    A name takes a fifth to a third of its text, where a Python string takes 49 bytes more than its text. Forked
    processes share the buffer. So do processes that `open` the file from `save`.

    Args:
        names: text without NUL, such as file names.
    """

    def __init__(self, names: Iterable[str]) -> None:
        buffer, starts, count = bytearray(), array(_NUMBER, [0]), 0
        remaining = iter(names)
        while block := list(islice(remaining, BLOCK)):
            count += len(block)
            buffer += pack_block(block)
            starts.append(len(buffer))
        self._set(buffer, starts, count)

    def _set(self, buffer: bytearray | mmap.mmap, starts: array, count: int) -> None:
        self._buffer, self._starts, self._count = buffer, starts, count

    @classmethod
    def open(cls, path: Path) -> Names:
        """Open a file from `save`. The buffer stays in the file, which may be removed while the names are in use."""
        names = cls.__new__(cls)
        with path.open("rb") as file:
            count, blocks = array(_NUMBER, file.read(16))
            file.seek(-8 * (blocks + 1), os.SEEK_END)
            starts = array(_NUMBER, file.read())
            buffer = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        names._set(buffer, array(_NUMBER, (16 + start for start in starts)), count)
        return names

    def save(self, path: Path) -> None:
        """Write a file for `open`, atomically. Raises `OSError` if it cannot be written."""
        with atomic_path(path) as partial, partial.open("wb") as file:
            array(_NUMBER, [self._count, len(self._starts) - 1]).tofile(file)
            file.write(memoryview(self._buffer)[self._starts[0] : self._starts[-1]])
            array(_NUMBER, (start - self._starts[0] for start in self._starts)).tofile(file)

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, index: int) -> str:
        """Return one name. Raises `IndexError` if there are fewer."""
        if not -self._count <= index < self._count:
            raise IndexError(f"index {index} is out of range: there are {self._count} names")
        block, offset = divmod(index % self._count, BLOCK)
        return self._unpacked(block)[offset]  # not cached: a process has the names of many archives

    def __iter__(self) -> Iterator[str]:
        for block in range(len(self._starts) - 1):
            yield from self._unpacked(block)

    def _unpacked(self, block: int) -> list[str]:
        return unpack_block(self._buffer[self._starts[block] : self._starts[block + 1]])


class NameMap(Mapping[str, str]):
    """Maps names to names, in order, read-only: about 30 bytes per pair.

    A name is identified by 64 bits of its hash.
    """

    def __init__(self, pairs: Mapping[str, str]) -> None:
        self._names, self._values = Names(pairs), Names(pairs.values())
        hashes = np.fromiter(map(hash, pairs), np.int64, len(pairs))
        self._indices = np.argsort(hashes).astype(np.uint32)
        self._hashes = hashes[self._indices]

    def __getitem__(self, name: str) -> str:
        """Return the value for a name. Raises `KeyError` if there is none."""
        requested = hash(name)
        found = int(np.searchsorted(self._hashes, requested))
        if found == len(self._hashes) or self._hashes[found] != requested:
            raise KeyError(name)
        return self._values[int(self._indices[found])]

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)


class Seen:
    """The names given so far, 8 bytes each: sorted runs of hashes, each longer than those after it.

    A name is identified by 64 bits of its hash. Of 62 million names, two collide in 1 of 10 000 sets.
    """

    def __init__(self) -> None:
        self._runs: list[np.ndarray] = []

    def new_among(self, names: Sequence[str]) -> list[str]:
        """Return the names that were not given before, each once, in order."""
        distinct = list(dict.fromkeys(names))
        hashes = np.fromiter(map(hash, distinct), np.int64, len(distinct))
        is_new = np.ones(len(hashes), bool)
        for run in self._runs:
            indices = np.minimum(np.searchsorted(run, hashes), len(run) - 1)
            is_new &= run[indices] != hashes
        if is_new.any():
            self._runs.append(np.sort(hashes[is_new]))
        while len(self._runs) > 1 and len(self._runs[-2]) < 2 * len(self._runs[-1]):
            last = self._runs.pop()
            self._runs[-1] = np.concatenate([self._runs[-1], last])
            self._runs[-1].sort()
        return [name for name, new in zip(distinct, is_new.tolist(), strict=True) if new]


def once(look: Callable[[], tuple[Names, str]], shared: Path | None) -> tuple[Names, str]:
    """Return the names and the version of a set; processes with the same file share one search.

    The first process searches, which takes hours for tens of millions of images. The others open its file. If the file
    cannot be written, each process searches.

    Args:
        look: searches the set.
        shared: the file, or None.
    """
    if shared is None:
        return look()
    version = shared.with_name(f"{shared.name}.version")
    try:
        with locked(shared):
            if not shared.exists():
                names, found = look()
                atomic_write(version, found.encode())
                names.save(shared)
            return Names.open(shared), version.read_text()
    except OSError as error:
        _log.warning("cannot share the names of images with other processes: %s", error)
        return look()
