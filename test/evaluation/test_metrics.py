"""Metrics and alignment against literal definitions with plain loops."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from depth_anything_ros.evaluation.alignment import align, as_inverse_depth, fit_inverse_depth
from depth_anything_ros.evaluation.metrics import Scores, score_depth

DEPTHS = st.lists(st.tuples(st.floats(0.05, 80), st.floats(0.05, 80)), min_size=1, max_size=30)


def literal_scores(predicted: list[float], true: list[float]) -> dict[str, float]:
    count = len(true)
    pairs = list(zip(predicted, true, strict=True))
    ratios = [max(p / z, z / p) for p, z in pairs]
    logs = [math.log(p) - math.log(z) for p, z in pairs]
    return {
        "abs_rel": sum(abs(p - z) / z for p, z in pairs) / count,
        "sq_rel": sum((p - z) ** 2 / z for p, z in pairs) / count,
        "rmse": math.sqrt(sum((p - z) ** 2 for p, z in pairs) / count),
        "rmse_log": math.sqrt(sum(g * g for g in logs) / count),
        "log10": sum(abs(math.log10(p) - math.log10(z)) for p, z in pairs) / count,
        "delta1": sum(r < 1.25 for r in ratios) / count,
        "delta2": sum(r < 1.25**2 for r in ratios) / count,
        "delta3": sum(r < 1.25**3 for r in ratios) / count,
        "silog": 100 * math.sqrt(max(sum(g * g for g in logs) / count - (sum(logs) / count) ** 2, 0)),
        "mae": sum(abs(p - z) for p, z in pairs) / count,
        "irmse": 1000 * math.sqrt(sum((1 / p - 1 / z) ** 2 for p, z in pairs) / count),
    }


@given(DEPTHS)
@settings(deadline=None)
def test_scores_match_their_definitions(pairs):
    predicted, true = (list(values) for values in zip(*pairs, strict=True))
    scores = score_depth(np.array(predicted), np.array(true))
    literal = literal_scores(predicted, true)
    assert tuple(literal) == Scores.names()
    for name, expected in literal.items():
        # SILog takes the root of a difference of nearly equal numbers.
        assert getattr(scores, name) == pytest.approx(expected, rel=1e-9, abs=1e-4 if name == "silog" else 1e-9), name


def test_perfect_depth_has_perfect_scores():
    depth = np.linspace(0.5, 30, 100)
    scores = score_depth(depth, depth)
    assert (scores.abs_rel, scores.sq_rel, scores.rmse, scores.rmse_log, scores.log10, scores.silog) == (0,) * 6
    assert (scores.delta1, scores.delta2, scores.delta3) == (1, 1, 1)


def test_scores_of_two_pixels_match_manual_values():
    # One pixel twice too far, one right: values worked out on paper.
    scores = score_depth(np.array([2.0, 4.0]), np.array([1.0, 4.0]))
    assert scores.abs_rel == pytest.approx(0.5)
    assert scores.sq_rel == pytest.approx(0.5)
    assert scores.rmse == pytest.approx(math.sqrt(0.5))
    assert scores.log10 == pytest.approx(math.log10(2) / 2)
    assert (scores.delta1, scores.delta2, scores.delta3) == (0.5, 0.5, 0.5)
    assert scores.silog == pytest.approx(100 * math.log(2) / 2)


@given(DEPTHS, st.floats(0.1, 10))
@settings(deadline=None)
def test_silog_ignores_common_factor(pairs, factor):
    predicted, true = (np.array(values) for values in zip(*pairs, strict=True))
    assert score_depth(predicted * factor, true).silog == pytest.approx(score_depth(predicted, true).silog, abs=1e-4)


@pytest.mark.parametrize("bad", [0.0, -1.0, np.nan, np.inf])
def test_non_positive_or_non_finite_depth_raises(bad):
    with pytest.raises(ValueError, match="predicted depth must be positive and finite"):
        score_depth(np.array([1.0, bad]), np.array([1.0, 1.0]))
    with pytest.raises(ValueError, match="true depth must be positive and finite"):
        score_depth(np.array([1.0, 1.0]), np.array([1.0, bad]))


def test_empty_depth_raises():
    with pytest.raises(ValueError, match="the same nonzero size"):
        score_depth(np.array([]), np.array([]))
    with pytest.raises(ValueError, match="no scores to average"):
        Scores.mean([])


def test_mean_weights_every_item_equally():
    near = score_depth(np.array([1.1] * 1000), np.array([1.0] * 1000))
    far = score_depth(np.array([3.0]), np.array([1.0]))
    mean = Scores.mean([near, far])
    assert mean.abs_rel == pytest.approx((0.1 + 2.0) / 2)
    assert mean.delta1 == 0.5


@given(st.floats(1e-3, 1e3), st.floats(-5, 5), st.integers(0, 2**32 - 1))
@settings(deadline=None, max_examples=50)
def test_alignment_inverts_affine_change_of_inverse_depth(scale, shift, seed):
    depth = np.random.default_rng(seed).uniform(0.5, 20, (12, 16))
    changed = (1 / depth - shift) / scale
    fitted = fit_inverse_depth(changed.ravel(), depth.ravel())
    assert fitted.a == pytest.approx(scale, rel=1e-6)
    assert fitted.b == pytest.approx(shift, rel=1e-6, abs=1e-6)
    np.testing.assert_allclose(align(changed, depth, np.ones(depth.shape, bool)), depth, rtol=1e-6)


def test_fit_is_least_squares_solution():
    random = np.random.default_rng(5)
    predicted, depth = random.normal(size=500), random.uniform(1, 30, 500)
    design = np.stack([predicted, np.ones(500)], axis=1)
    (slope, offset), *_ = np.linalg.lstsq(design, 1 / depth, rcond=None)
    fitted = fit_inverse_depth(predicted, depth)
    assert fitted.a == pytest.approx(slope, rel=1e-9)
    assert fitted.b == pytest.approx(offset, rel=1e-9)


def test_constant_is_aligned_to_mean_inverse_depth():
    depth = np.array([1.0, 2.0, 4.0], np.float32)
    fitted = fit_inverse_depth(np.full(3, 7, np.float32), depth)
    assert (fitted.a, fitted.b) == (0.0, pytest.approx((1 + 0.5 + 0.25) / 3))


def test_align_fits_masked_pixels_and_fills_the_rest():
    depth = np.array([[1.0, 2.0], [4.0, np.nan]], np.float32)
    inverse = np.array([[1.0, 0.5], [0.25, 0.8]])
    mask = np.isfinite(depth)
    np.testing.assert_allclose(align(inverse, depth, mask), [[1, 2], [4, 1 / 0.8]], rtol=1e-6)


def test_negative_inverse_depth_is_limited_to_farthest_true_depth():
    depth = np.array([[1.0, 1.0, 10.0, 10.0]])
    inverse = np.array([[1.0, 1.0, 0.4, -0.2]])
    aligned = align(inverse, depth, np.ones(depth.shape, bool))
    assert aligned.max() == pytest.approx(10.0)
    assert (aligned > 0).all()


def test_meters_become_inverse_depth_and_zero_stays_finite():
    np.testing.assert_allclose(as_inverse_depth(np.array([2.0, 0.0, -1.0]), "depth"), [0.5, 1000, 1000])
    relative = np.array([3.0, 0.0])
    assert as_inverse_depth(relative, "inverse_depth") is relative
    with pytest.raises(ValueError, match="'disparity', must be 'inverse_depth' or 'depth'"):
        as_inverse_depth(relative, "disparity")
