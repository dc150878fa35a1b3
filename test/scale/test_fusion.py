"""A measurement joined with the scale so far: what it tells counts once, and its prior not at all."""

from __future__ import annotations

import numpy as np
import pytest

from depth_anything_ros.scale.fit import ScaleFit, fit
from depth_anything_ros.scale.fit_problem import Prior
from depth_anything_ros.scale.fusion import Measurement
from depth_anything_ros.scale.kinds import KINDS
from depth_anything_ros.scale.references import references
from depth_anything_ros.scale.scale_state import ScaleState

INVERSE = KINDS["inverse_affine"]
A, B = 0.5, -0.02
SIZE = 120, 160


def test_prior_of_a_fit_does_not_enter_the_state() -> None:
    """Far away, little tells b, and each fit leans on its prior. Frame after frame, that would count as measured."""
    rng = np.random.default_rng(0)
    depth = np.exp(rng.uniform(np.log(6), np.log(20), SIZE))
    output = ((1 / depth - B) / A).astype(np.float32)
    pixels = rng.integers(0, SIZE[::-1], (12, 2)).astype(np.float64)
    known = references(pixels, depth[pixels[:, 1].astype(int), pixels[:, 0].astype(int)])
    nothing = ScaleState(np.log(A), 0.0, np.diag([10.0, 10.0]), 0.0, 0.3, 0.0, 0.0, "")
    fitted = fit(INVERSE, output, known, Prior())
    assert isinstance(fitted, ScaleFit)
    assert fitted.b > 0.97 * B  # it leans
    joined = Measurement(INVERSE, known, fitted, 0.0, determines_b=True).joined(nothing)
    assert joined.b == pytest.approx(B, rel=0.005)
    assert joined.log_a == pytest.approx(np.log(A), abs=0.01)


def test_error_that_all_references_have_is_not_averaged() -> None:
    """A hundred references whose distance traveled is wrong by 5 % tell no more than one."""
    rng = np.random.default_rng(1)
    depth = np.exp(rng.uniform(0, 1.5, SIZE))
    output = ((1 / depth - 0.05) / A).astype(np.float32)
    pixels = rng.integers(0, SIZE[::-1], (100, 2)).astype(np.float64)
    known = references(pixels, depth[pixels[:, 1].astype(int), pixels[:, 0].astype(int)], common_sigma=0.05)
    fitted = fit(INVERSE, output, known, Prior())
    assert isinstance(fitted, ScaleFit)
    before = ScaleState(np.log(A) + 0.1, 0.05 * np.exp(0.1), np.diag([0.05**2, 1e-8]), 0.0, 0.3, 0.0, 0.0, "")
    joined = Measurement(INVERSE, known, fitted, 0.0, determines_b=True).joined(before)
    assert joined.log_a - np.log(A) == pytest.approx(0.05, abs=0.02)
    assert joined.covariance[0, 0] > 0.03**2
