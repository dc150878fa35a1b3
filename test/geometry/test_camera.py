"""Intrinsics under resizing and cropping, projection and its inverse."""

from __future__ import annotations

import math

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from depth_anything_ros.geometry.camera import Camera

unhurried = settings(deadline=None)  # a busy machine is no failure
sides = st.integers(1, 4000)
lengths = st.floats(10, 5000)


@st.composite
def cameras(draw) -> Camera:
    width, height = draw(sides), draw(sides)
    cx, cy = draw(st.floats(-0.5, width)), draw(st.floats(-0.5, height))
    return Camera(width, height, draw(lengths), draw(lengths), cx, cy)


def assert_same(first: Camera, second: Camera) -> None:
    assert (first.width, first.height) == (second.width, second.height)
    for name in ("fx", "fy", "cx", "cy"):
        assert getattr(first, name) == pytest.approx(getattr(second, name), rel=1e-9, abs=1e-6)


@unhurried
@given(cameras(), st.floats(-3000, 3000), st.floats(-3000, 3000), st.floats(0.01, 1000))
def test_project_inverts_back_project(camera, u, v, depth):
    point = camera.back_project(np.array([u, v]), np.array(depth))
    assert point[2] == depth
    assert camera.project(point) == pytest.approx([u, v], abs=1e-6)


@unhurried
@given(cameras())
def test_project_matches_camera_matrix(camera):
    point = np.array([0.3, -0.2, 2.0])
    homogeneous = camera.matrix @ point
    assert camera.project(point) == pytest.approx(homogeneous[:2] / homogeneous[2])


@unhurried
@given(cameras(), sides, sides, sides, sides)
def test_resizing_twice_equals_resizing_once(camera, width, height, final_width, final_height):
    assert_same(
        camera.resized(width, height).resized(final_width, final_height), camera.resized(final_width, final_height)
    )


@unhurried
@given(cameras(), sides, sides)
def test_resizing_keeps_rays_at_relative_position(camera, width, height):
    """A point at a fraction of the image's span stays at that fraction."""
    resized = camera.resized(width, height)
    point = np.array([0.1, 0.2, 1.0])
    size, new_size = np.array([camera.width, camera.height]), np.array([width, height])
    fraction = (camera.project(point) + 0.5) / size
    assert (resized.project(point) + 0.5) / new_size == pytest.approx(fraction, rel=1e-9, abs=1e-9)


def test_resizing_matches_opencv_pixel_centers():
    """Halving an image averages pixels 2k and 2k + 1, whose center is 2k + 0.5: it must become k."""
    camera = Camera(8, 6, 10.0, 10.0, 3.0, 2.0)
    columns = np.tile(np.arange(8, dtype=np.float32), (6, 1))
    shrunk = cv2.resize(columns, (4, 3), interpolation=cv2.INTER_AREA)
    directions = (shrunk[0] - camera.cx) / camera.fx
    assert camera.resized(4, 3).rays()[0] == pytest.approx(directions)


@unhurried
@given(cameras(), st.data())
def test_cropping_shifts_pixels(camera, data):
    x, y = data.draw(st.integers(0, camera.width - 1)), data.draw(st.integers(0, camera.height - 1))
    width, height = data.draw(st.integers(1, camera.width - x)), data.draw(st.integers(1, camera.height - y))
    cropped = camera.cropped(x, y, width, height)
    point = np.array([0.1, -0.3, 1.5])
    assert (cropped.width, cropped.height) == (width, height)
    assert cropped.project(point) + np.array([x, y]) == pytest.approx(camera.project(point), abs=1e-6)


@pytest.mark.parametrize("window", [(-1, 0, 2, 2), (0, -1, 2, 2), (7, 0, 2, 2), (0, 5, 2, 2)])
def test_crop_outside_image_raises(window):
    with pytest.raises(ValueError, match="exceeds the image of 8x6"):
        Camera(8, 6, 10, 10, 4, 3).cropped(*window)


@unhurried
@given(sides, sides, st.floats(1, 175))
def test_from_field_of_view_has_requested_angle(width, height, degrees):
    camera = Camera.from_field_of_view(width, height, degrees)
    assert camera.horizontal_degrees == pytest.approx(degrees)
    left = camera.back_project(np.array([-0.5, camera.cy]), np.array(1.0))
    assert math.degrees(math.atan(-left[0])) == pytest.approx(degrees / 2)


@unhurried
@given(cameras())
def test_rays_are_points_at_one_meter(camera):
    x, y = camera.rays()
    assert (x.shape, y.shape) == ((camera.width,), (camera.height,))
    assert x.dtype == y.dtype == np.float32
    corner = camera.back_project(np.array([camera.width - 1, camera.height - 1]), np.array(1.0))
    assert (x[-1], y[-1]) == pytest.approx((corner[0], corner[1]), rel=1e-6, abs=1e-6)


@pytest.mark.parametrize(
    ("values", "complaint"),
    [
        ((0, 480, 500, 500, 320, 240), "image size"),
        ((640, -1, 500, 500, 320, 240), "image size"),
        ((640, 480, 0, 500, 320, 240), "focal lengths"),
        ((640, 480, 500, -1, 320, 240), "focal lengths"),
        ((640, 480, 500, 500, math.nan, 240), "not finite"),
        ((640, 480, math.inf, 500, 320, 240), "not finite"),
    ],
)
def test_degenerate_intrinsics_raise(values, complaint):
    with pytest.raises(ValueError, match=complaint):
        Camera(*values)


@pytest.mark.parametrize("degrees", [0, 180, -5, math.nan])
def test_impossible_field_of_view_raises(degrees):
    with pytest.raises(ValueError, match="field of view"):
        Camera.from_field_of_view(640, 480, degrees)
