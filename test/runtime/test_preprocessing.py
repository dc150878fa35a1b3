"""Resizing and normalization: exact where possible, otherwise bounded."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from depth_anything_ros.images.resizing import resize_image, resize_map
from depth_anything_ros.runtime.preprocessing import Preprocessor
from depth_anything_ros.zoo.record import ModelRecord

SIDES = st.integers(1, 90)


@settings(max_examples=60, deadline=None)
@given(SIDES, SIDES, SIDES, SIDES, st.tuples(*[st.integers(0, 255)] * 3))
def test_uniform_image_stays_uniform_at_any_size(height, width, rows, columns, color):
    out = np.empty((rows, columns, 3), np.uint8)
    resize_image(np.full((height, width, 3), color, np.uint8), out)
    assert (out == color).all()


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 9), st.integers(0, 3))
def test_fine_patterns_do_not_alias_when_shrunk(seed, offset):
    """Averaging n noisy pixels must divide their variance by about n; sampling one of them would keep it."""
    image = np.random.default_rng(seed).integers(0, 2, (240 + offset, 320 + offset, 3)).astype(np.uint8) * 255
    out = np.empty((56, 70, 3), np.uint8)
    resize_image(image, out)
    assert out.std() < 0.4 * image.std()


def reference_pixels(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Pixels as in Depth Anything's `image2tensor` before normalization: bicubic on floats, here 0 to 255."""
    return cv2.resize(image / 255.0, size[::-1], interpolation=cv2.INTER_CUBIC) * 255


@pytest.mark.parametrize("size", [(252, 336), (378, 490), (518, 686), (392, 700)])
def test_resize_matches_depth_anything_within_rounding(size):
    image = cv2.GaussianBlur(np.random.default_rng(2).integers(0, 256, (480, 640, 3), dtype=np.uint8), (5, 5), 0)
    out = np.empty((*size, 3), np.uint8)
    resize_image(image, out)
    assert np.abs(out - reference_pixels(image, size).clip(0, 255)).max() <= 1


def test_image_of_network_size_is_unchanged():
    image = np.random.default_rng(0).integers(0, 256, (28, 42, 3), dtype=np.uint8)
    out = np.empty_like(image)
    resize_image(image, out)
    assert np.array_equal(out, image)


def test_shrunk_ramp_stays_centered():
    """Halves must not shift: pixel centers, not corners, are what is aligned."""
    ramp = np.broadcast_to(np.arange(256, dtype=np.uint8)[None, :, None], (64, 256, 3))
    out = np.empty((8, 32, 3), np.uint8)
    resize_image(ramp, out)
    expected = np.arange(32) * 8 + 3.5
    assert np.abs(out[4, :, 0] - expected).max() <= 1


@pytest.mark.parametrize("layout", ["uint8_nhwc", "float_nchw"])
def test_batch_layout_follows_record(layout):
    record = ModelRecord("test", "depth", "MIT", input=layout)
    image = np.random.default_rng(1).integers(0, 256, (28, 42, 3), dtype=np.uint8)
    batch = Preprocessor(record, (28, 42))(image)
    if layout == "uint8_nhwc":
        assert batch.dtype == np.uint8
        assert np.array_equal(batch, image[np.newaxis])
    else:
        expected = ((image / 255 - record.mean) / record.std).transpose(2, 0, 1)[np.newaxis]
        assert batch.dtype == np.float32
        assert batch == pytest.approx(expected, abs=1e-6)


@settings(max_examples=60, deadline=None)
@given(SIDES, SIDES, SIDES, SIDES)
def test_resized_map_stays_within_value_range(height, width, rows, columns):
    values = np.random.default_rng(height * 100 + width).random((height, width), np.float32)
    resized = resize_map(values, (rows, columns))
    assert resized.shape == (rows, columns)
    assert resized.min() >= values.min() - 1e-6
    assert resized.max() <= values.max() + 1e-6


def test_map_is_resized_about_pixel_centers():
    ramp = np.broadcast_to(np.arange(20, dtype=np.float32), (10, 20)).copy()
    resized = resize_map(ramp, (30, 60))
    expected = (np.arange(60) + 0.5) / 3 - 0.5
    assert resized[5, 1:-1] == pytest.approx(expected[1:-1].clip(0, 19), abs=1e-5)


def test_map_of_same_size_is_copied():
    values = np.ones((4, 5), np.float32)
    assert not np.shares_memory(resize_map(values, (4, 5)), values)


def test_read_only_out_is_rejected():
    out = np.zeros((8, 8), np.float32)
    out.flags.writeable = False
    with pytest.raises(ValueError, match="writable"):
        resize_map(np.ones((4, 4), np.float32), (8, 8), out)
