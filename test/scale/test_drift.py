"""How fast a network's scale changes, from the fits to the frames of a recording."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scale_scenes import A, B

from depth_anything_ros.geometry.camera import Camera
from depth_anything_ros.geometry.transform import Transform
from depth_anything_ros.scale.calibration import Frame, FrameFit, Measurement, fit_frames
from depth_anything_ros.scale.drift import MIN_RATE, drift_of
from depth_anything_ros.scale.fit_problem import Prior
from depth_anything_ros.scale.kinds import KINDS
from depth_anything_ros.scale.references import References, references
from depth_anything_ros.scale.tracker import ScaleTracker

INVERSE = KINDS["inverse_affine"]
CAMERA = Camera(133, 95, 100.0, 100.0, 66.0, 47.0)
IMAGE = np.zeros((95, 133, 3), np.uint8)
PERIOD = 0.1


def fits_of(rate: float, seed: int, count: int = 150, noise: float = 0.02, period: float = PERIOD) -> list[FrameFit]:
    """Fits to frames of one view; ln a is a random walk, and the references have a noise of their own."""
    rng = np.random.default_rng(seed)
    output = np.kron(0.2 + 0.8 * rng.random((5, 7)), np.ones((19, 19)))
    log_a = np.cumsum(rate * math.sqrt(period) * rng.standard_normal(count))
    frames, measurements = [], []
    for number in range(count):
        time = number * period
        pixels = np.stack([rng.integers(0, 133, 60), rng.integers(0, 95, 60)], axis=1)
        shared = noise * rng.standard_normal()
        depth = np.exp(shared) / (A * output[pixels[:, 1], pixels[:, 0]] + B)
        known = references(pixels, depth, 0.02, time=time)
        values = ((output + B / A) * math.exp(-log_a[number]) - B / A).astype(np.float32)
        frames.append(Frame(time, values, CAMERA, IMAGE))
        measurements.append(Measurement(time, Transform.identity(), lambda _, known=known: known))
    fits, _ = fit_frames(INVERSE, frames, measurements)
    return fits


@pytest.mark.parametrize("rate", [0.08, 0.25])
def test_rate_is_that_of_the_walk_whatever_the_noise(rate: float) -> None:
    found = [drift_of(INVERSE, fits_of(rate, seed)).rate for seed in range(6)]
    assert None not in found
    assert math.sqrt(np.mean(np.square(found))) == pytest.approx(rate, rel=0.25)


def test_noise_alone_is_no_drift() -> None:
    found = drift_of(INVERSE, fits_of(0.0, 1, noise=0.05))
    assert found.rate is not None
    assert MIN_RATE <= found.rate < 0.04


@pytest.mark.parametrize(("count", "period"), [(4, 0.1), (40, 5.0), (40, 1.5)])
def test_frames_that_are_few_or_far_apart_tell_nothing(count: int, period: float) -> None:
    found = drift_of(INVERSE, fits_of(0.2, 0, count, period=period))
    assert found.rate is None
    assert "take more frames, or a shorter part" in found.text


def test_error_of_a_held_scale_grows_at_the_rate_of_the_record() -> None:
    known: References = fits_of(0.0, 0, 1)[0].known
    output = fits_of(0.0, 0, 1)[0].frame.values
    sigmas, shifts = [], []
    for rate in (None, 0.05, 0.25):
        tracked = ScaleTracker(INVERSE, Prior(), rate)
        tracked.measure(output, known)
        state = tracked.predict(1.0)
        assert state is not None
        sigmas.append(state.covariance[0, 0] ** 0.5)
        shifts.append(state.covariance[1, 1] ** 0.5)
    assert sigmas[0] == sigmas[2]
    assert sigmas[1] < 0.5 * sigmas[2]
    assert shifts[0] == shifts[2]
    assert shifts[1] < 0.8 * shifts[2]
