"""The cloud leaves out points whose depth is not sure enough; everything else keeps them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from depth_anything_ros.geometry.camera import Camera
from depth_anything_ros.postprocessing.depth_products import DepthBuffers, DepthProducts, DepthSettings
from depth_anything_ros.postprocessing.meters import Scale

HEIGHT, WIDTH = 6, 8
CAMERA = Camera(WIDTH, HEIGHT, 8.0, 8.0, 3.5, 2.5)
SETTINGS = DepthSettings("inverse_affine", 0.0, 100.0, Scale(1.0, 0.0), colored=False, max_sigma=0.2)


def write_sigma(depth: np.ndarray, out: np.ndarray) -> None:
    """A tenth of depth on the left, three tenths on the right."""
    out[:, :4], out[:, 4:] = 0.1 * depth[:, :4], 0.3 * depth[:, 4:]


def derive(settings: DepthSettings, values: np.ndarray, **outputs: np.ndarray) -> np.ndarray:
    """Fill the outputs, and return z of the cloud, NaN for points that are left out."""
    products, stride = DepthProducts(), settings.stride
    shape = -(-HEIGHT // stride), -(-WIDTH // stride)
    points = np.full(shape[0] * shape[1] * 12, 255, np.uint8)
    buffers = DepthBuffers(points=points, **outputs)
    buffer = products.output_buffer(buffers, (HEIGHT, WIDTH), predicts_depth=False)
    buffer[:] = values
    rgb = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    products.derive(buffer, rgb, CAMERA, None, 1, settings, buffers)
    return points.view(np.float32).reshape(*shape, 3)[..., 2]


@pytest.mark.parametrize("stride", [1, 3])
@pytest.mark.parametrize("threshold", [0.0, 0.05])
@pytest.mark.parametrize("has_sigma", [True, False])
def test_uncertain_points_are_not_in_the_cloud(stride: int, threshold: float, has_sigma: bool) -> None:
    values = np.full((HEIGHT, WIDTH), 0.5, np.float32)
    depth, sigma = np.zeros_like(values), np.zeros_like(values)
    settings = replace(SETTINGS, write_sigma=write_sigma, stride=stride, flying_threshold=threshold)
    z = derive(settings, values, depth=depth, **({"sigma": sigma} if has_sigma else {}))
    expected = np.where(np.arange(WIDTH) < 4, 2.0, np.nan)[::stride]
    np.testing.assert_array_equal(z, np.broadcast_to(expected, z.shape))
    assert np.all(depth == 2.0)
    if has_sigma:
        np.testing.assert_allclose(sigma[0], [0.2] * 4 + [0.6] * 4, rtol=1e-6)


def test_points_without_a_known_error_stay() -> None:
    z = derive(SETTINGS, np.full((HEIGHT, WIDTH), 0.5, np.float32))
    assert np.all(z == 2.0)


def test_depth_that_is_not_finite_has_no_point_and_warns_of_nothing() -> None:
    values = np.full((HEIGHT, WIDTH), 0.5, np.float32)
    values[0], values[1] = np.nan, 0.0
    z = derive(replace(SETTINGS, write_sigma=write_sigma), values)
    assert np.all(np.isnan(z[:2]))
    assert np.all(z[2:, :4] == 2.0)
