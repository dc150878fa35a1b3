"""Inverse depth to meters and back, the marks of REP 117, and the fit of a scale to reference depth."""

from __future__ import annotations

import math
import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as st_numpy

from depth_anything_ros.postprocessing.meters import (
    Scale,
    depth_to_millimeters,
    fit_scale,
    inverse_depth_to_depth,
    limit_depth,
)

unhurried = settings(deadline=None)  # a busy machine is no failure
shapes = st_numpy.array_shapes(min_dims=2, max_dims=2, max_side=8)
any_float32 = st.floats(width=32, allow_nan=True, allow_infinity=True)
scales = st.builds(Scale, st.floats(0.01, 100), st.floats(-0.5, 0.5))


@unhurried
@given(st_numpy.arrays(np.float32, shapes, elements=st.floats(0.125, 1000, width=32)), scales)
def test_depth_survives_round_trip_through_inverse_depth(depth, scale):
    inverse_depth = ((1 / depth.astype(np.float64) - scale.b) / scale.a).astype(np.float32)
    restored = inverse_depth_to_depth(inverse_depth, scale, 0.0, math.inf)
    # 1/Z is formed by a sum of terms as large as |b|; a float32's rounding there grows with Z.
    tolerance = depth * (1e-6 * (1 + depth * (1 + 2 * abs(scale.b))))
    assert restored.dtype == np.float32
    assert np.all(np.abs(restored - depth) <= tolerance)


@unhurried
@given(st_numpy.arrays(np.float32, shapes, elements=any_float32), scales, st.floats(0, 5), st.floats(5.1, 100))
def test_every_pixel_is_within_limits_or_marked(inverse_depth, scale, minimum, maximum):
    depth = inverse_depth_to_depth(inverse_depth, scale, minimum, maximum)
    with np.errstate(over="ignore", invalid="ignore"):
        inverse = inverse_depth * np.float32(scale.a) + np.float32(scale.b)
    assert np.array_equal(np.isnan(depth), np.isnan(inverse))
    assert np.all(depth[inverse <= 0] == np.inf)
    finite = depth[np.isfinite(depth)]
    assert np.all((finite >= np.float32(minimum)) & (finite <= np.float32(maximum)))
    with np.errstate(divide="ignore", over="ignore"):
        assert np.all(1 / inverse[depth == -np.inf] < np.float32(minimum))
        beyond = inverse[(depth == np.inf) & (inverse > 0)]
        assert np.all(1 / beyond > np.float32(maximum))


@pytest.mark.parametrize("inverse", [0.0, -0.0, -1e-30, -5.0, -math.inf])
@pytest.mark.parametrize("maximum", [10.0, math.inf])
def test_non_positive_inverse_depth_is_beyond_range(inverse, maximum):
    depth = inverse_depth_to_depth(np.full((1, 2), inverse, np.float32), Scale(1.0, 0.0), 0.1, maximum)
    assert np.all(depth == np.inf)


@unhurried
@given(st_numpy.arrays(np.float32, shapes, elements=any_float32), st.floats(0, 5), st.floats(5.1, 100))
def test_metric_depth_is_limited_equally(depth, minimum, maximum):
    limited = limit_depth(depth, minimum, maximum)
    minimum, maximum = np.float32(minimum), np.float32(maximum)
    assert np.array_equal(np.isnan(limited), np.isnan(depth))
    assert np.all(limited[depth > maximum] == np.inf)
    assert np.all(limited[depth < minimum] == -np.inf)
    inside = (depth >= minimum) & (depth <= maximum)
    assert np.array_equal(limited[inside], depth[inside])


def test_conversion_may_write_in_place_or_to_out():
    inverse_depth = np.array([[0.5, 2.0]], np.float32)
    out = np.empty((1, 2), np.float32)
    assert inverse_depth_to_depth(inverse_depth, Scale(1.0, 0.0), 0.1, 10.0, out=out) is out
    assert np.array_equal(inverse_depth, np.array([[0.5, 2.0]], np.float32))
    assert inverse_depth_to_depth(inverse_depth, Scale(1.0, 0.0), 0.1, 10.0, out=inverse_depth) is inverse_depth
    assert np.array_equal(out, [[2.0, 0.5]])
    assert np.array_equal(inverse_depth, out)
    assert limit_depth(out, 1.0, 10.0, out=out) is out
    assert np.array_equal(out, [[2.0, -np.inf]])


@pytest.mark.parametrize("limits", [(-1.0, 5.0), (5.0, 5.0), (6.0, 5.0), (math.nan, 5.0), (0.0, math.nan)])
@pytest.mark.parametrize(
    "limit", [limit_depth, lambda depth, *limits: inverse_depth_to_depth(depth, Scale(1, 0), *limits)]
)
def test_limits_out_of_order_raise(limit, limits):
    with pytest.raises(ValueError, match="depth limits"):
        limit(np.ones((1, 1), np.float32), *limits)


@unhurried
@given(
    scales,
    st.lists(st.floats(0.01, 10), min_size=2, max_size=50).filter(lambda values: np.ptp(values) > 0.01),
)
def test_fit_scale_recovers_exact_scale(scale, predictions):
    inverse_depth = np.array(predictions)
    inverse = scale.a * inverse_depth + scale.b
    depth = np.where(inverse > 1e-6, 1 / np.maximum(inverse, 1e-6), np.nan)  # behind infinity: no reference there
    used = np.isfinite(depth)
    if used.sum() < 2 or np.ptp(inverse_depth[used]) < 0.01:
        return
    fitted = fit_scale(inverse_depth, depth)
    assert fitted.a == pytest.approx(scale.a, rel=1e-6)
    assert fitted.b == pytest.approx(scale.b, rel=1e-6, abs=1e-6 * (1 + scale.a))


def test_fit_scale_is_least_squares_solution():
    random = np.random.default_rng(5)
    inverse_depth, depth = random.uniform(0.1, 3, (20, 30)), random.uniform(0.5, 20, (20, 30))
    design = np.stack([inverse_depth.ravel(), np.ones(600)], axis=1)
    expected, *_ = np.linalg.lstsq(design, 1 / depth.ravel(), rcond=None)
    fitted = fit_scale(inverse_depth, depth)
    assert (fitted.a, fitted.b) == pytest.approx(tuple(expected))


def test_fit_scale_ignores_masked_and_invalid_pixels():
    inverse_depth = np.array([1.0, 2.0, 3.0, 4.0, np.nan, 5.0, 6.0])
    depth = np.array([1 / 2.5, 1 / 4.5, np.nan, np.inf, 1.0, 0.0, 123.0])
    mask = np.array([True] * 6 + [False])
    fitted = fit_scale(inverse_depth, depth, mask)
    assert (fitted.a, fitted.b) == pytest.approx((2.0, 0.5))


def test_fit_scale_with_too_few_pixels_raises():
    with pytest.raises(ValueError, match="at least 2 pixels"):
        fit_scale(np.array([1.0, 2.0]), np.array([1.0, np.nan]))
    with pytest.raises(ValueError, match="varies"):
        fit_scale(np.full(9, 0.7), np.linspace(1, 2, 9))


@pytest.mark.parametrize("values", [(math.nan, 0.0), (1.0, math.inf)])
def test_non_finite_scale_raises(values):
    with pytest.raises(ValueError, match="finite"):
        Scale(*values)


@unhurried
@given(st_numpy.arrays(np.float32, shapes, elements=any_float32 | st.floats(0, 66, width=32)))
def test_millimeters_are_rounded_or_zero(depth):
    out = np.full(depth.shape, 7, np.uint16)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert depth_to_millimeters(depth, out) is out
    known = (depth > 0) & (depth <= np.float32(65.535))
    assert np.all(out[~known] == 0)
    exact = 1000 * depth[known].astype(np.float64)
    assert np.all(np.abs(out[known] - exact) <= 0.5 + 1e-6 * exact)


@pytest.mark.parametrize(
    ("meters", "millimeters"),
    [(65.535, 65535), (65.5351, 0), (66.0, 0), (131.1, 0), (0.0004, 0), (0.0006, 1), (1.2346, 1235), (-1.0, 0)],
)
def test_millimeters_at_range_limits(meters, millimeters):
    assert depth_to_millimeters(np.full((1, 1), meters, np.float32), np.empty((1, 1), np.uint16)) == millimeters


def test_millimeters_of_large_strided_map_are_exact():
    depth = np.random.default_rng(2).uniform(0.1, 60, (150, 160)).astype(np.float32)
    out = np.zeros((150, 100), np.uint16)
    depth_to_millimeters(depth[:, ::2], out[:, :80])
    assert np.array_equal(out[:, :80], np.rint(depth[:, ::2] * np.float32(1000)))
    assert np.all(out[:, 80:] == 0)


@pytest.mark.parametrize("out", [np.empty((3, 4), np.uint16), np.empty((4, 3), np.int16)])
def test_millimeters_into_wrong_array_raise(out):
    with pytest.raises(ValueError, match="must be uint16"):
        depth_to_millimeters(np.ones((4, 3), np.float32), out)
