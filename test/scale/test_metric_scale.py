"""A camera's scale frame by frame: measurements matched by time, several sources, and a time that jumps back."""

from __future__ import annotations

import math
from dataclasses import replace

import cv2
import numpy as np
import pytest
from scale_scenes import HEIGHT, WIDTH, A, B, observe, scene

from depth_anything_ros.geometry.camera import Camera
from depth_anything_ros.geometry.transform import Transform
from depth_anything_ros.scale.fit import Refusal
from depth_anything_ros.scale.fit_problem import Prior
from depth_anything_ros.scale.kinds import KINDS, log_depth
from depth_anything_ros.scale.measurement_buffer import Convert
from depth_anything_ros.scale.metric_scale import MetricScale
from depth_anything_ros.scale.references import References, references
from depth_anything_ros.scale.uncertainty import depth_sigma

CAMERA = Camera(WIDTH, HEIGHT, 500.0, 500.0, 319.5, 239.5)


def convert(known: References, time: float, source: str = "points") -> Convert:
    return lambda camera, values: replace(known, time=time, source=source)


def metric_scale(**settings: object) -> MetricScale:
    return MetricScale(KINDS["inverse_affine"], Prior(), **settings)


def test_measurement_is_matched_by_its_time_not_by_its_arrival() -> None:
    scaled = metric_scale()
    output, depth = scene(0)
    right, wrong = observe(depth, 100, 0), observe(3 * depth, 100, 1)
    scaled.add("points", 10.2, convert(wrong, 10.2))
    scaled.add("points", 10.0, convert(right, 10.0))
    result = scaled.update(output, CAMERA, 10.0)
    assert result.state is not None
    assert result.state.measured == 10.0
    assert result.state.scale.a == pytest.approx(A, rel=0.2)


def test_old_measurement_is_not_used() -> None:
    scaled = metric_scale()
    output, depth = scene(1)
    scaled.add("points", 9.0, convert(observe(depth, 100, 1), 9.0))
    result = scaled.update(output, CAMERA, 10.0)
    assert result.scale is None
    assert result.problem == (
        "points: the nearest measurement is 1.00 s older than the image, more than 0.1 s: the clocks differ, or the "
        "sensor is late"
    )
    assert metric_scale().update(output, CAMERA, 10.0).problem == "no measurement has arrived"


def test_measurement_is_used_once_and_then_held() -> None:
    scaled = metric_scale()
    output, depth = scene(2)
    scaled.add("points", 10.0, convert(observe(depth, 100, 2), 10.0))
    first, second = scaled.update(output, CAMERA, 10.0), scaled.update(output, CAMERA, 10.05)
    assert (first.is_held, second.is_held) == (False, True)
    assert second.age == pytest.approx(0.05)
    assert second.scale is not None
    assert first.scale is not None
    assert second.scale.a == first.scale.a
    assert second.scale.b == pytest.approx(first.scale.b, abs=1e-3)  # it slowly returns to its prior
    assert second.residual == first.residual
    assert first.references > 80


def test_two_sources_are_surer_than_one() -> None:
    output, depth = scene(3)
    sigmas = []
    for sources in (["lidar"], ["lidar", "radar"]):
        scaled = metric_scale()
        for number, source in enumerate(sources):
            scaled.add(source, 0.0, convert(observe(depth, 60, 10 + number), 0.0, source))
        state = scaled.update(output, CAMERA, 0.0).state
        assert state is not None
        sigmas.append(state.sigma(scaled.kind))
    assert sigmas[1] < sigmas[0]


def test_source_that_sees_nothing_is_named() -> None:
    scaled = metric_scale()
    output, depth = scene(4)
    nothing = observe(depth, 1, 4).take(np.zeros(1, bool))
    scaled.add("range", 0.0, convert(nothing, 0.0, "range"))
    assert "range: it sees no surface" in scaled.update(output, CAMERA, 0.0).problem


def test_time_that_jumps_back_starts_again() -> None:
    scaled = metric_scale()
    output, depth = scene(5)
    scaled.add("points", 100.0, convert(observe(depth, 100, 5), 100.0))
    assert scaled.update(output, CAMERA, 100.0).scale is not None
    assert scaled.update(output, CAMERA, 5.0).scale is None


def test_local_factor_brings_depth_to_the_references() -> None:
    output, depth = scene(6, error=0.0)
    bent = depth * np.exp(0.25 * np.sin(np.arange(WIDTH) / 90))  # what one scale and shift cannot tell
    errors = []
    for is_local in (False, True):
        scaled = metric_scale(is_local=is_local)
        scaled.add("points", 0.0, convert(observe(bent, 500, 6), 0.0))
        result = scaled.update(output, CAMERA, 0.0)
        assert result.state is not None
        found = 1 / (math.exp(result.state.log_a) * output + result.state.b)
        if is_local:
            assert result.factor is not None
            found = found * cv2.resize(result.factor, (WIDTH, HEIGHT))
        errors.append(float(np.mean(np.abs(found - bent) / bent)))
    assert errors[1] < 0.4 * errors[0]


def test_local_correction_fades_on_held_frames() -> None:
    """A lidar slower than the camera must not make depth flicker."""
    output, depth = scene(7, error=0.0)
    bent = depth * np.exp(0.25 * np.sin(np.arange(WIDTH) / 90))
    scaled = metric_scale()
    scaled.add("points", 0.0, convert(observe(bent, 500, 7), 0.0))
    factors = [scaled.update(output, CAMERA, time).factor for time in (0.0, 0.033, 0.066, 2.0)]
    assert factors[0] is not None
    assert factors[1] is not None
    assert factors[2] is not None
    changes = [np.abs(np.log(factors[i + 1] / factors[i])).max() for i in (0, 1)]
    assert max(changes) < 0.05
    assert factors[3] is None


def test_measurement_waits_for_the_image_of_a_slow_model() -> None:
    """A scan at 40 Hz, and an image that the model has finished half a second later."""
    scaled = metric_scale()
    output, depth = scene(8)
    for number in range(20):
        scaled.add("scan", 1.0 + number / 40, convert(observe(depth, 100, number), 1.0 + number / 40, "scan"))
    result = scaled.update(output, CAMERA, 1.0)
    assert result.state is not None
    assert result.state.measured == 1.0


def test_sources_that_disagree_are_reported() -> None:
    scaled = metric_scale()
    output, depth = scene(9, error=0.02)
    problems = set()
    for number in range(10):
        time = number / 10
        scaled.add("lidar", time, convert(observe(depth, 200, number), time, "lidar"))
        scaled.add("radar", time, convert(observe(1.3 * depth, 200, number), time, "radar"))
        problems.add(scaled.update(output, CAMERA, time).problem)
    assert any("disagree" in problem for problem in problems)


@pytest.mark.parametrize("pose", [None, Transform.identity()])
def test_source_that_vanishes_and_returns_wrong_moves_depth_by_less_than_its_error(pose: Transform | None) -> None:
    """With and without odometry: true for 2 s, silent for 5 s, 20 % wrong for 5 s, and true again."""
    scaled = metric_scale()
    output, depth = scene(9)
    before: tuple[float, float] | None = None
    for number in range(170):
        time = number / 10
        is_silent, factor = 2 <= time < 7, 1.2 if 7 <= time < 12 else 1.0
        if not is_silent:
            scaled.add("points", time, convert(observe(factor * depth, 150, number), time))
        found = scaled.update(output, CAMERA, time, pose)
        assert found.state is not None
        log_z = float(log_depth(scaled.kind, 0.6, found.state.log_a, found.state.b))
        error = found.state.sigma(scaled.kind)
        if before is not None:
            # Without odometry a jump may be the network's: the error of then or now covers it.
            assert abs(log_z - before[0]) < 3 * (max(error, before[1]) if pose is None else before[1])
        before = log_z, error
        if time == 6.9 and pose is not None:
            assert found.is_carried
            assert before[1] < 0.15  # it is carried well, so 20 % is a contradiction
    assert log_z == pytest.approx(-math.log(A * 0.6 + B), abs=0.05)


def test_carried_depth_follows_a_network_whose_scale_changes() -> None:
    """The network's output is rescaled from frame to frame; odometry and images tell, nothing else can."""
    output, depth = scene(3, error=0.0)
    gray = cv2.resize(np.random.default_rng(0).integers(0, 255, (60, 80), np.uint8), (WIDTH, HEIGHT))
    for keywords in ({"pose": Transform.identity()}, {"gray": gray}):
        scaled = metric_scale()
        scaled.add("points", 0.0, convert(observe(depth, 150, 3), 0.0))
        scaled.update(output, CAMERA, 0.0, **keywords)
        found = scaled.update(output / np.float32(1.5), CAMERA, 0.1, **keywords)
        assert found.is_carried
        assert found.scale is not None
        assert found.scale.a == pytest.approx(1.5 * A, rel=0.05)
    scaled = metric_scale()
    scaled.add("points", 0.0, convert(observe(depth, 150, 3), 0.0))
    scaled.update(output, CAMERA, 0.0)
    assert not scaled.update(output / np.float32(1.5), CAMERA, 0.1).is_carried


def test_odometry_gap_falls_back_to_the_random_walk_and_recovers() -> None:
    scaled = metric_scale()
    output, depth = scene(4)
    scaled.add("points", 0.0, convert(observe(depth, 150, 4), 0.0))
    scaled.update(output, CAMERA, 0.0, Transform.identity())
    assert not scaled.update(output, CAMERA, 0.1, None).is_carried
    assert scaled.update(output, CAMERA, 0.2, Transform.identity()).is_carried


def test_two_sources_of_which_one_has_a_common_error_are_weighted_by_it() -> None:
    """The first source is 10 % wrong and says so; the second one is right and surer: the result is nearer to it."""
    scaled = metric_scale()
    output, depth = scene(5, error=0.02)
    vague = replace(observe(1.1 * depth, 300, 5), common_sigma=0.1)
    sure = replace(observe(depth, 300, 6), common_sigma=0.01)
    scaled.add("visual odometry", 0.0, convert(vague, 0.0, "visual odometry"))
    scaled.add("lidar", 0.0, convert(sure, 0.0, "lidar"))
    found = scaled.update(output, CAMERA, 0.0)
    assert found.state is not None
    error = float(log_depth(scaled.kind, 0.6, found.state.log_a, found.state.b)) + math.log(A * 0.6 + B)
    assert abs(error) < 0.03
    assert found.state.sigma(scaled.kind) >= 0.0099


def textured(width: int, height: int) -> np.ndarray:
    coarse = np.random.default_rng(0).integers(0, 255, (max(height // 8, 1), max(width // 8, 1)), np.uint8)
    return cv2.resize(coarse, (width, height))


def test_images_carry_the_scale_again_after_a_change_of_their_size() -> None:
    """The outputs' size is a live parameter."""
    scaled = metric_scale(is_local=False)
    output, depth = scene(5)
    small = CAMERA.resized(WIDTH // 2, HEIGHT // 2)
    scaled.add("points", 10.0, convert(observe(depth, 200, 5), 10.0))
    scaled.update(output, CAMERA, 10.0, None, textured(WIDTH, HEIGHT))
    halved = cv2.resize(output, (WIDTH // 2, HEIGHT // 2), interpolation=cv2.INTER_NEAREST)
    changed = scaled.update(halved, small, 10.1, None, textured(WIDTH // 2, HEIGHT // 2))
    assert changed.scale is not None
    assert not changed.is_carried
    at_half = replace(observe(depth, 200, 5), pixels=observe(depth, 200, 5).pixels / 2 - 0.25)
    scaled.add("points", 10.2, convert(at_half, 10.2))
    scaled.update(halved, small, 10.2, None, textured(WIDTH // 2, HEIGHT // 2))
    assert scaled.update(halved, small, 10.3, None, textured(WIDTH // 2, HEIGHT // 2)).is_carried


@pytest.mark.parametrize("size", [(1, 1), (1, 640), (2, 640), (640, 1), (3, 5), (17, 33)])
@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize("is_seen", [True, False])
def test_output_of_any_size_and_content_gives_finite_scales(size: tuple[int, int], name: str, is_seen: bool) -> None:
    height, width = size
    kind, rng = KINDS[name], np.random.default_rng(0)
    camera = Camera(width, height, 100.0, 100.0, (width - 1) / 2, (height - 1) / 2)
    depth = rng.uniform(1, 5, size).astype(np.float32)
    output = 1 / depth if kind.sign < 0 else depth
    scaled, gray = MetricScale(kind, Prior()), textured(width, height) if is_seen else None
    pixels = rng.integers(0, (width, height), (100, 2)).astype(np.float64)
    known = references(pixels, depth[pixels[:, 1].astype(int), pixels[:, 0].astype(int)])
    contents = (output, np.full(size, np.nan), np.where(depth < 2, np.inf, output), np.zeros(size), -output)
    for number, values in enumerate(content.astype(np.float32) for content in contents):
        pose = None if is_seen else Transform(np.eye(3), np.array([0.02 * number, 0.0, 0.0]))
        scaled.add("points", 10.0 + number, convert(known, 10.0 + number))
        result = scaled.update(values, camera, 10.0 + number, pose, gray)
        if result.state is not None:
            assert np.isfinite(result.state.covariance).all()
            assert result.factor is None or np.isfinite(result.factor).all()
            depth_sigma(depth, kind, result.state, result.residual, None, result.local_error)


def test_source_whose_clock_differs_is_named_while_another_is_used() -> None:
    scaled = metric_scale()
    output, depth = scene(6)
    for number in range(3):
        time = 10.0 + 0.1 * number
        scaled.add("points", time, convert(observe(depth, 100, 6), time))
        scaled.add("scan", time - 50, convert(observe(depth, 100, 6), time - 50, "scan"))
        result = scaled.update(output, CAMERA, time)
    assert not result.is_held
    assert result.problem == "scan is 50.0 s older than the image: it has stopped, or the clocks differ"


def test_camera_that_stands_is_no_problem_for_another_source() -> None:
    scaled = metric_scale()
    output, depth = scene(7)
    scaled.add("motion", 10.0, lambda camera, values: Refusal("the camera has moved 0.0 cm, which is too little"))
    assert "too little" in scaled.update(output, CAMERA, 10.0).problem
    scaled.add("motion", 10.1, lambda camera, values: Refusal("the camera has moved 0.0 cm, which is too little"))
    scaled.add("points", 10.1, convert(observe(depth, 100, 7), 10.1))
    result = scaled.update(output, CAMERA, 10.1)
    assert not result.is_held
    assert result.problem == ""
