"""The order of samples: each once an epoch, another order every time, known for any position at once."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from depth_anything_ros.training.sample_order import SampleOrder


@given(st.integers(1, 700), st.integers(0, 2**40), st.integers(0, 5))
def test_each_sample_comes_once_in_every_epoch(size, seed, epoch):
    order = SampleOrder(size, seed)
    seen = [order[position] for position in range(epoch * size, (epoch + 1) * size)]
    assert sorted(seen) == list(range(size))


@given(st.integers(1, 10**9), st.integers(0, 2**40), st.integers(0, 10**12))
def test_any_position_is_known_at_once_and_to_everybody(size, seed, position):
    sample = SampleOrder(size, seed)[position]
    assert 0 <= sample < size
    other = SampleOrder(size, seed)
    assert other[position + size] in range(size)  # of another epoch, in between
    assert other[position] == sample


def test_epochs_and_seeds_differ():
    def first(seed: int, epoch: int) -> list[int]:
        return [SampleOrder(1000, seed)[epoch * 1000 + place] for place in range(50)]

    orders = [first(seed, epoch) for seed in range(3) for epoch in range(3)]
    assert len({tuple(order) for order in orders}) == 9
    assert list(range(50)) not in orders


def test_neighbours_are_scattered_evenly():
    order = SampleOrder(10_000, 3)
    samples = np.array([order[position] for position in range(10_000)])
    # Of a thousand samples in a row each tenth of the set has some hundred: 4 standard deviations are 38.
    for start in range(0, 10_000, 1000):
        counts = Counter(samples[start : start + 1000] // 1000)
        assert all(60 < counts[tenth] < 140 for tenth in range(10))
    assert abs(np.corrcoef(samples[:-1], samples[1:])[0, 1]) < 0.04


def test_there_must_be_something_to_order():
    with pytest.raises(ValueError, match="0 samples"):
        SampleOrder(0, 1)
