"""RGB views of images and the pixels behind them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from depth_anything_ros.images.pixel_layout import TO_BGRA, TO_RGB, as_rgb, convert, stored
from depth_anything_ros.images.resizing import resize_image
from depth_anything_ros.postprocessing.point_cloud import POINT_STEP, finite_points, write_point_cloud

CHANNELS = {"gray": 1, "rgb": 3, "bgr": 3, "rgba": 4, "bgra": 4}


def pixels_of(order: str, height: int, width: int, padding: int = 0, seed: int = 0) -> np.ndarray:
    """Pixels in that order, with that many padding pixels after each row."""
    shape = (height, width + padding) if order == "gray" else (height, width + padding, CHANNELS[order])
    return np.random.default_rng(seed).integers(0, 256, shape, np.uint8)[:, :width]


@pytest.mark.parametrize("order", CHANNELS)
@settings(deadline=None, max_examples=30)
@given(height=st.integers(2, 9), width=st.integers(2, 9), padding=st.integers(0, 3))
def test_stored_layout_is_detected_and_converted(order, height, width, padding):
    pixels = pixels_of(order, height, width, padding)
    rgb = as_rgb(pixels, order)
    assert rgb.shape == (height, width, 3)
    assert np.shares_memory(rgb, pixels)
    found = stored(rgb)
    assert found.order == order
    assert np.shares_memory(found.pixels, pixels)
    assert np.array_equal(found.pixels, pixels)
    out = np.empty((height, width, 3), np.uint8)
    convert(found, TO_RGB, out)
    assert np.array_equal(out, rgb)
    four = np.empty((height, width, 4), np.uint8)
    convert(found, TO_BGRA, four)
    assert np.array_equal(four[..., 2::-1], rgb)


@pytest.mark.parametrize("order", CHANNELS)
def test_other_views_are_copied(order):
    rgb = as_rgb(pixels_of(order, 6, 8), order)
    for view in (rgb[::-1], rgb[:, ::-1], rgb[:, ::2], rgb.transpose(1, 0, 2), rgb[:1], rgb[:, :1], rgb[:1, :1]):
        found = stored(view)
        assert np.array_equal(as_rgb(*found), view)


def test_argb_view_reads_nothing_after_last_pixel():
    """Of ARGB seen from its second byte on, a fourth byte of the last pixel would lie outside."""
    argb = pixels_of("rgba", 5, 6)
    found = stored(argb[..., 1:])
    assert found.order == "rgb"
    assert np.array_equal(found.pixels, argb[..., 1:])
    assert stored(argb[:-1, :, 1:]).order == "rgba"


@pytest.mark.parametrize("size", [(40, 56), (17, 23), (80, 112), (160, 230)])
@pytest.mark.parametrize("order", CHANNELS)
def test_resize_of_strided_image_equals_packed(order, size):
    rgb = as_rgb(pixels_of(order, 80, 112, padding=3), order)
    out, expected = np.empty((*size, 3), np.uint8), np.empty((*size, 3), np.uint8)
    resize_image(np.ascontiguousarray(rgb), expected)
    for halves in ([], [np.empty((1, 1, 3), np.uint8)]):
        resize_image(rgb, out, halves)
        assert np.array_equal(out, expected)


@pytest.mark.parametrize("order", CHANNELS)
def test_cloud_has_colors_of_image(order):
    rgb = as_rgb(pixels_of(order, 6, 8), order)
    cloud = np.empty(6 * 8 * POINT_STEP, np.uint8)
    write_point_cloud(np.ones((6, 8), np.float32), np.zeros(8, np.float32), np.zeros(6, np.float32), rgb, cloud)
    assert np.array_equal(finite_points(cloud)[1], rgb.reshape(-1, 3))
    assert not cloud.reshape(-1, POINT_STEP)[:, 15].any()
