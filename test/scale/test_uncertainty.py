"""The error of each pixel: what the scale and the network do not know, near the references, far from them, at edges."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from scale_scenes import HEIGHT, WIDTH, A, B, observe

from depth_anything_ros.scale.fit import ScaleFit, fit
from depth_anything_ros.scale.fit_problem import Prior
from depth_anything_ros.scale.kinds import KINDS, log_depth
from depth_anything_ros.scale.scale_state import ScaleState
from depth_anything_ros.scale.shape import LocalError, LocalField
from depth_anything_ros.scale.uncertainty import depth_sigma

INVERSE = KINDS["inverse_affine"]
COVARIANCE = np.array([[0.01, -0.002], [-0.002, 0.001]])


def state_of(log_a: float, b: float, covariance: np.ndarray, common_sigma: float = 0.0) -> ScaleState:
    return ScaleState(log_a, b, covariance, common_sigma, 0.6, 0.0, 0.0, "lidar")


def slope() -> np.ndarray:
    """Return an output of a network without edges, float32 (H, W)."""
    return np.linspace(0.3, 0.9, WIDTH, dtype=np.float32) * np.ones((HEIGHT, 1), np.float32)


def corner(value: float) -> np.ndarray:
    """Return a map of support: a value in the left half, 0 in the right."""
    support = np.zeros((HEIGHT // 4, WIDTH // 4), np.float32)
    support[:, : WIDTH // 8] = value
    return support


@pytest.mark.parametrize(("name", "b"), [("inverse_affine", 0.05), ("depth_affine", 0.3), ("depth_scale", 0.0)])
def test_sigma_is_what_random_scales_give(name: str, b: float) -> None:
    kind, rng = KINDS[name], np.random.default_rng(0)
    covariance = COVARIANCE if kind.has_shift else np.diag([0.01, 0.0])
    output = slope()
    depth = np.exp(log_depth(kind, output, np.log(A), b)).astype(np.float32)
    sigma = depth_sigma(depth, kind, state_of(np.log(A), b, covariance), 0.0)
    draws = rng.multivariate_normal([np.log(A), b], covariance, 4000)
    columns = slice(0, WIDTH, 80)
    spread = np.std([log_depth(kind, output[0, columns], log_a, shift) for log_a, shift in draws], axis=0)
    assert np.allclose(sigma[0, columns] / depth[0, columns], spread, rtol=0.15)


def test_unknown_depth_has_no_sigma() -> None:
    depth = slope()
    depth[:20], depth[20:40] = np.nan, np.inf
    out = np.empty_like(depth)
    sigma = depth_sigma(depth, INVERSE, state_of(0.0, 0.0, COVARIANCE), 0.1, out)
    assert sigma is out
    assert np.isnan(sigma[:20]).all()
    assert np.isinf(sigma[20:40]).all()
    assert np.isfinite(sigma[40:]).all()


def test_local_correction_replaces_scale_error_near_references_but_not_the_common_error() -> None:
    depth = slope()
    local = LocalError(corner(1.0), near=0.02, far=0.2)
    for common in (0.0, 0.08):
        state = state_of(np.log(A), B, COVARIANCE, common)
        relative = depth_sigma(depth, INVERSE, state, 0.1, local=local) / depth
        plain = depth_sigma(depth, INVERSE, state, 0.2) / depth
        assert np.allclose(relative[:, 20:300], np.hypot(0.02, common), atol=0.005)
        assert np.allclose(relative[:, 340:], plain[:, 340:], rtol=1e-3)


def test_support_of_an_earlier_frame_fades() -> None:
    depth, state = slope(), state_of(np.log(A), B, COVARIANCE)
    local = LocalError(corner(1.0), near=0.02, far=0.2)
    sigmas = [depth_sigma(depth, INVERSE, state, 0.2, local=local.faded(weight))[0, 100] for weight in (1, 0.5, 0)]
    assert sigmas[0] < sigmas[1] < sigmas[2]
    assert sigmas[2] == pytest.approx(depth_sigma(depth, INVERSE, state, 0.2)[0, 100])


def test_edge_is_less_certain_than_the_surfaces_beside_it() -> None:
    depth = np.full((HEIGHT, WIDTH), 2.0, np.float32)
    depth[:, 320:] = 4.0
    sigma = depth_sigma(depth, INVERSE, state_of(0.0, 0.0, 1e-4 * np.eye(2)), 0.05)
    assert sigma[240, 318] > 4 * sigma[240, 200]
    assert sigma[240, 322] > 4 * sigma[240, 500]


@pytest.mark.parametrize("size", [(480, 640), (37, 53), (720, 1280)])
def test_sigma_has_the_size_of_the_depth(size: tuple[int, int]) -> None:
    pixels = np.stack(np.meshgrid(np.linspace(0, size[1] - 1, 8), np.linspace(0, size[0] - 1, 8)), -1).reshape(-1, 2)
    error = LocalField(size, pixels, np.full(64, 0.5), np.full(64, 0.1)).error()
    sigma = depth_sigma(np.full(size, 2, np.float32), INVERSE, state_of(0.0, 0.0, COVARIANCE), 0.1, local=error)
    assert sigma.shape == size
    assert np.isfinite(sigma).all()


@pytest.mark.parametrize(("count", "lowest"), [(40, 0.3), (150, 0.1), (500, 0.05)])
def test_sigma_is_honest_about_a_smooth_error(count: int, lowest: float) -> None:
    """A network whose layout is bent by 10 %: pixels closer to references are better, and sigma says so.

    Sigma is cautious for many references, because other networks err over shorter distances.
    """
    squared, nearer = [], []
    for seed in range(6):
        rng = np.random.default_rng(seed)
        bend = cv2.resize(
            rng.standard_normal((5, 7)).astype(np.float32), (WIDTH, HEIGHT), interpolation=cv2.INTER_CUBIC
        )
        output = slope()
        truth = np.exp(log_depth(INVERSE, output, np.log(A), B) + 0.1 * bend)
        known = observe(truth, count, seed)
        found = fit(INVERSE, output, known, Prior())
        assert isinstance(found, ScaleFit)
        log_z = log_depth(INVERSE, output, found.log_a, found.b).astype(np.float32)
        at = log_depth(INVERSE, found.outputs[found.plausible], found.log_a, found.b)
        field = LocalField(truth.shape, known.pixels[found.plausible], at, found.residuals[found.plausible])
        depth = np.exp(log_z + cv2.resize(field.correction(np.ascontiguousarray(log_z[::4, ::4])), (WIDTH, HEIGHT)))
        state = state_of(found.log_a, found.b, found.covariance)
        relative = depth_sigma(depth, INVERSE, state, found.spread, local=field.error()) / depth
        error = np.abs(np.log(depth / truth))
        squared.append(np.mean((error / relative) ** 2))
        middle = np.median(relative)
        nearer.append(error[relative < middle].mean() / error[relative > middle].mean())
    assert lowest < np.mean(squared) < 1.5
    assert np.mean(nearer) < 0.8
