"""Errors by range and region, and the honesty of a stated uncertainty."""

from __future__ import annotations

import numpy as np
import pytest

from depth_anything_ros.evaluation.breakdown import by_range, by_region, honesty
from depth_anything_ros.evaluation.metrics import score_depth
from depth_anything_ros.evaluation.obstacles import RANGE_EDGES

RNG = np.random.default_rng(3)


def test_error_by_range_is_that_of_each_range():
    true = np.array([[0.5, 1.0, 3.0, 40.0]])
    predicted = true * [[1.1, 0.8, 1.0, 2.0]]
    found = by_range(predicted, true, np.ones((1, 4), bool))
    assert found.pixels.tolist() == [1, 1, 1, 0, 0, 0, 1]  # 1.0 belongs to 1 to 2 m
    np.testing.assert_allclose(found.abs_rel, [0.1, 0.2, 0, np.nan, np.nan, np.nan, 1.0], atol=1e-12)
    np.testing.assert_allclose(found.bias[[0, 1, 6]], np.log([1.1, 0.8, 2.0]))


def test_parts_add_up_to_the_image():
    true = RNG.uniform(0.2, 50, (31, 47)).astype(np.float32)
    predicted = true * np.exp(0.2 * RNG.standard_normal(true.shape))
    mask = RNG.random(true.shape) < 0.6
    whole = score_depth(predicted[mask], true[mask]).abs_rel
    for found in (by_range(predicted, true, mask), by_region(predicted, true, mask)):
        assert found.pixels.sum() == mask.sum()
        assert np.nansum(found.abs_rel * found.pixels) / mask.sum() == pytest.approx(whole)
    assert len(found.abs_rel) == 3
    assert len(by_range(predicted, true, mask).bias) == len(RANGE_EDGES) - 1


def test_region_is_where_the_error_is():
    true = np.full((30, 60), 2.0)
    predicted = true.copy()
    predicted[:10, 40:] *= 1.5
    found = by_region(predicted, true, np.ones(true.shape, bool))
    np.testing.assert_allclose(found.abs_rel, [[0, 0, 0.5], [0, 0, 0], [0, 0, 0]], atol=1e-12)
    empty = by_region(predicted, true, predicted == true)
    assert np.isnan(empty.abs_rel[0, 2])


def test_honest_sigma_has_normalized_error_one():
    true = RNG.uniform(1, 10, 40_000)
    sigma = RNG.uniform(0.02, 0.2, len(true))
    predicted = true * np.exp(sigma * RNG.standard_normal(len(true)))
    honest, timid, bold = (honesty(predicted, true, factor * sigma) for factor in (1, 2, 0.5))
    assert honest.normalized_error == pytest.approx(1, abs=0.03)
    assert honest.within_one == pytest.approx(0.683, abs=0.01)
    assert honest.within_two == pytest.approx(0.954, abs=0.01)
    assert timid.normalized_error == pytest.approx(honest.normalized_error / 4)
    assert bold.normalized_error == pytest.approx(honest.normalized_error * 4)
    with pytest.raises(ValueError, match="positive sigma"):
        honesty(predicted, true, 0 * sigma)
