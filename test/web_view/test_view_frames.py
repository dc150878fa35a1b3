"""The messages for browsers: what they hold, how exact it is, and how small."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from view_messages import decode_view

from depth_anything_ros.geometry.camera import Camera
from depth_anything_ros.web_view.frames import LARGEST_CODE, ViewFrame, encode_depth, encode_frame

SPECIAL = (np.nan, np.inf, -np.inf, 0.0, -1.0)


def room(height: int, width: int) -> np.ndarray:
    """A floor with a box on it: what a network's depth looks like."""
    rows, columns = np.mgrid[:height, :width]
    depth = 1.0 / (0.05 + 0.6 * rows / height)
    depth[(columns > width // 3) & (columns < width // 2) & (rows > height // 2)] = 1.2
    return depth.astype(np.float32)


def gray(height: int, width: int, value: int = 90) -> np.ndarray:
    return np.full((height, width, 3), value, np.uint8)


@given(
    st.lists(st.floats(0.0625, 500, width=32), min_size=1, max_size=40),
    st.lists(st.sampled_from(SPECIAL), max_size=5),
)
def test_codes_keep_inverse_depth_to_half_a_step(depths, special):
    depth = np.array([[*depths, *special]], np.float32)
    codes, step = encode_depth(depth)
    known = codes[0, : len(depths)].astype(float)
    assert known.min() >= 1
    inverse = 1 / depth[0, : len(depths)].astype(float)
    assert np.abs((known - 1) * step - inverse).max() <= 0.5 * step + 1e-5 * inverse.max()
    assert step == pytest.approx(inverse.max() / (LARGEST_CODE - 1), rel=1e-6)
    for value, code in zip(special, codes[0, len(depths) :], strict=True):
        assert code == (1 if value == np.inf else 0)


def test_pixel_at_the_lens_leaves_the_others_exact():
    codes, step = encode_depth(np.array([[1e-42, 1e-4, 5.0, 20.0]], np.float32))
    assert np.isfinite(step)
    np.testing.assert_allclose(1 / ((codes[0].astype(float) - 1) * step), [0.01, 0.01, 5.0, 20.0], rtol=0.02)


def test_depth_without_known_pixel_is_all_unknown():
    codes, step = encode_depth(np.full((3, 4), np.nan, np.float32))
    assert not codes.any()
    assert step > 0


@pytest.mark.parametrize(
    ("size", "sent"), [((480, 640), (240, 320)), ((720, 1280), (180, 320)), ((100, 150), (100, 150))]
)
def test_message_has_pixels_and_their_rays(size, sent):
    """Each pixel that is sent lies on the ray of the pixel it was taken from."""
    camera = Camera.from_field_of_view(size[1], size[0], 70)
    depth = room(*size)
    received = decode_view(encode_frame(ViewFrame(123456789, gray(*size), depth, camera), 7))
    assert received.depth.shape == sent
    assert (received.header["number"], received.header["stamp"]) == (7, 123456789)
    stride = -(-size[1] // sent[1])
    rows, columns = (np.arange(count) * stride + stride // 2 for count in sent)
    np.testing.assert_allclose(received.depth, depth[np.ix_(rows, columns)], rtol=2e-3)
    fx, fy, cx, cy = received.header["intrinsics"]
    np.testing.assert_allclose((np.arange(sent[1]) - cx) / fx, camera.rays()[0][columns], atol=1e-6)
    np.testing.assert_allclose((np.arange(sent[0]) - cy) / fy, camera.rays()[1][rows], atol=1e-6)
    np.testing.assert_allclose(received.rgb, 90, atol=2)
    assert received.sigma is None


def test_relative_error_is_sent_in_steps_of_255th():
    depth = np.full((20, 30), 2.0, np.float32)
    sigma = np.full((20, 30), 0.5, np.float32)
    sigma[0, :3] = np.nan, np.inf, 100.0
    received = decode_view(encode_frame(ViewFrame(0, gray(20, 30), depth, None, sigma), 1))
    assert received.header["intrinsics"] is None
    np.testing.assert_array_equal(received.sigma[0, :3], 1)
    np.testing.assert_allclose(received.sigma[1:], 0.25, atol=1 / 255)


def test_color_may_have_another_size_than_depth():
    image = np.zeros((60, 80, 3), np.uint8)
    image[:, 40:, 0] = 255
    received = decode_view(encode_frame(ViewFrame(0, image[..., ::-1][..., ::-1], room(240, 320)), 1))
    assert received.rgb.shape == (240, 320, 3)
    assert received.rgb[:, 300:, 0].min() > 200
    assert received.rgb[:, :20, 0].max() < 50


def test_room_fits_through_20_megabit_at_30_hertz():
    image = np.random.default_rng(0).integers(0, 255, (15, 20, 3)).astype(np.uint8).repeat(32, 0).repeat(32, 1)
    message = encode_frame(ViewFrame(0, image, room(480, 640)), 1)
    assert 8 * 30 * len(message) < 20e6
