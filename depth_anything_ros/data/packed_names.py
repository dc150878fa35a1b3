"""The images in the shards of a folder, 14 bytes each, because sets have tens of millions."""

from __future__ import annotations

from array import array
from collections.abc import Collection, Sequence
from pathlib import Path

import numpy as np

from depth_anything_ros.data.manifest import Shard
from depth_anything_ros.data.shard_files import numbers_in, read_note


class PackedNames:
    """The content of a folder's shards, and which of it the roots of this run have.

    Args:
        output: the folder.

    Attributes:
        labels: the label of each shard's root, by shard number.
        shards: the shards whose file exists, by number.
    """

    def __init__(self, output: Path) -> None:
        self._output = output
        self.labels: dict[int, str] = {}
        self.shards: dict[int, Shard] = {}
        hashes, owners, packed = array("q"), array("I"), bytearray()
        for number in numbers_in(output):
            note = read_note(output, number)
            if note is None:
                continue
            self.labels[number] = note.label
            if note.shard is not None:
                self.shards[number] = note.shard
            hashes.frombytes(_hashes(note.label, note.names).tobytes())
            owners.extend([len(self.labels) - 1] * len(note.names))
            is_packed = note.shard is not None
            packed.extend(is_packed and name not in note.refused for name in note.names)
        order = np.argsort(np.frombuffer(hashes, np.int64))
        self._sorted_hashes = np.frombuffer(hashes, np.int64)[order]
        del hashes  # limits the peak memory
        self._numbers, self._owners = list(self.labels), np.frombuffer(owners, np.uint32)[order]
        self._packed = np.frombuffer(packed, bool)[order]
        self._again = np.flatnonzero(self._sorted_hashes[1:] == self._sorted_hashes[:-1]) + 1  # in several shards
        self._seen = np.zeros(len(self._sorted_hashes), bool)

    def new_among(self, label: str, names: Sequence[str]) -> list[str]:
        """Return the images of a root that are in no shard, and mark the others as seen.

        Args:
            label: the label of the root.
            names: its images.
        """
        if not len(self._sorted_hashes):
            return list(names)
        requested = _hashes(label, names)
        indices = np.minimum(np.searchsorted(self._sorted_hashes, requested), len(self._sorted_hashes) - 1)
        is_packed = self._sorted_hashes[indices] == requested
        self._seen[indices[is_packed]] = True
        return [name for name, packed in zip(names, is_packed, strict=True) if not packed]

    def seen(self) -> set[int]:
        """Return the numbers of the shards with at least one seen image."""
        return self._numbers_where(self._is_seen())

    def unseen(self) -> set[int]:
        """Return the numbers of the shards with at least one unseen image."""
        return self._numbers_where(~self._is_seen())

    def samples_unseen(self, numbers: Collection[int]) -> int:
        """Return how many samples of these shards belong to unseen images."""
        is_unseen = self._packed & ~self._is_seen()
        owners = [owner for owner, number in enumerate(self._numbers) if number in numbers]
        return int(np.count_nonzero(np.isin(self._owners[is_unseen], owners)))

    def names_unseen(self, number: int) -> list[str]:
        """Return the unseen images of a shard, including those that could not be packed."""
        note = read_note(self._output, number)
        seen = self._seen[np.searchsorted(self._sorted_hashes, _hashes(note.label, note.names))]
        return [name for name, is_seen in zip(note.names, seen, strict=True) if not is_seen]

    def _numbers_where(self, chosen: np.ndarray) -> set[int]:
        """Return the numbers of the shards of the chosen images, bool (N,)."""
        has_image = np.zeros(len(self._numbers), bool)
        has_image[self._owners[chosen]] = True
        return {self._numbers[owner] for owner in np.flatnonzero(has_image).tolist()}

    def _is_seen(self) -> np.ndarray:
        """Return which images of all shards are seen, bool (N,). An image in several shards is seen in each."""
        for index in self._again.tolist():  # `new_among` marks the first
            self._seen[index] = self._seen[index - 1]
        return self._seen


def _hashes(label: str, names: Sequence[str]) -> np.ndarray:
    """Return a hash of each name, int64 (N,), valid within this process."""
    return np.fromiter((hash((label, name)) for name in names), np.int64, len(names))
