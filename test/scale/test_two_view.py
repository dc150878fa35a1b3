"""Scale from motion: exact synthetic points, wrong odometry, moving objects, standing, and turning."""

from __future__ import annotations

import itertools
import math

import cv2
import numpy as np
import pytest

from depth_anything_ros.geometry.camera import Camera
from depth_anything_ros.geometry.transform import Transform
from depth_anything_ros.scale.fit import Refusal
from depth_anything_ros.scale.references import References
from depth_anything_ros.scale.two_view import MotionReferences, refine_motion, triangulate

CAMERA = Camera(640, 480, 500.0, 500.0, 319.5, 239.5)


def rotation(x: float, y: float, z: float) -> np.ndarray:
    return cv2.Rodrigues(np.array([x, y, z], float))[0]


def seen(motion: Transform, count: int = 200, noise: float = 0.0, seed: int = 0):
    """Return pixels of random points before and after a motion, and their depths after it."""
    rng = np.random.default_rng(seed)
    points = np.stack([rng.uniform(-1.5, 1.5, count), rng.uniform(-1, 1, count), rng.uniform(1.5, 5, count)], axis=1)
    after = motion.apply(points)
    first, second = CAMERA.project(points), CAMERA.project(after)
    return (
        first + noise * rng.standard_normal(first.shape),
        second + noise * rng.standard_normal(first.shape),
        after[:, 2],
    )


MOTION = Transform(rotation(0.01, 0.03, 0.0), np.array([0.2, 0.02, -0.05]))


def test_exact_points_give_exact_depths() -> None:
    first, second, depth = seen(MOTION)
    found = triangulate(CAMERA, first, second, MOTION)
    assert found is not None
    pixels, z, sigma = found
    index = [int(np.argmin(np.linalg.norm(second - pixel, axis=1))) for pixel in pixels]
    assert np.allclose(z, depth[index], rtol=1e-6)
    assert (sigma >= 0.01).all()


@pytest.mark.parametrize("wrong", [0.0, math.radians(0.4)])
def test_wrong_rotation_of_odometry_is_corrected(wrong: float) -> None:
    first, second, depth = seen(MOTION, noise=0.3)
    odometry = Transform(rotation(wrong, -wrong, wrong / 2) @ MOTION.rotation, MOTION.translation)
    found = triangulate(CAMERA, first, second, refine_motion(CAMERA, first, second, odometry))
    assert found is not None
    pixels, z, sigma = found
    index = [int(np.argmin(np.linalg.norm(second - pixel, axis=1))) for pixel in pixels]
    error = np.log(z / depth[index])
    assert abs(np.median(error)) < 0.05
    assert 0.2 < np.mean((error / sigma) ** 2) < 3


def test_points_that_move_by_themselves_are_left_out() -> None:
    first, second, _depth = seen(MOTION)
    second[:40] += (0, 25)
    found = triangulate(CAMERA, first, second, MOTION)
    assert found is not None
    moved = {tuple(pixel) for pixel in second[:40]}
    assert not any(tuple(pixel) in moved for pixel in found[0])


def test_turning_in_place_gives_nothing() -> None:
    turn = Transform(rotation(0, 0.05, 0), np.array([1e-6, 0, 0]))
    first, second, _ = seen(turn)
    assert triangulate(CAMERA, first, second, turn) is None


def view(position: float, yaw: float = 0.0) -> np.ndarray:
    """Return an image of a textured wall two meters away and a nearer board, from a camera moved sideways."""
    rng = np.random.default_rng(1)
    image = np.zeros((480, 640), np.uint8)
    for z, size, left, right in ((2.0, 900, -900, 900), (1.2, 300, -150, 150)):
        texture = cv2.resize(rng.integers(0, 255, (size // 12, size // 12), dtype=np.uint8), (size * 2, size * 2))
        shift = -500 * position / z - 500 * math.tan(yaw)
        matrix = np.float32([[1, 0, 319.5 + shift - size], [0, 1, 239.5 - size]])
        layer = cv2.warpAffine(texture, matrix, (640, 480))
        columns = np.arange(640) - 319.5 - shift
        inside = (columns > left) & (columns < right)
        image[:, inside] = layer[:, inside]
    return image


def test_moving_camera_gives_metric_references_and_a_standing_one_refuses() -> None:
    motion = MotionReferences(CAMERA)
    results = []
    for step in range(16):
        position = 0.02 * step
        pose = Transform(np.eye(3), np.array([position, 0, 0]))
        results.append(motion.add(view(position), pose, step / 10))
    assert isinstance(results[0], Refusal)
    assert "too little" in results[1].reason
    found = [result for result in results if isinstance(result, References)]
    assert results.index(found[0]) <= 5  # 10 cm at about 2 m
    # One keyframe measures again only when its parallax has grown: its errors would be the same.
    assert len(found) >= 5
    assert all(late.pose_sigma < early.pose_sigma / 1.25 for early, late in itertools.pairwise(found))
    for known in found:
        nearest = np.minimum(np.abs(known.depth - 2.0), np.abs(known.depth - 1.2))
        assert np.median(nearest) < 0.05
        assert known.common_sigma > 0


def test_turning_camera_refuses() -> None:
    motion = MotionReferences(CAMERA)
    results = []
    for step in range(8):
        yaw = 0.02 * step
        pose = Transform(rotation(0, yaw, 0), np.array([0.03 * (step > 0), 0, 0]))  # odometry slips once
        results.append(motion.add(view(0.0, yaw), pose, step / 10))
    assert all(isinstance(result, Refusal) for result in results)


def test_driving_straight_ahead_measures_by_the_features_beside_the_way() -> None:
    """Features near the direction of travel have no parallax. They neither count nor prevent a measurement."""
    rng = np.random.default_rng(0)
    points = np.stack([rng.uniform(-2, 2, 300), rng.uniform(-1.5, 1.5, 300), rng.uniform(3, 8, 300)], axis=1)
    ahead = Transform(np.eye(3), np.array([0.0, 0.0, -0.8]))
    first, second = CAMERA.project(points), CAMERA.project(ahead.apply(points))
    found = triangulate(CAMERA, first, second, ahead)
    assert found is not None
    pixels, z, _ = found
    index = [int(np.argmin(np.linalg.norm(second - pixel, axis=1))) for pixel in pixels]
    assert z == pytest.approx(points[index, 2] - 0.8, rel=1e-4)
