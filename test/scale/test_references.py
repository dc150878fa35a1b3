"""References from points, scans, depth images, range sensors and the ground, against exact geometry."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from depth_anything_ros.geometry.camera import Camera
from depth_anything_ros.geometry.transform import Transform
from depth_anything_ros.scale.ground import from_ground
from depth_anything_ros.scale.range_cone import from_range
from depth_anything_ros.scale.references import references
from depth_anything_ros.scale.sensor_points import deskew, from_depth_image, from_points, from_scan

CAMERA = Camera(640, 480, 500.0, 500.0, 319.5, 239.5)
TO_OPTICAL = Transform(np.array([[0.0, -1, 0], [0, 0, -1], [1, 0, 0]]), np.zeros(3))
"""From x forward, y left, z up."""


def test_invalid_depths_are_left_out() -> None:
    known = references([[0, 0], [1, 1], [2, 2], [3, 3]], [1.0, np.nan, -1.0, np.inf])
    assert known.depth.tolist() == [1.0]


@pytest.mark.parametrize(("pixels", "sigma"), [([[0, 0]], 0.01), ([[0, 0], [1, 1]], 0.0)])
def test_references_refuse_bad_shapes_and_sigmas(pixels: list, sigma: float) -> None:
    with pytest.raises(ValueError, match=r"pixels and 2 depths|must be positive"):
        references(pixels, [1.0, 2.0], sigma)


def wall(z: float, count: int, seed: int, half_width: float = 1.0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return np.stack([rng.uniform(-half_width, half_width, count), rng.uniform(-0.7, 0.7, count), np.full(count, z)], 1)


def test_points_behind_a_nearer_surface_are_left_out() -> None:
    """A lidar beside the camera sees the far wall behind a post, where the camera sees the post."""
    post, far = wall(1.0, 4000, 0, half_width=0.2), wall(4.0, 4000, 1, half_width=3)
    known = from_points(np.concatenate([post, far]), CAMERA)
    on_post = (np.abs(known.pixels[:, 0] - CAMERA.cx) < 90) & (np.abs(known.pixels[:, 1] - CAMERA.cy) < 230)
    assert (known.depth[on_post] == 1.0).all()
    assert (known.depth == 4.0).sum() > 100


def test_each_cell_has_one_reference() -> None:
    known = from_points(wall(2.0, 5000, 2), CAMERA, cell=32)
    cells = {(int((u + 0.5) // 32), int((v + 0.5) // 32)) for u, v in known.pixels}
    assert len(cells) == len(known)


def test_points_behind_the_camera_and_invalid_ones_are_left_out() -> None:
    known = from_points(np.array([[0, 0, -1.0], [np.nan, 0, 1], [100, 0, 1], [0, 0, 0]]), CAMERA)
    assert len(known) == 0


def test_depth_image_of_a_camera_beside_matches_its_plane() -> None:
    plane = np.full((480, 640), 3.0, np.float32)
    plane[100:200] = np.nan
    known = from_depth_image(plane, CAMERA, CAMERA, Transform(np.eye(3), np.array([0.1, 0, -0.5])))
    assert np.allclose(known.depth, 2.5)
    assert len(known) > 500


def test_laser_scan_of_a_wall_lies_on_one_row() -> None:
    angles = np.linspace(-0.5, 0.5, 201)
    known = from_scan(2.0 / np.cos(angles), -0.5, 0.005, TO_OPTICAL, CAMERA)
    assert np.allclose(known.depth, 2.0)
    assert np.allclose(known.pixels[:, 1], CAMERA.cy)
    ranges = np.full(201, 9.0)
    assert len(from_scan(ranges, -0.5, 0.005, TO_OPTICAL, CAMERA, limits=(0.1, 8.0))) == 0


@settings(max_examples=30)
@given(st.floats(-0.3, 0.3), st.tuples(*[st.floats(-1, 1)] * 3), st.integers(0, 1000))
def test_deskew_undoes_the_motion_of_the_scan(angle: float, shift: tuple[float, float, float], seed: int) -> None:
    rng = np.random.default_rng(seed)
    points, times = rng.uniform(-5, 5, (50, 3)), rng.uniform(0, 0.1, 50)
    c, s = math.cos(angle), math.sin(angle)
    motion = Transform(np.array([[c, -s, 0], [s, c, 0], [0, 0, 1.0]]), np.array(shift))
    rotations, translations = motion.fraction(times / 0.1)
    seen = np.einsum("nji,nj->ni", rotations, points - translations)
    assert np.allclose(deskew(seen, times, motion, 0.1), points, atol=1e-9)


def test_deskew_refuses_a_scan_without_duration() -> None:
    with pytest.raises(ValueError, match="duration"):
        deskew(np.zeros((1, 3)), np.zeros(1), Transform.identity(), 0.0)


@settings(max_examples=30)
@given(st.floats(-20, 20), st.floats(-10, 10), st.floats(0.1, 2.0))
def test_ground_references_lie_on_the_ground(pitch: float, roll: float, height: float) -> None:
    p, r = math.radians(pitch), math.radians(roll)
    up = np.array([math.sin(r) * math.cos(p), -math.cos(r) * math.cos(p), -math.sin(p)])
    known = from_ground(CAMERA, up, height)
    points = CAMERA.back_project(known.pixels, known.depth)
    assert np.allclose(points @ up, -height, atol=1e-9)
    assert (known.depth < 10).all()


def test_camera_that_looks_up_has_no_ground() -> None:
    assert len(from_ground(CAMERA, np.array([0.0, -1.0, 3.0]), 0.3)) == 0


@pytest.mark.parametrize(("height", "up"), [(0.0, [0, -1, 0]), (math.nan, [0, -1, 0]), (1.0, [0, 0, 0])])
def test_ground_refuses_impossible_cameras(height: float, up: list[float]) -> None:
    with pytest.raises(ValueError, match="must be positive"):
        from_ground(CAMERA, np.array(up, float), height)


def test_range_sensor_gives_nearest_depth_and_bounds_elsewhere() -> None:
    values = np.full((480, 640), 0.2, np.float32)
    values[230:250, 300:340] = 0.9
    known = from_range(1.5, math.radians(20), TO_OPTICAL, CAMERA, values, nearest_is_largest=True)
    near = ~known.is_bound
    assert 0 < near.sum() < len(known)
    assert (np.abs(known.pixels[near] - (319.5, 239.5)) < (22, 12)).all()
    distance = np.linalg.norm(CAMERA.back_project(known.pixels, known.depth), axis=1)
    assert np.allclose(distance, 1.5)


def test_range_sensor_without_echo_gives_bounds_only() -> None:
    values = np.full((480, 640), 0.2, np.float32)
    known = from_range(math.inf, math.radians(20), TO_OPTICAL, CAMERA, values, True, limits=(0.1, 4.0))
    assert known.is_bound.all()
    assert len(known) > 0
    assert len(from_range(0.01, 0.3, TO_OPTICAL, CAMERA, values, True, limits=(0.1, 4.0))) == 0


def test_many_noisy_points_of_a_wall_are_not_biased() -> None:
    points = wall(2.0, 20_000, 5)
    points[:, 2] *= np.exp(0.02 * np.random.default_rng(5).standard_normal(len(points)))
    known = from_points(points, CAMERA)
    assert abs(np.log(known.depth / 2.0).mean()) < 0.005


def test_floor_seen_by_the_camera_itself_is_not_occluded() -> None:
    rows = np.arange(480)[:, np.newaxis] - CAMERA.cy
    floor = np.where(rows > 4, 0.3 * CAMERA.fy / np.maximum(rows, 1), np.nan) * np.ones((1, 640))
    known = from_depth_image(floor.astype(np.float32), CAMERA, CAMERA, Transform.identity())
    assert known.depth.max() > 10


@pytest.mark.parametrize("size", [(480, 640), (375, 1242), (50, 33), (7, 5)])
def test_registered_depth_gives_the_references_of_any_depth_image(size: tuple[int, int]) -> None:
    """The short way for a depth image of the camera itself, against the way through points in space."""
    camera = Camera(size[1], size[0], 500.0, 510.0, size[1] / 2, size[0] / 2)
    choices = [1.0, 1.05, 1.1, 2.0, 3.3, np.nan, 0.0, np.inf, 0.005]
    depth = np.random.default_rng(0).choice(choices, size)
    short = from_depth_image(depth, camera, camera, Transform.identity())
    long = from_depth_image(depth, camera, replace(camera, fx=500.0 + 1e-9), Transform.identity())
    assert len(short) > 0
    assert np.array_equal(short.depth, long.depth)
    assert np.allclose(short.pixels, long.pixels, atol=1e-6)


def test_laser_ranger_hits_the_pixel_of_its_beam() -> None:
    values = np.full((120, 160), 0.5, np.float32)
    known = from_range(1.0, 0.0, TO_OPTICAL, CAMERA.resized(160, 120), values, True)
    assert (~known.is_bound).sum() >= 1
    assert from_range(
        4.0, 0.3, TO_OPTICAL, CAMERA, np.full((480, 640), 0.5, np.float32), True, (0.1, 4.0)
    ).is_bound.all()
