"""The order of samples: shuffled again in every epoch, and known for any step without the steps before it.

So a run that resumes at step 40 000 sees at once what it would have seen. A dataset of a hundred million samples needs
no list of its order in memory.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

_ROUNDS = 4


class SampleOrder:
    """A permutation of ``size`` samples for each epoch.

    A Feistel network over the smallest power of two that holds them (Black and Rogaway, CT-RSA 2002). A value outside
    is enciphered again until it is inside. The numbers depend only on the arguments.

    Args:
        size: number of samples, at least 1.
        seed: of this order.
    """

    def __init__(self, size: int, seed: int | tuple[int, ...]) -> None:
        if size < 1:
            raise ValueError(f"there are {size} samples, at least one is needed")
        self.size, self._seed = size, (seed,) if isinstance(seed, int) else seed
        self._half_bits = max(1, -(-(size - 1).bit_length() // 2))
        self._mask = (1 << self._half_bits) - 1
        self._keys: tuple[int, list[int]] = (-1, [])

    def __getitem__(self, position: int) -> int:
        """Return the sample at a position, counted over all epochs from 0."""
        epoch, value = divmod(position, self.size)
        keys = self._keys_of(epoch)
        while True:
            value = self._encipher(value, keys)
            if value < self.size:
                return value

    def _keys_of(self, epoch: int) -> list[int]:
        if self._keys[0] != epoch:
            numbers = np.random.SeedSequence((*self._seed, epoch)).generate_state(_ROUNDS, np.uint64)
            self._keys = epoch, [int(number) for number in numbers]
        return self._keys[1]

    def _encipher(self, value: int, keys: list[int]) -> int:
        left, right = value >> self._half_bits, value & self._mask
        for key in keys:
            left, right = right, left ^ (_mixed(right, key) & self._mask)
        return left << self._half_bits | right


class BlockOrder:
    """A permutation of samples in blocks (shards) for each epoch, with few blocks open at a time.

    Blocks are shuffled, then the samples of each group of neighboring blocks. A disk that is fast at sequential reads
    does not have to read single samples from a hundred thousand shards.

    Args:
        blocks: number of samples in each block.
        seed: of this order.
        window: number of blocks in a group.
    """

    def __init__(self, blocks: Sequence[int], seed: int, window: int = 16) -> None:
        self._blocks = np.asarray(blocks, np.int64)
        self.size = int(self._blocks.sum())
        if self.size < 1:
            raise ValueError("there are no samples")
        self._seed, self._window = seed, window
        self._epoch: tuple[int, np.ndarray, np.ndarray] | None = None
        self._within: tuple[tuple[int, int], SampleOrder] | None = None

    def __getitem__(self, position: int) -> tuple[int, int]:
        """Return the block and the index in it at a position, counted over all epochs from 0."""
        epoch, offset = divmod(position, self.size)
        order, starts = self._shuffled(epoch)
        group = int(np.searchsorted(starts[:: self._window], offset, side="right")) - 1
        first = group * self._window
        last = min(first + self._window, len(order))
        drawn = (
            int(starts[first])
            + self._order_of(epoch, group, int(starts[last] - starts[first]))[offset - int(starts[first])]
        )
        # The last block with this start: blocks may be empty.
        chosen = int(np.searchsorted(starts, drawn, side="right")) - 1
        return int(order[chosen]), drawn - int(starts[chosen])

    def _shuffled(self, epoch: int) -> tuple[np.ndarray, np.ndarray]:
        """Return the blocks in this epoch's order, and the start of each, with the end of the last."""
        if self._epoch is None or self._epoch[0] != epoch:
            order = np.random.default_rng((self._seed, epoch)).permutation(len(self._blocks))
            starts = np.concatenate([[0], np.cumsum(self._blocks[order])])
            self._epoch = epoch, order, starts
        return self._epoch[1:]

    def _order_of(self, epoch: int, group: int, size: int) -> SampleOrder:
        if self._within is None or self._within[0] != (epoch, group):
            self._within = (epoch, group), SampleOrder(size, (self._seed, epoch, group))
        return self._within[1]


def _mixed(value: int, key: int) -> int:
    """Return 64 bits that depend on all bits of both (the finalizer of SplitMix64, Steele et al., OOPSLA 2014)."""
    value = (value + key) & 0xFFFFFFFFFFFFFFFF
    value = (value ^ value >> 30) * 0xBF58476D1CE4E5B9 & 0xFFFFFFFFFFFFFFFF
    value = (value ^ value >> 27) * 0x94D049BB133111EB & 0xFFFFFFFFFFFFFFFF
    return value ^ value >> 31
