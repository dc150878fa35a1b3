"""The camera's poses over time, from nav_msgs/Odometry or TF: interpolation between them."""

from __future__ import annotations

from bisect import bisect_left
from typing import Any

import numpy as np

from depth_anything_ros.geometry.transform import Transform

EXTRAPOLATION = 0.1
"""Seconds after the latest pose for which velocities are taken as constant."""
MAX_GAP = 0.5
"""Seconds between two poses, above which the motion in between is unknown."""

POSES = 2000
"""Poses that are kept."""
SPACING = 0.005
"""Seconds between two poses that are kept, at least: the frames of a slow model are seconds old."""
MIN_SPAN = 0.02
"""Seconds between the two poses that tell the velocity after the latest one, if there are such."""
JUMP = 1.0
"""Seconds by which a pose is older than the latest one, if a recording has started again."""


class TransformError(LookupError):
    """The transform between two frames is unknown; the message says why, and what to do."""


def pose_of(message: Any) -> Transform | None:
    """Return the pose of a nav_msgs/Odometry; None if it holds none yet."""
    position, orientation = message.pose.pose.position, message.pose.pose.orientation
    quaternion = (orientation.x, orientation.y, orientation.z, orientation.w)
    try:
        pose = Transform.from_quaternion(quaternion, (position.x, position.y, position.z))
    except ValueError:
        return None
    return pose if np.isfinite(pose.translation).all() else None


def with_pose(poses: list[tuple[float, Transform]], time: float, pose: Transform) -> list[tuple[float, Transform]]:
    """Return poses with one more, in order of time, as a new list.

    Args:
        poses: times in seconds and poses, in order of time.
        time: seconds. A pose within `SPACING` of another is left out; one `JUMP` older than the latest starts again.
        pose: the pose.
    """
    if poses and time < poses[-1][0] - JUMP:
        return [(time, pose)]
    index = bisect_left(poses, time, key=lambda item: item[0])
    if any(abs(near - time) < SPACING for near, _ in poses[max(index - 1, 0) : index + 1]):
        return poses
    return [*poses[:index], (time, pose), *poses[index:]][-POSES:]


def interpolate(poses: list[tuple[float, Transform]], time: float) -> Transform:
    """Return the pose at a time, with constant velocities between two poses and shortly after the last one.

    Args:
        poses: times in seconds and poses, in order of time without repetition (`with_pose`); at least one.
        time: seconds.

    Raises:
        TransformError: there is no pose close to that time.
    """
    index = bisect_left(poses, time, key=lambda item: item[0])
    if index < len(poses) and poses[index][0] == time:
        return poses[index][1]
    if index == 0:
        raise TransformError("the odometry has no pose as old as the image")
    latest = min(index, len(poses) - 1)
    before = latest - 1
    if index == len(poses):
        if time - poses[-1][0] > EXTRAPOLATION:
            raise TransformError(f"the latest pose of the odometry is {time - poses[-1][0]:.2f} s older than the image")
        if len(poses) == 1:
            return poses[0][1]
        while before and poses[latest][0] - poses[before][0] < MIN_SPAN:
            before -= 1
    (start, first), (end, second) = poses[before], poses[latest]
    if end - start > MAX_GAP:
        raise TransformError(f"the odometry has a gap of {end - start:.2f} s at the time of the image")
    share = (time - start) / (end - start)
    rotations, translations = (first.inverse() @ second).fraction(np.array([share]))
    return first @ Transform(rotations[0], translations[0])
