"""Alignment in every space by every method: closed forms, properties, and what must be refused."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import linprog

from depth_anything_ros.evaluation.alignment import align_to, fit_alignment, in_space
from depth_anything_ros.evaluation.fits import affine_robust, scale_robust, weighted_median
from depth_anything_ros.evaluation.metrics import score_depth
from depth_anything_ros.evaluation.protocol import FITS, METHODS, SPACES, Alignment, SetRules

SEEDS = st.integers(0, 2**32 - 1)


def made(seed: int, size: int = 200) -> tuple[np.ndarray, np.ndarray]:
    """A true depth and a noisy prediction of it, (N,)."""
    rng = np.random.default_rng(seed)
    depth = rng.uniform(0.5, 20, size)
    return depth, depth * np.exp(0.1 * rng.standard_normal(size))


def changed(depth: np.ndarray, alignment: Alignment) -> np.ndarray:
    """Depth such that the alignment finds exactly the truth again."""
    if alignment.method == "none":
        return depth
    if alignment.method != "scale_and_shift":
        return depth * 3.7
    if alignment.space == "inverse_depth":
        return 1 / (0.4 / depth + 0.3)
    return 2.5 * depth + 1.5 if alignment.space == "depth" else depth**1.4 * 0.6


@pytest.mark.parametrize(("space", "method", "fit"), list(itertools.product(SPACES, METHODS, FITS)))
@given(SEEDS)
@settings(deadline=None, max_examples=5)
def test_alignment_inverts_the_change_that_it_allows(space, method, fit, seed):
    alignment = Alignment(space, method, fit)
    depth = made(seed)[0].reshape(10, 20)
    mask = np.random.default_rng(seed).random(depth.shape) < 0.7
    mask[0] = True
    aligned = align_to(changed(depth, alignment), "depth", depth, mask, SetRules(alignment, floor=1e-3))
    np.testing.assert_allclose(aligned, depth, rtol=1e-6)


def literal(x: np.ndarray, z: np.ndarray, alignment: Alignment) -> tuple[float, float]:
    """The least-squares solutions by NumPy's general solver."""
    target = {"inverse_depth": 1 / z, "depth": z, "log": np.log(z)}[alignment.space]
    if alignment.method == "median":
        is_log = alignment.space == "log"
        return (1.0, np.median(target - x)) if is_log else (np.median(target) / np.median(x), 0.0)
    if alignment.method == "scale" and alignment.space == "log":
        return 1.0, np.mean(target - x)
    columns = [x] if alignment.method == "scale" else [x, np.ones_like(x)]
    solution = np.linalg.lstsq(np.stack(columns, axis=1), target, rcond=None)[0]
    return solution[0], solution[1] if len(solution) > 1 else 0.0


@pytest.mark.parametrize(("space", "method"), list(itertools.product(SPACES, METHODS[1:])))
@given(SEEDS)
@settings(deadline=None, max_examples=10)
def test_least_squares_equals_general_solver(space, method, seed):
    depth, predicted = made(seed)
    values = in_space(predicted, "depth", space)
    alignment = Alignment(space, method)
    assert fit_alignment(values, depth, alignment) == pytest.approx(literal(values, depth, alignment), rel=1e-8)


@given(st.lists(st.tuples(st.floats(-9, 9), st.floats(0.1, 5)), min_size=1, max_size=12))
@settings(deadline=None)
def test_weighted_median_minimizes_absolute_errors(pairs):
    values, weights = (np.array(part) for part in zip(*pairs, strict=True))
    found = weighted_median(values, weights)
    costs = [weights @ np.abs(values - candidate) for candidate in values]
    assert weights @ np.abs(values - found) == pytest.approx(min(costs), rel=1e-9, abs=1e-9)


@given(SEEDS)
@settings(deadline=None, max_examples=10)
def test_robust_line_is_optimum_of_linear_program(seed):
    """min sum t with -t <= weights (a x + b - y) <= t."""
    depth, predicted = made(seed, 60)
    x, y, weights = 1 / predicted, 1 / depth, depth
    design = weights[:, None] * np.stack([x, np.ones_like(x)], axis=1)
    slack = -np.eye(len(x))
    rows, limits = np.block([[design, slack], [-design, slack]]), np.concatenate([weights * y, -weights * y])
    cost = np.concatenate([[0, 0], np.ones(len(x))])
    bounds = [(None, None)] * 2 + [(0, None)] * len(x)
    optimum = linprog(cost, A_ub=rows, b_ub=limits, bounds=bounds).fun
    a, b = affine_robust(x, y, weights)
    assert float(weights @ np.abs(a * x + b - y)) == pytest.approx(optimum, rel=1e-3)


def test_robust_fits_ignore_a_third_of_outliers():
    depth = np.linspace(1, 10, 300)
    wrong = np.where(np.arange(300) % 3 == 0, 60.0, depth)
    assert scale_robust(depth / 2, wrong, 1 / wrong) == pytest.approx(2)
    inverse = 0.5 / depth + 0.1
    assert affine_robust(inverse, 1 / wrong, np.ones(300)) == pytest.approx((2, -0.2), abs=1e-3)
    mask, robust = np.ones((1, 300), bool), Alignment("inverse_depth", "scale_and_shift", "robust")
    for alignment, most in ((robust, 1e-2), (Alignment(), None)):
        rules = SetRules(alignment, floor=1e-3)
        aligned = align_to(inverse[None], "inverse_depth", wrong[None], mask, rules)[0]
        error = score_depth(aligned[wrong < 60], depth[wrong < 60]).abs_rel
        assert error < most if most else error > 0.1  # least squares follow the outliers


@pytest.mark.parametrize("space", ["depth", "log"])
def test_inverse_depth_is_not_aligned_in_another_space(space):
    """The mistake of a peer's tool: a perfect relative prediction, fitted as if it were depth, scores badly."""
    depth = made(1)[0].reshape(10, 20)
    mask, perfect = np.ones(depth.shape, bool), 3 / depth + 0.5
    rules = SetRules(Alignment(space, "scale_and_shift"))
    with pytest.raises(ValueError, match=f"unknown scale and shift, so it cannot be aligned in {space}"):
        align_to(perfect, "inverse_depth", depth, mask, rules)
    right = align_to(perfect, "inverse_depth", depth, mask, SetRules())
    assert score_depth(right[mask], depth[mask]).abs_rel < 1e-9
    mistaken = align_to(perfect, "depth", depth, mask, rules)  # declared as what it is not
    assert score_depth(mistaken[mask], depth[mask]).abs_rel > 0.1


def test_floor_and_clip_limit_depth():
    depth = np.array([[1.0, 2.0, 8.0, 10.0]])
    inverse, mask = np.array([[1.0, 0.5, 0.125, -0.2]]), np.ones((1, 4), bool)
    assert align_to(inverse, "inverse_depth", depth, mask, SetRules()).max() == pytest.approx(10)
    by_number = SetRules(floor=0.02)
    assert align_to(inverse, "inverse_depth", depth, mask, by_number).max() == pytest.approx(50)
    clipped = SetRules(floor=1e-3, clip=True, min_depth=1.5, max_depth=9.0)
    aligned = align_to(inverse, "inverse_depth", depth, mask, clipped)
    assert (aligned.min(), aligned.max()) == (1.5, 9.0)


def test_unusable_predictions_are_refused():
    zeros, depth = np.zeros(4), np.ones(4)
    with pytest.raises(ValueError, match="zero everywhere, so it has no scale"):
        fit_alignment(zeros, depth, Alignment("inverse_depth", "scale"))
    with pytest.raises(ValueError, match="zero everywhere, so it has no scale"):
        fit_alignment(zeros, depth, Alignment("inverse_depth", "scale", "robust"))
    with pytest.raises(ValueError, match="median of the prediction is zero"):
        fit_alignment(zeros, depth, Alignment("inverse_depth", "median"))
    with pytest.raises(ValueError, match=r"alignment\.space is 'disparity', must be inverse_depth, depth or log"):
        Alignment("disparity")
