"""The order of samples: each once per epoch, different per epoch, computed at any position, blocks kept together."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from depth_anything_ros.training.input.sample_order import BlockOrder, SampleOrder


@given(st.integers(1, 700), st.integers(0, 2**40), st.integers(0, 5))
def test_sample_order_gives_each_sample_once_per_epoch(size, seed, epoch):
    order = SampleOrder(size, seed)
    seen = [order[position] for position in range(epoch * size, (epoch + 1) * size)]
    assert sorted(seen) == list(range(size))


@given(st.integers(1, 10**9), st.integers(0, 2**40), st.integers(0, 10**12))
def test_sample_order_position_is_computed_directly(size, seed, position):
    sample = SampleOrder(size, seed)[position]
    assert 0 <= sample < size
    other = SampleOrder(size, seed)
    assert other[position + size] in range(size)  # of another epoch, in between
    assert other[position] == sample


def test_epochs_and_seeds_have_different_orders():
    def first(seed: int, epoch: int) -> list[int]:
        return [SampleOrder(1000, seed)[epoch * 1000 + place] for place in range(50)]

    orders = [first(seed, epoch) for seed in range(3) for epoch in range(3)]
    assert len({tuple(order) for order in orders}) == 9
    assert list(range(50)) not in orders


def test_neighboring_samples_are_scattered_evenly():
    order = SampleOrder(10_000, 3)
    samples = np.array([order[position] for position in range(10_000)])
    # Of a thousand samples in a row each tenth of the set has some hundred: 4 standard deviations are 38.
    for start in range(0, 10_000, 1000):
        counts = Counter(samples[start : start + 1000] // 1000)
        assert all(60 < counts[tenth] < 140 for tenth in range(10))
    assert abs(np.corrcoef(samples[:-1], samples[1:])[0, 1]) < 0.04


def test_sample_order_of_zero_samples_raises():
    with pytest.raises(ValueError, match="0 samples"):
        SampleOrder(0, 1)


BLOCKS = st.lists(st.integers(0, 30), min_size=1, max_size=40).filter(any)


def epoch_of(order: BlockOrder, epoch: int) -> list[tuple[int, int]]:
    return [order[position] for position in range(epoch * order.size, (epoch + 1) * order.size)]


@given(BLOCKS, st.integers(0, 2**40), st.integers(1, 50), st.integers(0, 5))
def test_block_order_gives_each_sample_once_per_epoch(blocks, seed, window, epoch):
    order = BlockOrder(blocks, seed, window)
    assert order.size == sum(blocks)
    every = [(block, place) for block, count in enumerate(blocks) for place in range(count)]
    assert sorted(epoch_of(order, epoch)) == every


@given(BLOCKS, st.integers(0, 2**40), st.integers(1, 50))
def test_block_order_opens_at_most_a_window_of_blocks(blocks, seed, window):
    """From its first sample to its last a block is open; so a disk reads few at once, and each of them once."""
    first, last = {}, {}
    for position, (block, _) in enumerate(epoch_of(BlockOrder(blocks, seed, window), 0)):
        first.setdefault(block, position)
        last[block] = position
    for position in range(sum(blocks)):
        assert sum(first[block] <= position <= last[block] for block in first) <= window


@given(
    st.lists(st.integers(0, 10**9), min_size=1, max_size=50).filter(any), st.integers(0, 2**40), st.integers(0, 10**12)
)
def test_block_order_position_is_computed_directly(blocks, seed, position):
    block, place = BlockOrder(blocks, seed)[position]
    assert 0 <= place < blocks[block]
    other = BlockOrder(blocks, seed)
    assert other[position + other.size][0] in range(len(blocks))  # of another epoch, in between
    assert other[position] == (block, place)


def test_samples_of_window_are_shuffled_together():
    """Of ten blocks of a hundred each, all open at once, the first hundred samples come from all of them."""
    samples = epoch_of(BlockOrder([100] * 10, 3, window=10), 0)
    counts = Counter(block for block, _ in samples[:100])
    assert all(2 <= counts[block] <= 20 for block in range(10))
    assert len({place for _, place in samples[:100]}) > 50


def test_blocks_have_different_order_per_epoch_and_seed():
    orders = {}
    for seed in range(3):
        order = BlockOrder([5] * 40, seed, window=2)
        for epoch in range(3):
            orders[seed, epoch] = tuple(dict.fromkeys(block // 2 for block, _ in epoch_of(order, epoch)))
    assert len(set(orders.values())) == 9
    whole = {tuple(epoch_of(BlockOrder([20], seed), epoch)) for seed in range(3) for epoch in range(3)}
    assert len(whole) == 9  # and samples inside of a block


@pytest.mark.parametrize("blocks", [[], [0], [0, 0, 0]])
def test_block_order_without_samples_raises(blocks):
    with pytest.raises(ValueError, match="there are no samples"):
        BlockOrder(blocks, 1)
