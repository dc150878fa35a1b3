"""Poses of odometry as drivers send them: repeated, out of order, at any rate, and again from the start."""

from __future__ import annotations

import numpy as np
import pytest

from depth_anything_ros.geometry.transform import Transform
from depth_anything_ros.processing.poses import TransformError, interpolate, with_pose

Poses = list[tuple[float, Transform]]


def at(position: float) -> Transform:
    return Transform(np.eye(3), np.array([position, 0.0, 0.0]))


def poses_of(times: np.ndarray | list[float], speed: float = 1.0) -> Poses:
    poses: Poses = []
    for time in times:
        poses = with_pose(poses, float(time), at(speed * time))
    return poses


def test_repeated_and_late_poses_do_no_harm() -> None:
    poses = poses_of([1.0, 1.1, 1.1, 1.3, 1.2, 1.3])
    assert [time for time, _ in poses] == [1.0, 1.1, 1.2, 1.3]
    assert interpolate(poses, 1.35).translation[0] == pytest.approx(1.35)
    assert interpolate(poses, 1.15).translation[0] == pytest.approx(1.15)


def test_velocity_is_not_that_of_two_poses_next_to_each_other() -> None:
    """The last two poses have 1 mm of noise and are 6 ms apart: a tenth of a second later, it would be 17 mm."""
    poses = with_pose(poses_of([1.0, 1.05, 1.1]), 1.106, at(1.107))
    assert interpolate(poses, 1.2).translation[0] == pytest.approx(1.2, abs=0.005)


def test_recording_that_starts_again_starts_again() -> None:
    poses = poses_of(np.arange(100, 140, 0.01))
    assert len(poses) == 2000
    for time in (100.0, 100.1, 100.2):
        poses = with_pose(poses, time, at(time - 50))
    assert interpolate(poses, 100.25).translation[0] == pytest.approx(50.25)
    with pytest.raises(TransformError, match="no pose as old"):
        interpolate(poses, 99.0)


def test_fast_odometry_reaches_back_as_far_as_a_slow_one() -> None:
    """A frame of a slow model on a CPU is seconds old."""
    poses = poses_of(np.arange(0, 12, 0.001))
    assert interpolate(poses, 4.0).translation[0] == pytest.approx(4.0)
