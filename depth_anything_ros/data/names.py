"""The names of a set in little memory: tens of millions of them, which processes share instead of copying."""

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
"""Of `array`: 64 bits without a sign."""


class Names(Sequence[str]):
    """Names in order, read-only: one buffer of compressed blocks, and where each block starts in it.

    A name takes a fifth to a third of its text, where a Python string takes 49 bytes beyond it. Processes that are
    forked share the buffer, as do those that `open` the file that `save` has written.

    Args:
        names: text without a NUL, as names of files are.
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
        """Those that `save` wrote; their buffer stays in the file, which may be removed while they are in use."""
        names = cls.__new__(cls)
        with path.open("rb") as file:
            count, blocks = array(_NUMBER, file.read(16))
            file.seek(-8 * (blocks + 1), os.SEEK_END)
            starts = array(_NUMBER, file.read())
            buffer = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        names._set(buffer, array(_NUMBER, (16 + start for start in starts)), count)
        return names

    def save(self, path: Path) -> None:
        """Writes a file for `open`, whole or not at all. Raises `OSError` where it cannot be written."""
        with atomic_path(path) as partial, partial.open("wb") as file:
            array(_NUMBER, [self._count, len(self._starts) - 1]).tofile(file)
            file.write(memoryview(self._buffer)[self._starts[0] : self._starts[-1]])
            array(_NUMBER, (start - self._starts[0] for start in self._starts)).tofile(file)

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, index: int) -> str:
        """One name. Raises `IndexError` beyond the last."""
        if not -self._count <= index < self._count:
            raise IndexError(f"there are {self._count} names, not one of number {index}")
        block, place = divmod(index % self._count, BLOCK)
        return self._unpacked(block)[place]  # not remembered: a process has the names of many archives

    def __iter__(self) -> Iterator[str]:
        for block in range(len(self._starts) - 1):
            yield from self._unpacked(block)

    def _unpacked(self, block: int) -> list[str]:
        return unpack_block(self._buffer[self._starts[block] : self._starts[block + 1]])


class NameMap(Mapping[str, str]):
    """A name for each name, in order, read-only: some thirty bytes a pair. A name is known by 64 bits of its hash."""

    def __init__(self, pairs: Mapping[str, str]) -> None:
        self._names, self._values = Names(pairs), Names(pairs.values())
        hashes = np.fromiter(map(hash, pairs), np.int64, len(pairs))
        self._places = np.argsort(hashes).astype(np.uint32)
        self._hashes = hashes[self._places]

    def __getitem__(self, name: str) -> str:
        """The name that belongs to a name. Raises `KeyError` where none does."""
        requested = hash(name)
        found = int(np.searchsorted(self._hashes, requested))
        if found == len(self._hashes) or self._hashes[found] != requested:
            raise KeyError(name)
        return self._values[int(self._places[found])]

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)


class Seen:
    """Which names were given before, in eight bytes each: sorted runs of hashes, each longer than those after it.

    A name is known by 64 bits of its hash: of 62 million names, one is taken for another once in 10 000 sets.
    """

    def __init__(self) -> None:
        self._runs: list[np.ndarray] = []

    def new_among(self, names: Sequence[str]) -> list[str]:
        """The names that were not given before, each once, in their order."""
        distinct = list(dict.fromkeys(names))
        hashes = np.fromiter(map(hash, distinct), np.int64, len(distinct))
        is_new = np.ones(len(hashes), bool)
        for run in self._runs:
            places = np.minimum(np.searchsorted(run, hashes), len(run) - 1)
            is_new &= run[places] != hashes
        if is_new.any():
            self._runs.append(np.sort(hashes[is_new]))
        while len(self._runs) > 1 and len(self._runs[-2]) < 2 * len(self._runs[-1]):
            last = self._runs.pop()
            self._runs[-1] = np.concatenate([self._runs[-1], last])
            self._runs[-1].sort()
        return [name for name, new in zip(distinct, is_new.tolist(), strict=True) if new]


def once(look: Callable[[], tuple[Names, str]], shared: Path | None) -> tuple[Names, str]:
    """The names of a set, and its version, as ``look`` finds them.

    Of several processes that are given the same file, the first looks, which takes hours for tens of millions, and the
    others open it. Where the file cannot be written, each looks for itself.
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
        _log.warning("names of images are not shared with other processes: %s", error)
        return look()
