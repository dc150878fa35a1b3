"""The local correction: it follows the references, fades away from them, and invents nothing."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from depth_anything_ros.scale.shape import LocalField

SIZE = (240, 320)


def field(residual, count: int = 400, seed: int = 0, layers: tuple[float, ...] = (0.5,)):
    """Return a field from residuals at random pixels, and the depth map that it belongs to."""
    rng = np.random.default_rng(seed)
    log_depth = np.full(SIZE, layers[0], np.float32)
    if len(layers) > 1:
        log_depth[:, SIZE[1] // 2 :] = layers[1]
    pixels = np.stack([rng.integers(0, SIZE[1], count), rng.integers(0, SIZE[0], count)], axis=1).astype(float)
    at = log_depth[pixels[:, 1].astype(int), pixels[:, 0].astype(int)].astype(float)
    return LocalField(SIZE, pixels, at, residual(pixels)), log_depth


def test_constant_residual_becomes_a_constant_correction() -> None:
    made, log_depth = field(lambda pixels: np.full(len(pixels), 0.2))
    assert np.allclose(made.correction(log_depth), 0.2, atol=0.02)


def test_smooth_residual_is_followed() -> None:
    made, log_depth = field(lambda pixels: 0.3 * np.sin(pixels[:, 0] / 50), count=1000)
    expected = 0.3 * np.sin(np.arange(SIZE[1]) / 50)
    assert np.abs(made.correction(log_depth) - expected)[:, 20:-20].mean() < 0.03


def test_correction_stays_on_its_surface() -> None:
    """Residuals differ between the near and the far side of an edge; the correction does not bleed across."""
    made, log_depth = field(lambda pixels: np.where(pixels[:, 0] < SIZE[1] // 2, 0.2, -0.2), 1000, layers=(0.0, 1.5))
    correction, middle = made.correction(log_depth), SIZE[1] // 2
    assert np.allclose(correction[:, middle - 3], 0.2, atol=0.05)
    assert np.allclose(correction[:, middle + 3], -0.2, atol=0.05)


@settings(max_examples=30)
@given(st.integers(20, 500), st.integers(0, 10_000), st.floats(0.01, 0.5))
def test_correction_never_exceeds_the_residuals_by_much(count: int, seed: int, size: float) -> None:
    rng = np.random.default_rng(seed)
    residuals = rng.uniform(-size, size, count)
    made, log_depth = field(lambda pixels: residuals, count, seed)
    assert np.abs(made.correction(log_depth)).max() < 2.5 * size


def test_unknown_depth_is_no_error() -> None:
    made, log_depth = field(lambda pixels: np.full(len(pixels), 0.1))
    log_depth[:10] = np.nan
    log_depth[10:20] = np.inf
    assert np.isfinite(made.correction(log_depth)).all()


@pytest.mark.parametrize("size", [SIZE, (60, 80), (37, 53)])
def test_correction_has_the_resolution_of_the_depth(size: tuple[int, int]) -> None:
    made, _ = field(lambda pixels: np.full(len(pixels), 0.1))
    assert made.correction(np.full(size, 0.5, np.float32)).shape == size


def test_outlier_among_its_neighbors_is_left_out() -> None:
    """Some references lie behind an edge by 50 %: the correction follows the others."""

    def residual(pixels: np.ndarray) -> np.ndarray:
        behind = np.random.default_rng(1).random(len(pixels)) < 0.15
        return np.where(behind, 0.5, 0.1 * np.sin(pixels[:, 0] / 50))

    made, log_depth = field(residual, count=1000)
    expected = 0.1 * np.sin(np.arange(SIZE[1]) / 50)
    assert np.abs(made.correction(log_depth) - expected)[:, 20:-20].mean() < 0.01
