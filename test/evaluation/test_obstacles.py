"""False and missed obstacles, in scenes whose counts follow from geometry."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from depth_anything_ros.evaluation.obstacles import HeightBand, ObstacleOptions, count_obstacles
from depth_anything_ros.geometry.camera import Camera

CAMERA = Camera(160, 120, 120.0, 120.0, 79.5, 59.5)
WALL = np.full((120, 160), 3.0)
POST = slice(40, 80), slice(70, 90)
"""Pixels of a post at 1.5 m: 20 pixels are 0.25 m wide, 40 are 0.5 m high."""


def with_post() -> np.ndarray:
    depth = WALL.copy()
    depth[POST] = 1.5
    return depth


def test_equal_depth_has_no_errors():
    counts = count_obstacles(with_post(), with_post(), CAMERA)
    assert counts.missed.sum() == counts.false.sum() == 0
    assert counts.true.sum() == counts.predicted.sum() > 100
    assert np.isnan(counts.missed_rate[0])  # nothing is nearer than a meter
    assert counts.missed_rate[1] == counts.missed_rate[2] == 0


def test_post_that_is_not_predicted_is_missed():
    counts = count_obstacles(WALL, with_post(), CAMERA)
    voxels = counts.true[1]  # from 1 to 2 m: the post alone
    assert voxels == pytest.approx(0.25 * 0.5 / 0.05**2, rel=0.35)
    assert counts.missed[1] == voxels
    assert counts.missed_rate[1] == 1
    # The wall behind the post is predicted, but the truth cannot see it.
    assert counts.false.sum() == 0
    assert counts.unknown_predicted.sum() > 0


def test_post_that_does_not_exist_is_false():
    missed, false = count_obstacles(WALL, with_post(), CAMERA), count_obstacles(with_post(), WALL, CAMERA)
    np.testing.assert_array_equal(false.false, missed.missed)
    np.testing.assert_array_equal(false.predicted, missed.true)
    np.testing.assert_array_equal(false.unknown_true, missed.unknown_predicted)
    assert false.missed.sum() == 0


@pytest.mark.parametrize(("error", "is_wrong"), [(0.04, False), (-0.04, False), (0.3, True), (-0.3, True)])
def test_small_errors_of_depth_are_no_obstacles(error, is_wrong):
    counts = count_obstacles(WALL + error, WALL, CAMERA)
    assert (counts.missed.sum() > 0) == (is_wrong and error > 0)  # seen through where predicted too far
    assert (counts.false.sum() > 0) == (is_wrong and error < 0)


def test_unknown_depth_counts_nothing():
    true = with_post()
    true[POST] = np.nan
    counts = count_obstacles(with_post(), true, CAMERA)
    assert counts.false.sum() == counts.missed.sum() == counts.predicted[1] == 0


def test_lone_points_occupy_no_voxel_if_more_are_required():
    true = WALL.copy()
    true[60, 80] = 1.5
    assert count_obstacles(WALL, true, CAMERA).missed.sum() == 1
    assert count_obstacles(WALL, true, CAMERA, ObstacleOptions(min_points=2)).missed.sum() == 0


def test_height_band_leaves_out_the_ground():
    """A camera 0.5 m above a floor that is predicted too near: no obstacle of a robot."""
    rows = np.arange(120)[:, None] + np.zeros((1, 160))
    with np.errstate(divide="ignore"):
        floor = np.where(rows > 62, 0.5 * 120 / (rows - 59.5), np.nan)
    nearer = floor * 0.8
    assert count_obstacles(nearer, floor, CAMERA).false.sum() > 0
    band = HeightBand(0.5, low=0.15, high=1.0)
    counts = count_obstacles(nearer, floor, CAMERA, ObstacleOptions(band=band))
    assert counts.false.sum() == counts.true.sum() == 0
    both = np.where(rows > 80, floor, 1.5)  # a wall on the floor
    counts = count_obstacles(both, both, CAMERA, ObstacleOptions(band=band))
    assert counts.true[1] > 50
    tilted = HeightBand(0.5, up=(0.0, -0.8, -0.6))
    assert tilted.contains(np.array([[0.0, 0.0, 0.5], [0.0, 0.0, 0.9]])).tolist() == [True, False]


@given(st.integers(0, 2**32 - 1))
@settings(deadline=None, max_examples=15)
def test_roles_are_symmetric_and_counts_consistent(seed):
    rng = np.random.default_rng(seed)
    true = rng.uniform(0.5, 6, (120, 160))
    true[rng.random(true.shape) < 0.5] = np.nan
    predicted = rng.uniform(0.5, 6, (120, 160))
    forth = count_obstacles(predicted, true, CAMERA)
    back = count_obstacles(
        np.where(np.isfinite(true), true, np.nan), np.where(np.isfinite(true), predicted, np.nan), CAMERA
    )
    np.testing.assert_array_equal(forth.missed, back.false)
    np.testing.assert_array_equal(forth.true, back.predicted)
    assert (forth.missed <= forth.true).all()
    assert (forth.false <= forth.predicted).all()


def test_invalid_options_are_named():
    with pytest.raises(ValueError, match=r"voxel is 0 m, must be positive"):
        ObstacleOptions(voxel=0)
    with pytest.raises(ValueError, match="min_points is 0"):
        ObstacleOptions(min_points=0)
    with pytest.raises(ValueError, match="must have length 1"):
        HeightBand(1.0, up=(0.0, -2.0, 0.0))
    with pytest.raises(ValueError, match=r"height band is 2.0 to 1.0 m"):
        HeightBand(1.0, low=2.0, high=1.0)
    with pytest.raises(ValueError, match="depth is"):
        count_obstacles(WALL[1:], WALL, CAMERA)
