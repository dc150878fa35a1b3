"""Colors of depth: near is warm, far is cold, black is invalid."""

from __future__ import annotations

import numpy as np
import pytest

from depth_anything_ros.visualization.colormap import colorize


def test_near_is_red_and_far_is_blue():
    ramp = np.linspace(0, 1, 256, dtype=np.float32)[None].repeat(8, axis=0)
    colors = colorize(ramp, 0, 1)
    assert colors.shape == (8, 256, 3)
    assert colors.dtype == np.uint8
    red, _, blue = colors[0].astype(int).T
    assert (red[215:250] > blue[215:250] + 50).all()
    assert (blue[20:60] > red[20:60] + 50).all()


def test_only_non_finite_values_are_black():
    values = np.random.default_rng(0).random((40, 50), np.float32)
    values[3, 4], values[5, 6], values[7, 8] = np.nan, np.inf, -np.inf
    black = (colorize(values) == 0).all(axis=-1)
    assert np.array_equal(black, ~np.isfinite(values))


def test_outliers_do_not_change_colors():
    values = np.linspace(1, 2, 5000, dtype=np.float32).reshape(50, 100)
    plain = colorize(values)
    values[0, :20] = 1e6
    assert np.abs(colorize(values)[1:].astype(int) - plain[1:]).mean() < 4


def test_given_limits_fix_colors():
    near, far = np.full((4, 4), 2, np.float32), np.full((4, 4), 1, np.float32)
    assert not np.array_equal(colorize(near, 0, 3), colorize(far, 0, 3))
    assert np.array_equal(colorize(near, 0, 3)[0, 0], colorize(np.float32([[2, 1]]), 0, 3)[0, 0])


@pytest.mark.parametrize("value", [0.0, 3.0, np.nan])
def test_constant_map_has_one_color(value):
    colors = colorize(np.full((4, 6), value, np.float32))
    assert (colors == colors[0, 0]).all()
    assert colors.any() != np.isnan(value)


def test_colorize_rejects_other_shapes():
    with pytest.raises(ValueError, match="shape"):
        colorize(np.zeros((1, 4, 4), np.float32))
