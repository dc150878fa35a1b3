"""The filter of flying pixels: what it removes, what it keeps, and that tiles and scratch arrays do not matter."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from depth_anything_ros.postprocessing import flying_pixels
from depth_anything_ros.postprocessing.flying_pixels import FlyingPixelFilter

SHAPE = (70, 90)
V, U = np.mgrid[: SHAPE[0], : SHAPE[1]].astype(np.float64)
reaches = st.integers(1, 8)
thresholds = st.floats(0.02, 0.3)


def found(inverse_depth: np.ndarray, threshold: float, reach: int) -> np.ndarray:
    """The flying pixels of a map of inverse depth, bool (H, W); beyond 10 km counts as infinite."""
    depth = np.where(inverse_depth > 1e-4, 1 / np.maximum(inverse_depth, 1e-4), np.inf).astype(np.float32)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        result = FlyingPixelFilter()(depth, threshold, reach)
    assert (result.shape, result.dtype) == (depth.shape, np.uint8)
    assert result.max(initial=0) <= 1
    return result.astype(bool)


def planes(steepest: float = 0.05):
    """Inverse depth, 1/meters, of planes up to grazing angles, some with a horizon."""
    slopes = st.floats(-steepest, steepest)
    return st.builds(
        lambda along, down, middle: middle + along * (U - SHAPE[1] / 2) + down * (V - SHAPE[0] / 2),
        *(slopes, slopes, st.floats(0.01, 2)),
    )


planes_with_horizon = planes()
facing_planes = st.builds(lambda plane, least: plane - plane.min() + least, planes(), st.floats(0.01, 1))


@settings(max_examples=60)
@given(planes_with_horizon, thresholds, reaches, st.floats(0, 0.3))
def test_plane_at_any_angle_has_no_flying_pixels(plane, threshold, reach, farthest):
    """With a horizon, and a limit of range beyond which there is nothing."""
    assert not found(plane, threshold, reach).any()
    assert not found(np.where(plane > farthest, plane, 0), threshold, reach).any()


@settings(max_examples=60)
@given(facing_planes, facing_planes, st.booleans(), thresholds, reaches)
def test_crease_has_no_flying_pixels(first, second, is_convex, threshold, reach):
    surfaces = np.maximum(first, second) if is_convex else np.minimum(first, second)
    assert not found(surfaces, threshold, reach).any()


@settings(max_examples=60)
@given(facing_planes, facing_planes, st.integers(0, SHAPE[1]), st.booleans(), thresholds, reaches)
def test_sharp_step_has_no_flying_pixels(first, second, edge, is_horizontal, threshold, reach):
    stepped = np.where((V if is_horizontal else U) < edge, first, second)
    assert not found(stepped, threshold, reach).any()


@settings(max_examples=60)
@given(
    st.integers(1, 30),
    st.integers(0, SHAPE[1]),
    st.floats(0.3, 2),
    st.just(0) | st.floats(0.01, 0.25),
    thresholds,
    reaches,
)
def test_narrow_object_has_no_flying_pixels(width, left, near, far, threshold, reach):
    inside = (left + width > U) & (left <= U)
    assert not found(np.where(inside, near, far), threshold, reach).any()
    assert not found(np.where(inside, far, near), threshold, reach).any()


@settings(max_examples=60)
@given(st.floats(5, 30), st.floats(0.5, 3), st.floats(0.05, 0.3), st.integers(1, 4))
def test_ball_against_sky_has_no_flying_pixels(radius, distance, threshold, reach):
    """Of ``radius`` pixels in a camera of 500 pixels' focal length."""
    inside = 1 - ((U - 45) ** 2 + (V - 35) ** 2) / radius**2
    depth = distance * (1 - radius / 500 * np.sqrt(np.maximum(inside, 0)))
    assert not found(np.where(inside > 0, 1 / depth, 0), threshold, reach).any()


@settings(max_examples=100)
@given(st.floats(0.05, 2), st.just(0) | st.floats(0.01, 2), st.integers(1, 24), st.booleans(), thresholds, reaches)
def test_blurred_edge_pixels_are_flying(first, second, ramp, is_horizontal, threshold, reach):
    """On ramps of up to three times the reach: just what is farther than the threshold from both surfaces."""
    ramp = min(ramp, 3 * reach)
    across = V if is_horizontal else U
    inverse = first + (second - first) * np.clip((across - 35) / ramp, 0, 1)
    off = np.minimum(np.abs(inverse - first), np.abs(inverse - second))
    sure = np.abs(off - threshold * inverse) > 1e-5  # float32 decides the rest
    assert np.array_equal(found(inverse, threshold, reach)[sure], (off > threshold * inverse)[sure])


def test_smear_between_oblique_walls_is_flying():
    near, far = 0.6 + 0.004 * (U - 45), 0.15 + 0.001 * (V - 35)
    share = np.clip((U - 40) / 6, 0, 1)
    flying = found((1 - share) * far + share * near, 0.05, 3)
    assert flying[:, 42:45].all()
    assert not flying[:, :40].any()
    assert not flying[:, 47:].any()


def test_smear_between_object_and_sky_is_flying():
    inverse = 0.5 * np.clip((U - 40) / 4, 0, 1)
    flying = found(inverse, 0.05, 2)
    assert flying[:, 41:44].all()
    assert not np.delete(flying, [41, 42, 43], axis=1).any()


@settings(max_examples=60)
@given(facing_planes, st.sampled_from([np.nan, -np.inf, 0.0, -1.0]), st.integers(0, 2**32 - 1), thresholds, reaches)
def test_invalid_pixels_are_never_flying_nor_cause_flying(plane, mark, seed, threshold, reach):
    depth = (1 / plane).astype(np.float32)
    depth[np.random.default_rng(seed).random(SHAPE) < 0.3] = mark
    assert not FlyingPixelFilter()(depth, threshold, reach).any()


def reference(depth: np.ndarray, threshold: float, reach: int) -> np.ndarray:
    """The documented criterion, for all pixels at once."""
    span = -(-3 * reach // 2)
    with np.errstate(divide="ignore", invalid="ignore"):
        inverse = np.where(depth > 0, 1 / depth.astype(np.float64), np.nan)
        flying = np.zeros(depth.shape, bool)
        for axis in (0, 1):
            one, last = min(1, depth.shape[axis] - 1), depth.shape[axis] - 1

            def at(index, axis=axis, one=one, last=last):
                """The map at integer pixels along the axis, continued beyond its border."""
                inner = np.clip(index, 0, last)
                ends = [np.take(inverse, [end], axis) for end in (0, one, last, last - one)]
                steps = (inner - index).reshape((-1, 1) if axis == 0 else (1, -1))
                slope = np.where(steps > 0, ends[0] - ends[1], np.where(steps < 0, ends[2] - ends[3], 0))
                return np.take(inverse, inner, axis) + np.abs(steps) * slope

            pixels = np.arange(last + 1)
            far_before, before, behind, far_behind = (at(pixels + steps * span) for steps in (-2, -1, 1, 2))
            lines = 2 * before - far_before, 2 * behind - far_behind
            reached = [(np.minimum(a, b), np.maximum(a, b)) for a, b in zip((before, behind), lines, strict=True)]
            tolerance = threshold * inverse
            for (_, highest), (lowest, _) in (reached, reached[::-1]):
                flying |= (inverse - highest > tolerance) & (lowest - inverse > tolerance)
    return flying


@settings(max_examples=60)
@given(st.integers(1, 80), st.integers(1, 60), reaches, st.integers(1, 4000), st.integers(0, 2**32 - 1))
def test_filter_matches_reference_implementation(height, width, reach, band_pixels, seed):
    random = np.random.default_rng(seed)
    depth = (1 / np.abs(np.cumsum(random.normal(0, 0.05, (height, width)), axis=1) + 0.5)).astype(np.float32)
    depth[random.random((height, width)) < 0.1] = np.inf
    depth[random.random((height, width)) < 0.05] = np.nan
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(flying_pixels, "_BAND_PIXELS", band_pixels)
        result = FlyingPixelFilter()(depth, 0.05, reach)
    sure = reference(depth, 0.05 + 1e-5, reach) == reference(depth, 0.05 - 1e-5, reach)
    assert np.array_equal(result[sure], reference(depth, 0.05, reach)[sure])


def test_filter_is_reusable_for_changing_size_and_reach():
    filtering = FlyingPixelFilter()
    random = np.random.default_rng(8)
    for height, width, reach in ((40, 60, 2), (40, 60, 5), (33, 21, 1), (40, 60, 2), (90, 10, 3)):
        depth = random.uniform(0.5, 5, (height, width)).astype(np.float32)
        assert np.array_equal(filtering(depth, 0.1, reach), FlyingPixelFilter()(depth, 0.1, reach))


def test_strided_map_gives_equal_result():
    depth = np.random.default_rng(9).uniform(0.5, 5, (50, 80)).astype(np.float32)
    expected = FlyingPixelFilter()(np.ascontiguousarray(depth[::2, ::2]), 0.05, 2)
    assert expected.any()
    assert np.array_equal(FlyingPixelFilter()(depth[::2, ::2], 0.05, 2), expected)


@pytest.mark.parametrize(("threshold", "reach"), [(-0.1, 1), (np.nan, 1), (0.1, 0)])
def test_filter_settings_out_of_range_raise(threshold, reach):
    with pytest.raises(ValueError, match="threshold is"):
        FlyingPixelFilter()(np.ones((4, 4), np.float32), threshold, reach)
