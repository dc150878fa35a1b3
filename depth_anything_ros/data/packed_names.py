"""The images that the shards of a folder were made of, in 14 bytes each: sets have tens of millions."""

from __future__ import annotations

from array import array
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
        hashes, places, packed = array("q"), array("I"), bytearray()
        for number in numbers_in(output):
            note = read_note(output, number)
            if note is None:
                continue
            self.labels[number] = note.label
            if note.shard is not None:
                self.shards[number] = note.shard
            hashes.frombytes(_hashes(note.label, note.names).tobytes())
            places.extend([len(self.labels) - 1] * len(note.names))
            is_there = note.shard is not None
            packed.extend(is_there and name not in note.refused for name in note.names)
        order = np.argsort(np.frombuffer(hashes, np.int64))
        self._known = np.frombuffer(hashes, np.int64)[order]
        del hashes  # what is longest in memory is as much as it takes
        self._numbers, self._places = list(self.labels), np.frombuffer(places, np.uint32)[order]
        self._packed = np.frombuffer(packed, bool)[order]
        self._again = np.flatnonzero(self._known[1:] == self._known[:-1]) + 1  # in several shards
        self._seen = np.zeros(len(self._known), bool)

    def new_among(self, label: str, names: Sequence[str]) -> list[str]:
        """Those of a root's images that no shard is made of; the others count as seen from now on."""
        if not len(self._known):
            return list(names)
        requested = _hashes(label, names)
        places = np.minimum(np.searchsorted(self._known, requested), len(self._known) - 1)
        is_known = self._known[places] == requested
        self._seen[places[is_known]] = True
        return [name for name, known in zip(names, is_known, strict=True) if not known]

    def seen(self) -> set[int]:
        """The numbers of the shards of which an image has been seen."""
        return self._numbers_where(self._is_seen())

    def unseen(self) -> set[int]:
        """The numbers of the shards of which an image has not been seen."""
        return self._numbers_where(~self._is_seen())

    def samples_unseen(self, numbers: Collection[int]) -> int:
        """How many samples of these shards are of images that have not been seen."""
        is_unseen = self._packed & ~self._is_seen()
        places = [place for place, number in enumerate(self._numbers) if number in numbers]
        return int(np.count_nonzero(np.isin(self._places[is_unseen], places)))

    def names_unseen(self, number: int) -> list[str]:
        """The images of a shard that have not been seen, whether they could be packed or not."""
        note = read_note(self._output, number)
        seen = self._seen[np.searchsorted(self._known, _hashes(note.label, note.names))]
        return [name for name, is_seen in zip(note.names, seen, strict=True) if not is_seen]

    def _numbers_where(self, chosen: np.ndarray) -> set[int]:
        """The numbers of the shards of chosen images, bool (N,)."""
        is_meant = np.zeros(len(self._numbers), bool)
        is_meant[self._places[chosen]] = True
        return {self._numbers[place] for place in np.flatnonzero(is_meant).tolist()}

    def _is_seen(self) -> np.ndarray:
        """Which of the images of all shards have been seen, bool (N,); one that is in several shards, in each."""
        for place in self._again.tolist():  # `new_among` marks the first
            self._seen[place] = self._seen[place - 1]
        return self._seen


def _hashes(label: str, names: Sequence[str]) -> np.ndarray:
    """A number for each name, int64 (N,): the same for the same name, within this process."""
    return np.fromiter((hash((label, name)) for name in names), np.int64, len(names))
