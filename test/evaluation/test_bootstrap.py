"""Intervals and paired comparisons against the normal approximation and cases with known answers."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from depth_anything_ros.evaluation.bootstrap import confidence_interval, paired_difference

RNG = np.random.default_rng(7)


def test_interval_is_that_of_the_normal_approximation():
    values = RNG.normal(0.2, 0.05, 400)
    interval = confidence_interval([values])
    expected = 1.96 * values.std() / 20
    assert interval.half_width == pytest.approx(expected, rel=0.06)
    assert (interval.low + interval.high) / 2 == pytest.approx(values.mean(), abs=0.1 * expected)


def test_sets_have_equal_weight():
    """A large set of no spread and a small one: the interval is half that of the small one."""
    small = RNG.normal(0.2, 0.05, 30)
    both = confidence_interval([small, np.full(5000, 0.1)])
    assert both.half_width == pytest.approx(confidence_interval([small]).half_width / 2, rel=1e-6)


def test_interval_covers_the_truth_as_often_as_it_says():
    inside = 0
    for _ in range(200):
        interval = confidence_interval([RNG.exponential(1.0, 100)], samples=400)
        inside += interval.low <= 1.0 <= interval.high
    assert 0.88 < inside / 200 < 0.985


@given(st.lists(st.floats(0, 1), min_size=2, max_size=20), st.integers(0, 1000))
@settings(deadline=None, max_examples=30)
def test_result_depends_on_seed_alone(values, seed):
    values = np.array(values)
    first, again = (confidence_interval([values], samples=100, seed=seed) for _ in range(2))
    assert first == again
    assert values.min() - 1e-12 <= first.low <= first.high <= values.max() + 1e-12


def test_one_image_has_no_interval():
    assert confidence_interval([np.array([0.3])]) is None
    assert confidence_interval([]) is None
    assert paired_difference([np.array([0.3])], [np.array([0.2])]) is None


def test_paired_test_sees_what_intervals_hide():
    """Images differ much more than the models do, but one model is better on nearly every image."""
    hard = RNG.uniform(0.05, 0.5, 100)
    first, second = hard + RNG.normal(0.004, 0.01, 100), hard
    alone = [confidence_interval([values]) for values in (first, second)]
    assert alone[0].low < alone[1].high
    difference = paired_difference([first], [second])
    assert difference.mean == pytest.approx((first - second).mean())
    assert difference.is_sure
    assert difference.probability > 0.99
    reverse = paired_difference([second], [first])
    assert reverse.mean == -difference.mean
    assert reverse.interval.low == pytest.approx(-difference.interval.high, rel=0.2)


def test_equal_models_cannot_be_told_apart():
    values = RNG.uniform(0.1, 0.2, 50)
    difference = paired_difference([values], [values.copy()])
    assert (difference.mean, difference.probability, difference.is_sure) == (0, 0.5, False)
    noise = paired_difference([values + RNG.normal(0, 0.05, 50)], [values + RNG.normal(0, 0.05, 50)])
    assert noise.interval.low < 0 < noise.interval.high


def test_models_of_other_images_are_refused():
    with pytest.raises(ValueError, match="must have the same images"):
        paired_difference([np.zeros(3)], [np.zeros(4)])
