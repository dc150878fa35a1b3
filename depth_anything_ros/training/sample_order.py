"""In which order samples are seen: shuffled anew in every epoch, known for any step without going through those before.

So a run that goes on from step 40 000 sees what it would have seen, at once, and sets of a hundred million samples need
no list of their order in memory.
"""

from __future__ import annotations

import numpy as np

_ROUNDS = 4


class SampleOrder:
    """A permutation of ``size`` samples for each epoch.

    A Feistel network over the least square power of two that holds them (Black and Rogaway, CT-RSA 2002): what falls
    outside is enciphered again until it falls inside. Numbers depend on nothing but the arguments.

    Args:
        size: number of samples, at least 1.
        seed: of this order; another seed, another order.
    """

    def __init__(self, size: int, seed: int) -> None:
        if size < 1:
            raise ValueError(f"there are {size} samples, must be at least one")
        self.size, self._seed = size, seed
        self._half_bits = max(1, -(-(size - 1).bit_length() // 2))
        self._mask = (1 << self._half_bits) - 1
        self._keys: tuple[int, list[int]] = (-1, [])

    def __getitem__(self, position: int) -> int:
        """The sample at a position, counted over all epochs from 0 on."""
        epoch, place = divmod(position, self.size)
        keys = self._keys_of(epoch)
        while True:
            place = self._encipher(place, keys)
            if place < self.size:
                return place

    def _keys_of(self, epoch: int) -> list[int]:
        if self._keys[0] != epoch:
            numbers = np.random.SeedSequence((self._seed, epoch)).generate_state(_ROUNDS, np.uint64)
            self._keys = epoch, [int(number) for number in numbers]
        return self._keys[1]

    def _encipher(self, place: int, keys: list[int]) -> int:
        left, right = place >> self._half_bits, place & self._mask
        for key in keys:
            left, right = right, left ^ (_mixed(right, key) & self._mask)
        return left << self._half_bits | right


def _mixed(value: int, key: int) -> int:
    """64 bits that depend on all bits of both (the finaliser of SplitMix64, Steele et al., OOPSLA 2014)."""
    value = (value + key) & 0xFFFFFFFFFFFFFFFF
    value = (value ^ value >> 30) * 0xBF58476D1CE4E5B9 & 0xFFFFFFFFFFFFFFFF
    value = (value ^ value >> 27) * 0x94D049BB133111EB & 0xFFFFFFFFFFFFFFFF
    return value ^ value >> 31
