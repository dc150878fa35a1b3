"""The camera's motion since an image of known depth, from features tracked in the images.

It is metric because the depth is, so it carries a measured scale along without wheels or another sensor. It measures
no scale itself: see `two_view` for that.
"""

from __future__ import annotations

import cv2
import numpy as np

from depth_anything_ros.geometry.camera import Camera
from depth_anything_ros.geometry.transform import Transform
from depth_anything_ros.scale.feature_tracks import find_features, track_features

FEATURES = 120
"""Features to track."""
SPACING = 20
"""Pixels between them, at least."""
MIN_FEATURES = 12
"""Fewer give no motion."""
MIN_SHARE = 0.4
"""Share of the features at the start; with fewer, it is time to start again."""
MAX_DEPTH = 1000.0
"""Meters. Farther points do not move in the image."""
MAX_ERROR = 3.0
"""Pixels between a feature and the projection of its point; farther away, it moves by itself or its depth is wrong."""


class VisualOdometry:
    """Follows the camera from one image of known depth.

    Args:
        camera: Camera of the images.
        gray: uint8 (H, W), the image.
        log_depth: float32 (h, w), ln Z at every ``stride``-th pixel, the first one at ``stride`` // 2.
        stride: pixels of the image to one of ``log_depth``.
        pose: from the camera's optical frame to a fixed frame.

    Attributes:
        camera: Camera of the images.
    """

    def __init__(self, camera: Camera, gray: np.ndarray, log_depth: np.ndarray, stride: int, pose: Transform) -> None:
        self.camera, self._latest, self._pose = camera, gray, pose
        self._log_depth: np.ndarray | None = log_depth
        self._stride = stride
        self._pixels, self._points, self._count = np.zeros((0, 2), np.float32), np.zeros((0, 3)), 0

    def track(self, gray: np.ndarray) -> Transform | None:
        """Return the pose of the camera at a later image; None if too few features are left.

        Args:
            gray: uint8 (H, W).
        """
        self._find()
        latest, self._latest = self._latest, gray
        moved, is_kept = track_features(latest, gray, self._pixels)
        self._pixels, self._points = moved[is_kept], self._points[is_kept]
        if len(self._pixels) < MIN_FEATURES:
            return None
        camera = self.camera
        intrinsics = np.array([[camera.fx, 0, camera.cx], [0, camera.fy, camera.cy], [0, 0, 1]])
        guess = self._pose.inverse()
        turn, shift = cv2.Rodrigues(guess.rotation)[0], guess.translation.reshape(3, 1).copy()
        pixels = self._pixels.astype(np.float64)
        is_found, turn, shift, inliers = cv2.solvePnPRansac(
            self._points, pixels, intrinsics, None, turn, shift, True, 60, MAX_ERROR, 0.99
        )
        if not is_found or inliers is None or len(inliers) < MIN_FEATURES:
            return None
        agree = inliers.ravel()
        turn, shift = cv2.solvePnPRefineLM(self._points[agree], pixels[agree], intrinsics, None, turn, shift)
        self._pose = Transform(cv2.Rodrigues(turn)[0], shift.ravel()).inverse()
        return self._pose

    @property
    def is_losing(self) -> bool:
        """Whether so few features are left that it is time to start again from a later image."""
        return len(self._pixels) < MIN_SHARE * self._count

    def _find(self) -> None:
        """Find the features of the first image, once they are needed."""
        log_depth, self._log_depth = self._log_depth, None
        if log_depth is None:
            return
        pixels = find_features(self._latest, FEATURES, SPACING)
        index = np.rint((pixels - self._stride // 2) / self._stride).astype(np.intp)
        columns, rows = np.clip(index[:, 0], 0, log_depth.shape[1] - 1), np.clip(index[:, 1], 0, log_depth.shape[0] - 1)
        z = np.exp(log_depth[rows, columns].astype(np.float64))
        known = np.isfinite(z) & (z > 0) & (z < MAX_DEPTH)
        self._pixels, self._count = pixels[known], int(known.sum())
        self._points = self._pose.apply(self.camera.back_project(pixels[known].astype(np.float64), z[known]))
