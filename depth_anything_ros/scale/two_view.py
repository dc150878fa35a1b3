"""References from motion: features tracked between two images, triangulated with the camera's known motion.

Every robot that moves has this source: wheel odometry, visual odometry or TF gives the baseline in meters. Standing
still or turning in place gives none, and then there is no reference.
"""

from __future__ import annotations

import math
from dataclasses import replace

import cv2
import numpy as np

from depth_anything_ros.geometry.camera import Camera
from depth_anything_ros.geometry.transform import Transform
from depth_anything_ros.scale.feature_tracks import find_features, track_features
from depth_anything_ros.scale.fit import Refusal
from depth_anything_ros.scale.references import References, references

FEATURES = 400
"""Features to track."""
SPACING = 12
"""Pixels between them, at least."""
TRACKING_SIGMA = 0.5
"""Pixels: standard deviation of a tracked position."""
MIN_PARALLAX = math.radians(0.7)
"""Smallest angle between the two rays of a point."""
MIN_POINTS = 12
"""Fewer triangulated points are not worth a reference."""
MIN_ACROSS = 0.2
"""Sine of the angle between a feature and the direction of travel."""
MIN_SHARE = 0.7
"""Share of these features that must have parallax: otherwise those with wrong parallax are chosen."""
MAX_EPIPOLAR_ERROR = 2.0
"""Pixels between a feature and its epipolar line; farther away, the feature moves by itself."""
MIN_BASELINE = 0.04
"""Meters. Below it, odometry's own noise is as large as the motion."""
BASELINE_NOISE = 0.01
"""Meters: standard deviation of a distance that odometry reports, however short."""
ROTATION_SIGMA = math.radians(1)
"""Standard deviation of odometry's rotation between two images, about each axis."""
DIRECTION_SIGMA = 0.1
"""Standard deviation of its direction, as a fraction of the distance."""
POSE_SIGMA = math.radians(1)
"""Share of it that remains after the features have refined it. Divided by the baseline, it is an error of 1 / depth."""
FIRST_PARALLAX = 0.06
"""Distance traveled, divided by depth, at the first measurement by a keyframe."""
MIN_GROWTH = 1.3
"""How much the parallax must grow until the same keyframe gives the next measurement: their errors are alike."""
MAX_PARALLAX = 0.25
"""Distance traveled, divided by depth, at which the current image becomes the keyframe."""
REFINEMENTS = 5
_DIFFERENCE = 1e-6


class MotionReferences:
    """Triangulates features between a keyframe and the current image.

    Args:
        camera: the camera of the images.
        baseline_sigma: relative standard deviation of the distance that odometry reports; an error that all references
            share.
    """

    def __init__(self, camera: Camera, baseline_sigma: float = 0.05) -> None:
        self._camera, self._baseline_sigma = camera, baseline_sigma
        self._latest: np.ndarray | None = None
        self._pose, self._parallax = Transform.identity(), 0.0
        self._keyframe_points = self._points = np.zeros((0, 2), np.float32)

    def add(self, gray: np.ndarray, pose: Transform, time: float, source: str = "motion") -> References | Refusal:
        """Track the features into an image, and triangulate them.

        Args:
            gray: uint8 (H, W).
            pose: from the camera's optical frame to a fixed frame (odom).
            time: seconds.
            source: the source's name.

        Returns:
            References in the pixels of ``gray``, or why there are none.
        """
        if self._latest is None or len(self._points) < 3 * MIN_POINTS:
            self._start(gray, pose)
            return Refusal("the first image of the motion")
        self._track(gray)
        to_current = pose.inverse() @ self._pose
        baseline = float(np.linalg.norm(to_current.translation))
        if baseline < MIN_BASELINE:
            return Refusal(f"the camera has moved {100 * baseline:.1f} cm, which is too little")
        to_current = refine_motion(self._camera, self._keyframe_points, self._points, to_current)
        found = triangulate(self._camera, self._keyframe_points, self._points, to_current)
        if found is None:
            self._renew_if_lost(gray, pose)
            return Refusal(
                "the motion gives no parallax: the camera turns, everything is far away or moves, or odometry and "
                "images disagree"
            )
        pixels, depth, sigma = found
        parallax = float(np.median(baseline / depth))
        if parallax < max(MIN_GROWTH * self._parallax, FIRST_PARALLAX):
            self._renew_if_lost(gray, pose)
            return Refusal(
                f"the camera has moved {100 * parallax:.0f} % of the distance to the scene, which is too little"
            )
        self._parallax = parallax
        self._renew_if_lost(gray, pose, wide=parallax > MAX_PARALLAX)
        known = references(pixels, depth, sigma, False, self._baseline_sigma, time, source)
        return replace(known, pose_sigma=BASELINE_NOISE / baseline, shift_sigma=POSE_SIGMA / baseline)

    def _start(self, gray: np.ndarray, pose: Transform) -> None:
        self._latest, self._pose, self._parallax = gray, pose, 0.0
        self._keyframe_points = self._points = find_features(gray, FEATURES, SPACING)

    def _renew_if_lost(self, gray: np.ndarray, pose: Transform, wide: bool = False) -> None:
        if wide or len(self._points) < FEATURES // 4:
            self._start(gray, pose)

    def _track(self, gray: np.ndarray) -> None:
        """Follow the features into an image."""
        latest = self._latest
        assert latest is not None
        self._latest = gray
        moved, is_kept = track_features(latest, gray, self._points)
        self._points, self._keyframe_points = moved[is_kept], self._keyframe_points[is_kept]


def refine_motion(camera: Camera, first: np.ndarray, second: np.ndarray, motion: Transform) -> Transform:
    """Return the motion that also fits the features; the distance traveled stays that of odometry.

    An error of 0.2 degrees in rotation (of a calibration, or a delay) is as large as the parallax of a far point.
    Rotation and direction are corrected by Gauss-Newton on the distances to the epipolar lines, with priors.

    Args:
        camera: Camera of both images.
        first: (N, 2), pixels in the first image.
        second: (N, 2), pixels in the second image.
        motion: from the first optical frame to the second, by odometry.
    """
    distance = float(np.linalg.norm(motion.translation))
    rays_first = camera.back_project(first, np.ones(len(first)))
    rays_second = camera.back_project(second, np.ones(len(second)))
    focal = 0.5 * (camera.fx + camera.fy)
    prior = np.repeat([ROTATION_SIGMA, DIRECTION_SIGMA], 3)
    delta, best = np.zeros(6), motion

    def moved(delta: np.ndarray) -> Transform:
        turn = cv2.Rodrigues(delta[:3])[0]
        direction = motion.translation / distance + delta[3:]
        return Transform(turn @ motion.rotation, distance * direction / np.linalg.norm(direction))

    def errors(delta: np.ndarray) -> np.ndarray:
        return focal * _epipolar_distance(rays_first, rays_second, moved(delta)) / TRACKING_SIGMA

    for _ in range(REFINEMENTS):
        r = errors(delta)
        jacobian = np.stack([(errors(delta + step) - r) / _DIFFERENCE for step in _DIFFERENCE * np.eye(6)], axis=1)
        weights = 1 / (1 + (r / 3) ** 2) ** 2
        hessian = (jacobian.T * weights) @ jacobian + np.diag(prior**-2)
        delta = delta - np.linalg.solve(hessian, (jacobian.T * weights) @ r + delta / prior**2)
        best = moved(delta)
    return best


def _epipolar_distance(first: np.ndarray, second: np.ndarray, motion: Transform) -> np.ndarray:
    """Return the distance of each second ray from the plane of the first one and the baseline (Sampson), at z = 1."""
    x, y, z = motion.translation
    essential = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]]) @ motion.rotation
    lines, back = first @ essential.T, second @ essential
    size = np.sqrt(lines[:, 0] ** 2 + lines[:, 1] ** 2 + back[:, 0] ** 2 + back[:, 1] ** 2)
    return np.sum(second * lines, axis=1) / np.maximum(size, 1e-12)


def triangulate(
    camera: Camera, first: np.ndarray, second: np.ndarray, to_second: Transform
) -> tuple[np.ndarray, np.ndarray, np.ndarray] | None:
    """Return the depths of features seen from two places.

    Args:
        camera: Camera of both images.
        first: (N, 2), pixels in the first image.
        second: (N, 2), pixels in the second image.
        to_second: from the first optical frame to the second.

    Returns:
        Pixels (M, 2) in the second image, depths (M,) there in meters, and relative standard deviations (M,); None if
        fewer than `MIN_POINTS` features, or than `MIN_SHARE` of them, have parallax and obey the epipolar constraint.
    """
    rays_first = to_second.rotation @ camera.back_project(first, np.ones(len(first))).T
    rays_second = camera.back_project(second, np.ones(len(second))).T
    baseline, focal = to_second.translation, 0.5 * (camera.fx + camera.fy)
    # Z2 r2 = Z1 R r1 + t, least squares in Z1 and Z2.
    ff, ss = np.sum(rays_first**2, axis=0), np.sum(rays_second**2, axis=0)
    fs = np.sum(rays_first * rays_second, axis=0)
    fb, sb = baseline @ rays_first, baseline @ rays_second
    with np.errstate(divide="ignore", invalid="ignore"):
        determinant = ff * ss - fs**2
        z_first, z_second = (fs * sb - ss * fb) / determinant, (ff * sb - fs * fb) / determinant
        parallax = np.arcsin(np.sqrt(np.clip(determinant / (ff * ss), 0, 1)))
        middle = (z_first * rays_first).T + baseline
        miss = np.linalg.norm(camera.project(middle) - second, axis=1)
        good = (z_first > 0) & (z_second > 0) & (parallax > MIN_PARALLAX) & (miss < MAX_EPIPOLAR_ERROR)
    # A feature near the direction of travel has no parallax. Which features those are must not depend on the depth that
    # is found: the wrong ones would be chosen.
    across = np.linalg.norm(np.cross(rays_second.T, baseline), axis=1) / np.sqrt(ss) / np.linalg.norm(baseline)
    candidates = across > MIN_ACROSS
    good &= candidates
    if good.sum() < max(MIN_POINTS, MIN_SHARE * candidates.sum()):
        return None
    sigma = np.hypot(math.sqrt(2) * TRACKING_SIGMA / focal / parallax[good], 0.01)
    return second[good].astype(np.float64), z_second[good], sigma
