"""The images that the shards of a folder were made of, in eight bytes each: sets have tens of millions."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path

import numpy as np

from depth_anything_ros.data.manifest import Shard
from depth_anything_ros.data.shard_files import numbers_in, read_note


class PackedNames:
    """What a folder's shards hold, and which of that has been seen in the roots that are packed now.

    ``labels``: the label of each shard's root, by its number. ``shards``: those of them that are there.
    """

    def __init__(self, output: Path) -> None:
        self._output = output
        self.labels: dict[int, str] = {}
        self.shards: dict[int, Shard] = {}
        hashes, numbers, packed = [], [], []
        for number in numbers_in(output):
            note = read_note(output, number)
            if note is None:
                continue
            self.labels[number] = note.label
            if note.shard is not None:
                self.shards[number] = note.shard
            hashes.append(_hashes(note.label, note.names))
            numbers.append(np.full(len(note.names), number, np.int64))
            is_there = note.shard is not None
            packed.append(np.array([is_there and name not in note.refused for name in note.names], bool))
        self._known, self._which = np.unique(_joined(hashes, np.int64), return_inverse=True)
        self._numbers, self._packed = _joined(numbers, np.int64), _joined(packed, bool)
        self._seen = np.zeros(len(self._known), bool)

    def new_among(self, label: str, names: Sequence[str]) -> list[str]:
        """Those of a root's images that no shard is made of; the others count as seen from now on."""
        if not len(self._known):
            return list(names)
        wanted = _hashes(label, names)
        places = np.minimum(np.searchsorted(self._known, wanted), len(self._known) - 1)
        is_known = self._known[places] == wanted
        self._seen[places[is_known]] = True
        return [name for name, known in zip(names, is_known, strict=True) if not known]

    def seen(self) -> set[int]:
        """The numbers of the shards of which an image has been seen."""
        return set(self._numbers[self._seen[self._which]].tolist())

    def unseen(self) -> set[int]:
        """The numbers of the shards of which an image has not been seen."""
        return set(self._numbers[~self._seen[self._which]].tolist())

    def samples_unseen(self, numbers: Collection[int]) -> int:
        """How many samples of these shards are of images that have not been seen."""
        is_meant = np.isin(self._numbers, list(numbers))
        return int(np.count_nonzero(is_meant & self._packed & ~self._seen[self._which]))

    def names_unseen(self, number: int) -> list[str]:
        """The images of a shard that have not been seen, whether they could be packed or not."""
        note = read_note(self._output, number)
        seen = self._seen[np.searchsorted(self._known, _hashes(note.label, note.names))]
        return [name for name, is_seen in zip(note.names, seen, strict=True) if not is_seen]


def _hashes(label: str, names: Sequence[str]) -> np.ndarray:
    """A number for each name, int64 (N,): the same for the same name, within this process."""
    return np.fromiter((hash((label, name)) for name in names), np.int64, len(names))


def _joined(arrays: Sequence[np.ndarray], kind: type) -> np.ndarray:
    return np.concatenate(arrays) if arrays else np.empty(0, kind)
