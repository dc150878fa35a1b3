"""Scenes that tell little or lie: one distance, no floor, wrong gravity, motion, late scans, missing transforms."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from scale_scenes import HEIGHT, WIDTH, A, B, observe, scene

from depth_anything_ros.geometry.camera import Camera
from depth_anything_ros.scale.fit import Refusal, ScaleFit, fit
from depth_anything_ros.scale.fit_problem import Prior
from depth_anything_ros.scale.ground import from_ground
from depth_anything_ros.scale.kinds import KINDS
from depth_anything_ros.scale.metric_scale import MetricScale
from depth_anything_ros.scale.references import References, references

INVERSE = KINDS["inverse_affine"]
CAMERA = Camera(WIDTH, HEIGHT, 500.0, 500.0, 319.5, 239.5)


def room(camera_height: float, wall: float) -> np.ndarray:
    """Return the depth of a flat floor that ends at a wall, meters."""
    rows = np.maximum(np.arange(HEIGHT) - CAMERA.cy, 1e-6)
    floor = np.where(np.arange(HEIGHT) > CAMERA.cy, camera_height * CAMERA.fy / rows, np.inf)
    return np.minimum(floor, wall)[:, np.newaxis] * np.ones((1, WIDTH))


def exact_output(depth: np.ndarray) -> np.ndarray:
    """Return the inverse depth of an exact network with scale A and shift B."""
    return ((1 / depth - B) / A).astype(np.float32)


def typical_error(result: ScaleFit, x: float) -> float:
    """Return the error of ln Z at an output of the network."""
    return math.log(A * x + B) - math.log(math.exp(result.log_a) * x + result.b)


def depth_sigma_at(result: ScaleFit, x: float) -> float:
    """Return the standard deviation of ln Z at an output of the network, the common error included."""
    g = math.exp(result.log_a) * x + result.b
    gradient = np.array([math.exp(result.log_a) * x / g, 1 / g])
    return math.sqrt(float(gradient @ result.covariance @ gradient) + result.common_sigma**2)


@pytest.mark.parametrize("count", [1, 2, 3, 5])
def test_fewest_references_are_never_too_sure(count: int) -> None:
    squared = []
    for seed in range(40):
        output, depth = scene(seed)
        result = fit(INVERSE, output, observe(depth, count, seed), Prior())
        assert isinstance(result, ScaleFit)
        error = np.array([result.log_a - math.log(A), result.b - B])
        squared.append(error @ np.linalg.solve(result.covariance, error) / 2)
    assert 0.2 < np.mean(squared) < 2


def test_references_at_one_distance_give_that_distance_and_no_shift() -> None:
    """The scene is deep, but the source sees one distance only."""
    output, depth = scene(0, error=0.0)
    at_one = np.argwhere(np.abs(output - 0.6) < 0.02)[::97, ::-1]
    result = fit(INVERSE, output, references(at_one, depth[at_one[:, 1], at_one[:, 0]], 0.01), Prior())
    assert isinstance(result, ScaleFit)
    assert abs(typical_error(result, 0.6)) < 0.02
    assert math.sqrt(result.covariance[1, 1]) > 0.08  # the prior's 0.1: nothing was learned
    assert depth_sigma_at(result, 0.2) > 2 * depth_sigma_at(result, 0.6)


@pytest.mark.parametrize("degrees", [-1.0, 1.0])
def test_tilted_gravity_stays_within_its_stated_error(degrees: float) -> None:
    depth = room(0.3, wall=4.0)
    tilt = math.radians(degrees)
    up = np.array([0.0, -math.cos(tilt), math.sin(tilt)])
    result = fit(INVERSE, exact_output(depth), from_ground(CAMERA, up, 0.3, tilt_sigma=math.radians(1.0)), Prior())
    assert isinstance(result, ScaleFit)
    near = float((1 / 0.8 - B) / A)
    assert 0.005 < abs(typical_error(result, near)) < 2.5 * depth_sigma_at(result, near)


def test_floor_that_is_not_in_view_gives_no_scale() -> None:
    """A wall close by hides the floor, which would span 0.6 m to 4 m."""
    output = exact_output(np.full((HEIGHT, WIDTH), 0.5))
    known = from_ground(CAMERA, np.array([0.0, -1.0, 0.0]), 0.3)
    assert known.depth.max() > 4 * known.depth.min()
    assert isinstance(fit(INVERSE, output, known, Prior()), Refusal)


def test_floor_under_obstacles_is_found() -> None:
    """Boxes stand on a third of the floor."""
    depth = room(0.3, wall=4.0)
    depth[260:, 100:300] = np.minimum(depth[260:, 100:300], 0.9)
    result = fit(INVERSE, exact_output(depth), from_ground(CAMERA, np.array([0.0, -1.0, 0.0]), 0.3), Prior())
    assert isinstance(result, ScaleFit)
    assert abs(typical_error(result, float((1 / 0.8 - B) / A))) < 0.03


def test_moving_object_does_not_move_the_scale() -> None:
    """A car fills a fifth of the image, and is 1.5 m nearer in the image than in the scan."""
    output, depth = scene(1)
    known = observe(depth, 300, 1)
    on_car = known.pixels[:, 0] < WIDTH / 5
    late = replace(known, depth=known.depth + 1.5 * on_car)
    still, moving = fit(INVERSE, output, known, Prior()), fit(INVERSE, output, late, Prior())
    assert isinstance(still, ScaleFit)
    assert isinstance(moving, ScaleFit)
    assert moving.inliers[on_car].mean() < 0.3
    assert abs(typical_error(moving, 0.6) - typical_error(still, 0.6)) < 0.02


def test_time_offset_costs_no_more_than_the_distance_traveled() -> None:
    """A scan is 50 ms older than the image; the robot drives forward at 1 m/s."""
    output, depth = scene(2, error=0.02)
    known = observe(depth + 0.05, 300, 2)
    result = fit(INVERSE, output, known, Prior())
    assert isinstance(result, ScaleFit)
    z = 1 / (A * 0.6 + B)
    assert abs(typical_error(result, 0.6)) < 1.3 * math.log((z + 0.05) / z)


def test_missing_transform_holds_the_scale_and_is_named() -> None:
    """The source's convert cannot look the transform up for one second of a second and a half."""
    scaled = MetricScale(INVERSE, Prior())
    output, depth = scene(3)

    def convert(camera: Camera, values: np.ndarray) -> References:
        if 0.2 <= number / 10 < 1.2:
            raise LookupError("no transform from lidar to camera at this time")
        return replace(observe(depth, 100, number), time=number / 10, source="lidar")

    held, problems = [], set()
    for number in range(15):
        scaled.add("lidar", number / 10, convert)
        result = scaled.update(output, CAMERA, number / 10)
        assert result.scale is not None
        assert result.scale.a == pytest.approx(A, rel=0.15)
        held.append(result.is_held)
        problems.add(result.problem)
    assert held == [not (number < 2 or number >= 12) for number in range(15)]
    assert problems == {"", "lidar: no transform from lidar to camera at this time"}


def test_scene_that_only_resembles_a_floor_is_refused() -> None:
    """A box that fills the lower half recedes less than a floor would: no scale fits it to within 20 %."""
    up = np.array([0.0, -1.0, 0.0])
    known = from_ground(CAMERA, up, 0.3)
    assert known.common_sigma > 0.1  # nothing proves that it is a floor
    rows = np.arange(HEIGHT)[:, np.newaxis] / HEIGHT
    clutter = np.exp(0.5 * np.random.default_rng(0).standard_normal((12, 16))).repeat(40, 0).repeat(40, 1)
    output = exact_output(np.broadcast_to(2.0 - rows, (HEIGHT, WIDTH)) * clutter)
    result = fit(INVERSE, output, known, Prior())
    assert isinstance(result, Refusal)
    assert "disagree with the image" in result.reason
