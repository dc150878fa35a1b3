"""The scale over time: averaging, holding, a source that lies, and depth that odometry carries along."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace

import numpy as np
import pytest
from scale_scenes import HEIGHT, WIDTH, A, B, observe, scene

from depth_anything_ros.geometry.camera import Camera
from depth_anything_ros.geometry.transform import Transform
from depth_anything_ros.processing.measured_scale import MAX_SIGMA
from depth_anything_ros.scale.fit import Refusal, ScaleFit
from depth_anything_ros.scale.fit_problem import Prior
from depth_anything_ros.scale.kinds import KINDS, log_depth
from depth_anything_ros.scale.references import References
from depth_anything_ros.scale.sensor_points import from_depth_image
from depth_anything_ros.scale.tracker import CEILING, ScaleTracker

INVERSE = KINDS["inverse_affine"]
PERIOD = 1 / 30


def at(known: References, time: float, factor: float = 1.0) -> References:
    return replace(known, time=time, depth=known.depth * factor)


def tracker() -> ScaleTracker:
    return ScaleTracker(INVERSE, Prior())


def typical_log_depth(tracked: ScaleTracker) -> float:
    state = tracked.state
    assert state is not None
    return float(log_depth(INVERSE, 0.6, state.log_a, state.b))


def sigma(tracked: ScaleTracker) -> float:
    assert tracked.state is not None
    return tracked.state.sigma(INVERSE)


def test_state_follows_the_references() -> None:
    tracked = tracker()
    for number in range(20):
        output, depth = scene(number)
        tracked.predict(number * PERIOD)
        assert isinstance(tracked.measure(output, at(observe(depth, 100, number), number * PERIOD)), ScaleFit)
    assert typical_log_depth(tracked) == pytest.approx(-math.log(A * 0.6 + B), abs=0.03)
    assert tracked.state is not None
    assert tracked.state.measured == 19 * PERIOD


def test_sigma_grows_without_references_up_to_a_ceiling() -> None:
    tracked = tracker()
    output, depth = scene(0)
    tracked.measure(output, at(observe(depth, 100, 0), 0.0))
    sigmas = []
    for second in range(60):
        tracked.predict(float(second))
        sigmas.append(sigma(tracked))
    assert all(later >= earlier for earlier, later in itertools.pairwise(sigmas))
    assert sigmas[1] > 2 * sigmas[0]
    assert tracked.state is not None
    assert math.sqrt(tracked.state.total_covariance[0, 0]) < 1.2 * CEILING


def test_common_error_does_not_average_out() -> None:
    tracked = tracker()
    for number in range(100):
        output, depth = scene(number)
        tracked.predict(number * PERIOD)
        known = replace(observe(depth, 100, number), common_sigma=0.08)
        tracked.measure(output, at(known, number * PERIOD))
    assert sigma(tracked) >= 0.08


@pytest.mark.parametrize("absence", [0.5, 5.0])
@pytest.mark.parametrize("bias", [0.8, 1.2])
def test_published_scale_never_moves_by_more_than_three_sigma(absence: float, bias: float) -> None:
    """A source vanishes, returns with a bias of 20 % for 5 s, and then returns true."""
    tracked = tracker()
    output, depth = scene(3)
    times = [number * PERIOD for number in range(30)]
    times += [times[-1] + absence + number * PERIOD for number in range(300)]
    moves = []
    for number, time in enumerate(times):
        tracked.predict(time)
        before = (typical_log_depth(tracked), sigma(tracked)) if tracked.state else None
        factor = bias if 30 <= number < 180 else 1.0
        tracked.measure(output, at(observe(depth, 200, number), time, factor))
        if before is not None:
            moves.append(abs(typical_log_depth(tracked) - before[0]) / before[1])
    assert max(moves) < 3
    assert typical_log_depth(tracked) == pytest.approx(-math.log(A * 0.6 + B), abs=0.05)


def test_one_wrong_measurement_does_not_move_the_scale() -> None:
    tracked = tracker()
    output, depth = scene(4)
    for number in range(30):
        tracked.predict(number * PERIOD)
        tracked.measure(output, at(observe(depth, 200, number), number * PERIOD))
    before = typical_log_depth(tracked)
    tracked.predict(30 * PERIOD)
    result = tracked.measure(output, at(observe(depth, 200, 30), 30 * PERIOD, 1.6))
    assert isinstance(result, Refusal)
    assert "disagrees" in tracked.problem
    assert typical_log_depth(tracked) == pytest.approx(before, abs=1e-3)


def test_carried_depth_keeps_the_scale_of_a_network_that_changes() -> None:
    """The network's scale jumps by 40 % between two frames; the depth that odometry carries tells."""
    tracked = tracker()
    camera = Camera(WIDTH, HEIGHT, 500.0, 500.0, 319.5, 239.5)
    output, depth = scene(5, error=0.0)
    tracked.measure(output, at(observe(depth, 200, 5), 0.0))
    sigma_before = sigma(tracked)
    carried = from_depth_image(depth.astype(np.float32), camera, camera, Transform.identity(), time=PERIOD)
    assert tracked.carry(output / 1.4, replace(carried, common_sigma=sigma_before))
    assert tracked.state is not None
    assert tracked.state.scale.a == pytest.approx(1.4 * A, rel=0.05)
    assert sigma(tracked) >= 0.99 * sigma_before


def test_carried_depth_needs_a_state_and_a_scene_that_fits() -> None:
    tracked = tracker()
    output, depth = scene(6)
    assert tracked.carry(output, observe(depth, 100, 6)) is None
    tracked.measure(output, at(observe(depth, 200, 6), 0.0))
    nothing = observe(depth, 1, 6).take(np.zeros(1, bool))
    assert tracked.carry(output, nothing) is None


def test_reset_forgets() -> None:
    tracked = tracker()
    output, depth = scene(7)
    tracked.measure(output, observe(depth, 100, 7))
    tracked.reset()
    assert tracked.state is None


def test_one_distance_never_changes_the_shift() -> None:
    """A range sensor, or a flat wall: far surfaces must not run away while only one near distance is measured."""
    tracked = tracker()
    output, depth = scene(8, error=0.0)
    near = np.argwhere(np.abs(output - 0.6) < 0.03)[:, ::-1]
    rng = np.random.default_rng(8)
    for number in range(600):
        tracked.predict(number / 10)
        pixels = near[rng.integers(0, len(near), 40)]
        z = depth[pixels[:, 1], pixels[:, 0]] * np.exp(0.03 * rng.standard_normal())
        tracked.measure(
            output, References(pixels.astype(float), z, np.full(40, 0.03), np.zeros(40, bool), 0.03, number / 10)
        )
    assert tracked.state is not None
    assert abs(tracked.state.b) < 0.05
    assert 0.9 < float(np.exp(typical_log_depth(tracked))) * (A * 0.6 + B) < 1.1


def test_long_pause_saturates() -> None:
    tracked = tracker()
    output, depth = scene(9)
    tracked.measure(output, at(observe(depth, 200, 9), 0.0))
    tracked.predict(600.0)
    assert sigma(tracked) < 0.7
    assert tracked.state is not None
    assert math.sqrt(tracked.state.covariance[1, 1]) < 0.11


def test_scale_without_odometry_is_lost_after_five_seconds_whatever_it_is_held() -> None:
    """The documents of `scale.hold` say so."""
    tracked = tracker()
    for number in range(10):
        output, depth = scene(0)
        tracked.predict(number * PERIOD)
        tracked.measure(output, at(observe(depth, 100, number), number * PERIOD))
    sigmas = []
    for seconds in (4.0, 6.0):
        tracked.predict(9 * PERIOD + seconds)
        sigmas.append(sigma(tracked))
    assert sigmas[0] < MAX_SIGMA < sigmas[1]
