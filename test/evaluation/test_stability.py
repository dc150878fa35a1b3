"""Drift, flicker and temporal alignment on a moving camera in front of known surfaces."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from depth_anything_ros.evaluation.stability import TimedDepth, flicker, scale_drift, temporal_alignment_error
from depth_anything_ros.geometry.camera import Camera

CAMERA = Camera(80, 60, 70.0, 70.0, 39.5, 29.5)


def frame(distance: float, time: float = 0.0, sideways: float = 0.0, factor: float = 1.0) -> TimedDepth:
    """A wall across the optical axis; the camera has moved toward it and sideways."""
    true = np.full((60, 80), distance)
    pose = np.eye(4)
    pose[:3, 3] = sideways, 0.0, 5.0 - distance
    return TimedDepth(factor * true, true, CAMERA, time, pose)


def test_drift_is_the_slope_of_the_scale():
    times = np.arange(0, 30, 0.5)
    per_second = np.log(1.05) / 60
    scales = 0.2 + per_second * times
    assert scale_drift(times, scales) == pytest.approx(5.0)
    scales[7] = 3.0  # one failed frame
    assert scale_drift(times, scales) == pytest.approx(5.0)
    assert scale_drift(times[::-1], scales[::-1]) == pytest.approx(5.0)
    assert scale_drift([1.0], [0.1]) is None
    assert scale_drift([1.0, 1.0], [0.1, 0.3]) is None
    many = np.arange(5000) / 10
    assert scale_drift(many, per_second * many) == pytest.approx(5.0)


def test_log_scale_corrects_the_prediction():
    assert frame(4.0, factor=0.5).log_scale == pytest.approx(np.log(2))


def test_consistent_depth_neither_flickers_nor_misaligns():
    first, second = frame(4.0), frame(3.8, 0.1, 0.2)
    assert flicker(first, second) == pytest.approx(0, abs=1e-9)
    assert temporal_alignment_error(first, second) == pytest.approx(0, abs=1e-9)
    # A constant wrong scale is no flicker, but the moved depth disagrees: 1.2 * 4 - 0.2 against 1.2 * 3.8.
    first, second = (replace(item, predicted=1.2 * item.true) for item in (first, second))
    assert flicker(first, second) == pytest.approx(0, abs=1e-9)
    forward, backward = abs(4.8 - 0.2 - 4.56) / 4.56, abs(4.56 + 0.2 - 4.8) / 4.8
    assert temporal_alignment_error(first, second) == pytest.approx(50 * (forward + backward))


def test_change_of_scale_is_flicker_of_its_size():
    first, second = frame(4.0), frame(4.0, 0.1, factor=1.03)
    assert flicker(first, second) == pytest.approx(100 * np.log(1.03))
    assert temporal_alignment_error(first, second) == pytest.approx(50 * (0.03 / 1.03 + 0.03))


def test_noise_of_each_frame_is_flicker():
    rng = np.random.default_rng(0)
    first, second = (
        replace(item, predicted=item.true * np.exp(0.02 * rng.standard_normal(item.true.shape)))
        for item in (frame(4.0), frame(4.0, 0.1))
    )
    assert flicker(first, second) == pytest.approx(2 * np.sqrt(2), rel=0.05)


def test_moving_things_are_not_static():
    first, second = frame(4.0), frame(4.0, 0.1)
    true, predicted = second.true.copy(), second.predicted.copy()
    true[20:40, 20:40] = 2.0  # somebody steps in, and the prediction follows late
    predicted[20:40, 20:40] = 3.0
    second = replace(second, true=true, predicted=predicted)
    assert flicker(first, second) == pytest.approx(0, abs=1e-9)


def test_without_poses_flicker_is_the_median_change():
    first, second = frame(4.0), frame(4.0, factor=1.1)
    predicted = second.predicted.copy()
    predicted[:20] = 9.0
    first, second = replace(first, pose=None), replace(second, predicted=predicted)
    assert flicker(first, second) == pytest.approx(100 * np.log(1.1))
    assert temporal_alignment_error(first, second) is None


def test_frames_that_share_nothing_have_no_value():
    first, second = frame(4.0), frame(4.0, sideways=50.0)
    assert flicker(first, second) is None
    assert temporal_alignment_error(first, second) is None
