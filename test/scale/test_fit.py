"""The robust fit: its bias and honesty under noise and outliers, the minimum of points, and its refusals."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scale_scenes import HEIGHT, WIDTH, A, B, observe, scene

from depth_anything_ros.scale.fit import Refusal, ScaleFit, fit
from depth_anything_ros.scale.fit_problem import Prior
from depth_anything_ros.scale.kinds import KINDS
from depth_anything_ros.scale.references import references, sample

INVERSE = KINDS["inverse_affine"]
RUNS = 40


def fits(count: int, outliers: float, error: float = 0.08) -> list[ScaleFit]:
    """Return the fits of many scenes that are not refused."""
    results = []
    for seed in range(RUNS):
        output, depth = scene(seed, error)
        results.append(fit(INVERSE, output, observe(depth, count, seed, outliers), Prior()))
    return [result for result in results if isinstance(result, ScaleFit)]


def errors(results: list[ScaleFit]) -> np.ndarray:
    return np.array([[result.log_a - math.log(A), result.b - B] for result in results])


@pytest.mark.parametrize(
    ("count", "outliers", "bound"),
    [(10, 0.0, 0.08), (30, 0.0, 0.05), (30, 0.3, 0.06), (150, 0.3, 0.04), (150, 0.6, 0.06), (1000, 0.6, 0.04)],
)
def test_fit_error_stays_small_with_outliers(count: int, outliers: float, bound: float) -> None:
    results = fits(count, outliers)
    assert len(results) > 0.8 * RUNS
    assert np.median(np.abs(errors(results)[:, 0])) < bound


@pytest.mark.parametrize(
    ("count", "outliers"),
    [(5, 0.0), (10, 0.3), (30, 0.0), (30, 0.3), (30, 0.6), (150, 0.0), (150, 0.3), (150, 0.6), (1000, 0.3)],
)
def test_covariance_is_honest(count: int, outliers: float) -> None:
    """Normalized squared error between 0.5 and 2, also where the network's errors are alike over whole objects."""
    results = fits(count, outliers)
    squared = [
        error @ np.linalg.inv(result.covariance) @ error / 2
        for error, result in zip(errors(results), results, strict=True)
    ]
    assert 0.5 < np.mean(squared) < 2


def test_exact_references_give_exact_scale() -> None:
    output, depth = scene(0, error=0.0)
    result = fit(INVERSE, output, observe(depth, 300, 0, noise=1e-6), Prior(b_sigma=10.0))
    assert isinstance(result, ScaleFit)
    assert result.scale.a == pytest.approx(A, rel=1e-3)
    assert result.b == pytest.approx(B, abs=1e-3)
    assert result.inliers.mean() > 0.9  # others lie on an edge, where the map says the nearer surface


@pytest.mark.parametrize(
    ("name", "a", "b"), [("depth_scale", 3.0, 0.0), ("depth_affine", 3.0, 0.4), ("metric", 1.2, 0.0)]
)
def test_each_kind_of_model_is_fitted(name: str, a: float, b: float) -> None:
    output, _ = scene(1)
    result = fit(KINDS[name], output, observe(a * output + b, 300, 1), Prior(b_sigma=1.0))
    assert isinstance(result, ScaleFit)
    assert (result.scale.a, result.scale.b) == (pytest.approx(a, rel=0.02), pytest.approx(b, abs=0.03))


def test_one_reference_gives_scale_with_the_prior_shift() -> None:
    output, depth = scene(2, error=0.0)
    result = fit(INVERSE, output, observe(depth, 1, 2), Prior(b=B, b_sigma=0.01))
    assert isinstance(result, ScaleFit)
    assert abs(result.log_a - math.log(A)) < 3 * math.sqrt(result.covariance[0, 0])


def test_fronto_parallel_plane_keeps_the_prior_shift_and_says_so() -> None:
    output = np.full((HEIGHT, WIDTH), 0.5, np.float32)
    depth = np.full((HEIGHT, WIDTH), 1 / (A * 0.5 + B))
    result = fit(INVERSE, output, observe(depth, 300, 3), Prior(b=0.0, b_sigma=0.1))
    assert isinstance(result, ScaleFit)
    assert result.covariance[1, 1] == pytest.approx(0.1**2, rel=0.1)  # nothing was learned about b
    assert 1 / (math.exp(result.log_a) * 0.5 + result.b) == pytest.approx(depth[0, 0], rel=0.02)


def test_bound_pushes_only_nearer_depth_away() -> None:
    output, depth = scene(4, error=0.0)
    known = observe(depth, 100, 4)
    far = references(known.pixels, known.depth * 0.5, 0.01, is_bound=True)
    both = references(
        np.concatenate([known.pixels, far.pixels]),
        np.concatenate([known.depth, far.depth]),
        0.01,
        np.concatenate([known.is_bound, far.is_bound]),
    )
    alone, bounded = fit(INVERSE, output, known, Prior()), fit(INVERSE, output, both, Prior())
    assert isinstance(alone, ScaleFit)
    assert isinstance(bounded, ScaleFit)
    assert bounded.log_a == pytest.approx(alone.log_a, abs=0.01)
    assert isinstance(fit(INVERSE, output, far, Prior()), Refusal)


def test_references_of_another_scene_are_refused() -> None:
    output, _ = scene(5)
    _, other = scene(6)
    rng = np.random.default_rng(5)
    shuffled = other * np.exp(rng.uniform(-2, 2, other.shape))
    result = fit(INVERSE, output, observe(shuffled, 200, 5), Prior())
    assert isinstance(result, Refusal)
    assert "%" in result.reason


def test_references_outside_the_map_are_refused() -> None:
    output, _ = scene(7)
    result = fit(INVERSE, output, references([[-50, 10], [10_000, 10]], [1.0, 2.0]), Prior())
    assert result == Refusal("no reference is on a pixel with depth")


def test_common_error_of_a_source_is_kept_apart() -> None:
    output, depth = scene(8)
    known = observe(depth, 100, 8)
    shared = references(known.pixels, known.depth, 0.01, common_sigma=0.1)
    result, plain = fit(INVERSE, output, shared, Prior()), fit(INVERSE, output, known, Prior())
    assert isinstance(result, ScaleFit)
    assert isinstance(plain, ScaleFit)
    assert result.common_sigma == 0.1
    assert np.allclose(result.covariance, plain.covariance)


def test_sample_takes_the_nearest_surface_around_a_point() -> None:
    values = np.array([[1, 2], [3, 4]], np.float32)
    assert sample(values, np.array([[0.4, 0.4], [0.0, 1.0]]), True).tolist() == [4, 3]
    assert sample(values, np.array([[0.4, 0.4]]), False).tolist() == [1]
    assert math.isnan(sample(values, np.array([[5.0, 0.0]]), True)[0])


def test_reference_without_depth_in_the_fit_adds_no_certainty() -> None:
    """With b < 0 a far pixel has a x + b <= 0; its derivative must not pin the fit."""
    rng = np.random.default_rng(0)
    output = (0.2 + 0.6 * rng.random((HEIGHT // 40, WIDTH // 40))).repeat(40, 0).repeat(40, 1).astype(np.float32)
    known = observe(1 / (A * output - 0.05), 150, 0)
    output[:4, :4] = 0.0
    far = references([[1.0, 1.0]], [50.0], 0.01)
    both = references(np.concatenate([known.pixels, far.pixels]), np.concatenate([known.depth, far.depth]), 0.01)
    alone, more = fit(INVERSE, output, known, Prior()), fit(INVERSE, output, both, Prior())
    assert isinstance(alone, ScaleFit)
    assert isinstance(more, ScaleFit)
    assert more.b == pytest.approx(alone.b, abs=0.01)
    assert more.covariance[1, 1] > 0.5 * alone.covariance[1, 1]
    assert not more.inliers[-1]


def test_references_on_one_object_claim_no_more_than_its_error() -> None:
    output, depth = scene(3)
    rng = np.random.default_rng(3)
    pixels = np.stack([rng.integers(85, 115, 100), rng.integers(85, 115, 100)], axis=1)
    result = fit(INVERSE, output, references(pixels, depth[pixels[:, 1], pixels[:, 0]], 0.01), Prior())
    assert isinstance(result, ScaleFit)
    assert result.blocks <= 4
    assert math.sqrt(result.covariance[0, 0]) > 0.02
