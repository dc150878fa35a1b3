"""Colours of depth: near is warm, far is cold, black is nothing."""

from __future__ import annotations

import numpy as np
import pytest

from depth_anything_ros.visualization.colormap import colourise


def test_near_is_red_and_far_is_blue():
    ramp = np.linspace(0, 1, 256, dtype=np.float32)[None].repeat(8, axis=0)
    colours = colourise(ramp, 0, 1)
    assert colours.shape == (8, 256, 3)
    assert colours.dtype == np.uint8
    red, _, blue = colours[0].astype(int).T
    assert (red[215:250] > blue[215:250] + 50).all()
    assert (blue[20:60] > red[20:60] + 50).all()


def test_black_is_nothing_and_nothing_else():
    values = np.random.default_rng(0).random((40, 50), np.float32)
    values[3, 4], values[5, 6], values[7, 8] = np.nan, np.inf, -np.inf
    black = (colourise(values) == 0).all(axis=-1)
    assert np.array_equal(black, ~np.isfinite(values))


def test_outliers_do_not_take_the_colours():
    values = np.linspace(1, 2, 5000, dtype=np.float32).reshape(50, 100)
    plain = colourise(values)
    values[0, :20] = 1e6
    assert np.abs(colourise(values)[1:].astype(int) - plain[1:]).mean() < 4


def test_given_limits_keep_colours_steady():
    near, far = np.full((4, 4), 2, np.float32), np.full((4, 4), 1, np.float32)
    assert not np.array_equal(colourise(near, 0, 3), colourise(far, 0, 3))
    assert np.array_equal(colourise(near, 0, 3)[0, 0], colourise(np.float32([[2, 1]]), 0, 3)[0, 0])


@pytest.mark.parametrize("value", [0.0, 3.0, np.nan])
def test_a_map_without_contrast_is_coloured_all_the_same(value):
    colours = colourise(np.full((4, 6), value, np.float32))
    assert (colours == colours[0, 0]).all()
    assert colours.any() != np.isnan(value)


def test_other_shapes_are_refused():
    with pytest.raises(ValueError, match="shape"):
        colourise(np.zeros((1, 4, 4), np.float32))
