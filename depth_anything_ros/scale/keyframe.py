"""Carry metric depth to later frames by the camera's motion, while no reference arrives.

The motion comes from odometry, or from the images themselves.
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass

import numpy as np

from depth_anything_ros.geometry.camera import Camera
from depth_anything_ros.geometry.transform import Transform
from depth_anything_ros.scale.references import References
from depth_anything_ros.scale.sensor_points import from_points
from depth_anything_ros.scale.visual_odometry import MAX_DEPTH, VisualOdometry

STRIDE = 8
"""Step in rows and columns of the depth map between points."""
SURFACE_SIGMA = 0.02
"""Relative standard deviation of a carried point."""
MIN_OVERLAP = 0.5
"""Minimum share of visible points. Below it, the current frame becomes the keyframe."""


@dataclass(frozen=True)
class CarriedView:
    """A frame to which depth is carried.

    Attributes:
        camera: its intrinsics.
        time: seconds.
        pose: from the camera's optical frame to the fixed frame of the odometry; None without odometry.
        gray: uint8 (H, W), the image at the camera's size; None to do without visual odometry.
        odometry_sigma: relative standard deviation of the distance traveled.
    """

    camera: Camera
    time: float
    pose: Transform | None
    gray: np.ndarray | None
    odometry_sigma: float


class Keyframe:
    """The depth of a frame whose scale was measured.

    Its points are computed on first use, because most frames are replaced before.

    Args:
        log_depth: float32 (h, w), ln Z at every ``stride``-th pixel, the first one at ``stride`` // 2.
        stride: pixels of the depth map to one of ``log_depth``.
        camera: the camera of the depth map.
        pose: from the camera's optical frame to a fixed frame.
        sigma: relative standard deviation that all depths share.
    """

    def __init__(self, log_depth: np.ndarray, stride: int, camera: Camera, pose: Transform, sigma: float) -> None:
        self._log_depth, self._stride, self._camera = log_depth, stride, camera
        self._pose, self._sigma = pose, sigma

    @functools.cached_property
    def _points(self) -> np.ndarray:
        """The points in the fixed frame, float64 (N, 3)."""
        return self._pose.apply(self._own_points)

    @functools.cached_property
    def _own_points(self) -> np.ndarray:
        step = max(STRIDE // self._stride, 1)
        z = np.exp(self._log_depth[::step, ::step].astype(np.float64)).reshape(-1)
        first = self._stride // 2
        rows, columns = (first + self._stride * np.arange(0, side, step) for side in self._log_depth.shape)
        pixels = np.stack(np.meshgrid(columns, rows), axis=-1).reshape(-1, 2)
        known = np.isfinite(z) & (z < MAX_DEPTH)
        return self._camera.back_project(pixels[known], z[known])

    @functools.cached_property
    def _count(self) -> int:
        """Number of references that the points give in their own frame."""
        return len(from_points(self._own_points, self._camera))

    def seen_from(self, camera: Camera, pose: Transform, time: float, odometry_sigma: float) -> References:
        """Return the points as references of a later frame.

        Args:
            camera: the camera of the depth map.
            pose: from its optical frame then to the fixed frame.
            time: seconds.
            odometry_sigma: relative standard deviation of the distance that odometry reports.
        """
        known = from_points(pose.inverse().apply(self._points), camera, SURFACE_SIGMA, 0.0, time, "odometry")
        if not len(known):
            return known
        traveled = float(np.linalg.norm(pose.translation - self._pose.translation))
        common = math.hypot(self._sigma, odometry_sigma * traveled / float(np.median(known.depth)))
        return References(known.pixels, known.depth, known.sigma, known.is_bound, common, time, known.source)

    def overlap(self, known: References) -> float:
        """Return the share of the points that a later frame sees.

        Args:
            known: from `seen_from`.
        """
        return len(known) / max(self._count, 1)


class DepthCarrier:
    """Carries the latest measured depth to frames without a measurement."""

    def __init__(self) -> None:
        self._keyframe: Keyframe | None = None
        self._visual: VisualOdometry | None = None
        self._pose: Transform | None = None
        self._is_leaving = False

    def reset(self) -> None:
        """Drop the depth."""
        self._keyframe = self._visual = self._pose = None
        self._is_leaving = False

    def carry(self, view: CarriedView) -> References | None:
        """Return the kept depth as references of a frame; None if the motion since then is unknown.

        Args:
            view: the frame.
        """
        keyframe, visual = self._keyframe, self._visual
        if keyframe is None:
            return None
        self._pose = pose = view.pose if visual is None else self._tracked(visual, view)
        if pose is None:
            if visual is not None:  # tracking does not recover; odometry may
                self.reset()
            return None
        known = keyframe.seen_from(view.camera, pose, view.time, view.odometry_sigma)
        self._is_leaving = (visual is not None and visual.is_losing) or keyframe.overlap(known) < MIN_OVERLAP
        return known

    @staticmethod
    def _tracked(visual: VisualOdometry, view: CarriedView) -> Transform | None:
        if view.gray is None or view.camera != visual.camera:  # the size of the outputs may have changed
            return None
        return visual.track(view.gray)

    def keep(self, view: CarriedView, log_depth: np.ndarray, stride: int, sigma: float, is_measured: bool) -> None:
        """Keep the depth of a frame, if it was measured, or if the kept one is about to leave the view.

        Args:
            view: the frame.
            log_depth: float32 (h, w), ln Z at every ``stride``-th pixel.
            stride: pixels of the frame to one of ``log_depth``.
            sigma: relative standard deviation that all depths share.
            is_measured: whether the frame had a measurement.
        """
        if not is_measured and not self._is_leaving:
            return
        self._is_leaving = False
        pose, self._visual = view.pose, None
        if pose is None:
            if view.gray is None:
                return
            pose = Transform.identity() if is_measured or self._pose is None else self._pose
            self._visual = VisualOdometry(view.camera, view.gray, log_depth, stride, pose)
        self._keyframe = Keyframe(log_depth, stride, view.camera, pose, sigma)
