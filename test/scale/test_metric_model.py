"""The meters of a metric model, corrected by sensors: from its own scale a = 1, and back to it without references."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from scale_scenes import observe

from depth_anything_ros.geometry.camera import Camera
from depth_anything_ros.geometry.transform import Transform
from depth_anything_ros.processing.measured_scale import METRIC_SIGMA
from depth_anything_ros.scale.fit import Refusal, ScaleFit
from depth_anything_ros.scale.fit_problem import Prior
from depth_anything_ros.scale.kinds import KINDS
from depth_anything_ros.scale.metric_scale import MetricScale
from depth_anything_ros.scale.tracker import METRIC_RATE, ScaleTracker

METRIC = KINDS["metric"]
PRIOR = Prior(log_a_sigma=METRIC_SIGMA)
CAMERA = Camera(133, 95, 100.0, 100.0, 66.0, 47.0)
PERIOD = 0.1


def network_and_depth(seed: int, error: float = 0.08) -> tuple[np.ndarray, np.ndarray]:
    """The meters of a network, and the true ones: they differ over single blocks, and not on average."""
    rng = np.random.default_rng(seed)
    network, wrong = 0.5 * np.exp(2 * rng.random((5, 7))), np.exp(error * rng.standard_normal((5, 7)))
    return np.kron(network, np.ones((19, 19))).astype(np.float32), np.kron(network * wrong, np.ones((19, 19)))


def measured(tracked: ScaleTracker, factor: float, time: float, seed: int = 0) -> ScaleFit | Refusal:
    """References of a scene where depth is the network's times a factor."""
    output, depth = network_and_depth(seed)
    tracked.predict(time)
    return tracked.measure(output, replace(observe(factor * depth, 100, seed), time=time))


def log_a_and_sigma(tracked: ScaleTracker) -> tuple[float, float]:
    assert tracked.state is not None
    return tracked.state.log_a, tracked.state.sigma(METRIC)


def test_scale_is_that_of_the_model_before_any_measurement() -> None:
    tracked = ScaleTracker(METRIC, PRIOR)
    for time in (0.0, 100.0):
        tracked.predict(time)
        assert log_a_and_sigma(tracked) == (0.0, pytest.approx(METRIC_SIGMA))
    assert tracked.state is not None
    assert not tracked.state.is_measured
    assert ScaleTracker(METRIC, Prior()).state is None


@pytest.mark.parametrize("factor", [0.7, 1.0, 1.4])
def test_references_correct_the_meters_without_a_bias_toward_the_prior(factor: float) -> None:
    tracked = ScaleTracker(METRIC, PRIOR)
    errors = []
    for number in range(20):
        measured(tracked, factor, number * PERIOD, number)
        errors.append(log_a_and_sigma(tracked)[0] - math.log(factor))
    assert np.mean(errors[3:]) == pytest.approx(0.0, abs=0.02)
    assert log_a_and_sigma(tracked)[1] < 0.05


def test_error_is_honest_while_references_last_and_after_them() -> None:
    """ln a drifts as the filter assumes; the normalized squared error is near 1 at each age of the last reference."""
    ages = (0.0, 1.0, 5.0, 30.0)
    squared: dict[float, list[float]] = {age: [] for age in ages}
    for seed in range(50):
        rng = np.random.default_rng(seed)
        tracked, log_a, time = ScaleTracker(METRIC, PRIOR), METRIC_SIGMA * rng.standard_normal(), 0.0
        for number in range(8):
            time, log_a = time + PERIOD, drifted(log_a, PERIOD, rng)
            measured(tracked, math.exp(log_a), time, 10 * seed + number)
        for age, before in zip(ages, (0.0, *ages), strict=False):
            log_a = drifted(log_a, age - before, rng)
            tracked.predict(time + age)
            found, sigma = log_a_and_sigma(tracked)
            squared[age].append(((found - log_a) / sigma) ** 2)
    for age, values in squared.items():
        assert 0.5 < np.mean(values) < 2, age


def drifted(log_a: float, seconds: float, rng: np.random.Generator) -> float:
    """ln a after some seconds of a random walk that stays within the model's error."""
    kept = math.exp(-(METRIC_RATE**2) * seconds / METRIC_SIGMA**2)
    return log_a * math.sqrt(kept) + METRIC_SIGMA * math.sqrt(1 - kept) * rng.standard_normal()


def test_meters_return_to_the_model_s_without_a_step() -> None:
    tracked = ScaleTracker(METRIC, PRIOR)
    for number in range(10):
        measured(tracked, 0.7, number * PERIOD, number)
    history = [log_a_and_sigma(tracked)]
    for number in range(10, 800):
        tracked.predict(number * PERIOD)
        history.append(log_a_and_sigma(tracked))
    log_a, sigma = np.array(history).T
    assert np.all(np.diff(log_a) > 0)
    assert np.all(np.abs(np.diff(log_a)) < 0.5 * sigma[:-1])
    assert np.all(np.diff(sigma) > 0)
    assert log_a[87] == pytest.approx(log_a[0] / 2, rel=0.02)
    assert log_a[-1] == pytest.approx(0.0, abs=0.01)
    assert sigma[-1] == pytest.approx(METRIC_SIGMA, rel=0.02)


def test_error_that_references_share_fades_with_them() -> None:
    tracked = ScaleTracker(METRIC, PRIOR)
    output, depth = network_and_depth(0)
    tracked.measure(output, replace(observe(depth, 100, 0), common_sigma=0.2))
    assert log_a_and_sigma(tracked)[1] > 0.19
    tracked.predict(1000.0)
    assert log_a_and_sigma(tracked)[1] == pytest.approx(METRIC_SIGMA, rel=0.02)


def test_surprising_measurement_is_used_once_it_is_confirmed() -> None:
    """A model that is wrong by a factor of 3 in this place: more than three of its standard deviations."""
    tracked = ScaleTracker(METRIC, PRIOR)
    first = measured(tracked, 1 / 3, 0.0)
    assert isinstance(first, Refusal)
    assert "disagrees with the scale so far" in first.reason
    log_a, sigma = log_a_and_sigma(tracked)
    assert log_a == 0.0
    assert sigma > 0.3
    assert isinstance(measured(tracked, 1 / 3, 0.1, 1), ScaleFit)
    assert log_a_and_sigma(tracked)[0] == pytest.approx(-math.log(3), abs=0.1)
    assert abs(log_a_and_sigma(tracked)[0] - log_a) < 3 * sigma


def test_filter_says_why_it_has_only_the_model_and_forgets_on_reset() -> None:
    scaled = MetricScale(METRIC, PRIOR)
    output, depth = network_and_depth(0)
    assert scaled.update(output, CAMERA, 10.0).problem == "no measurement has arrived"
    scaled.add("points", 10.1, lambda *_: replace(observe(0.7 * depth, 200, 0), time=10.1))
    found = scaled.update(output, CAMERA, 10.1)
    assert found.scale is not None
    assert found.scale.a == pytest.approx(0.7, rel=0.05)
    scaled.reset()
    again = scaled.update(output, CAMERA, 10.2)
    assert (again.scale, again.residual, again.age) == (scaled.without_measurement("").scale, 0.0, math.inf)


def test_odometry_carries_the_correction_until_it_is_stopped() -> None:
    """The network's meters grow by 10 % while the camera stands: only carried depth tells."""
    scaled, still = MetricScale(METRIC, PRIOR), Transform.identity()
    output, depth = network_and_depth(1, error=0.0)
    scaled.add("points", 10.0, lambda *_: replace(observe(0.7 * depth, 200, 0), time=10.0))
    scaled.update(output, CAMERA, 10.0, still)
    carried = scaled.update(1.1 * output, CAMERA, 10.5, still)
    assert carried.is_carried
    assert carried.scale is not None
    assert carried.scale.a == pytest.approx(0.7 / 1.1, rel=0.02)
    scaled.stop_carrying()
    alone = scaled.update(output, CAMERA, 11.0, still)
    assert not alone.is_carried
    assert alone.scale is not None
    assert carried.scale.a < alone.scale.a < 0.7
