"""Rigid transforms between frames, and their interpolation over time."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Transform:
    """Maps points of one frame to another: p' = R p + t.

    >>> turn = Transform.from_quaternion([0, 0, 0, 1], [1.0, 2.0, 3.0])
    >>> turn.apply(np.zeros((1, 3))).tolist()
    [[1.0, 2.0, 3.0]]

    Attributes:
        rotation: float64 (3, 3).
        translation: float64 (3,), meters.
    """

    rotation: np.ndarray
    translation: np.ndarray

    @classmethod
    def identity(cls) -> Transform:
        """Return the transform that changes nothing."""
        return cls(np.eye(3), np.zeros(3))

    @classmethod
    def from_matrix(cls, matrix: np.ndarray) -> Transform:
        """Return the transform of a homogeneous matrix (3, 4) or (4, 4)."""
        matrix = np.asarray(matrix, np.float64)
        return cls(matrix[:3, :3], matrix[:3, 3])

    @classmethod
    def from_quaternion(cls, quaternion: Sequence[float], translation: Sequence[float]) -> Transform:
        """Return the transform of a ROS pose.

        Args:
            quaternion: x, y, z, w; of any length but 0.
            translation: x, y, z in meters.

        Raises:
            ValueError: the quaternion is zero or not finite.
        """
        x, y, z, w = (float(value) for value in quaternion)
        norm = math.sqrt(x * x + y * y + z * z + w * w)
        if not (math.isfinite(norm) and norm > 1e-6):
            raise ValueError(f"quaternion ({x}, {y}, {z}, {w}) is no rotation")
        x, y, z, w = x / norm, y / norm, z / norm, w / norm
        rotation = np.array(
            [
                [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
                [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
                [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
            ]
        )
        return cls(rotation, np.asarray(translation, np.float64))

    def apply(self, points: np.ndarray) -> np.ndarray:
        """Return points (..., 3) in the other frame."""
        return points @ self.rotation.T + self.translation

    def inverse(self) -> Transform:
        """Return the transform back."""
        return Transform(self.rotation.T, -self.rotation.T @ self.translation)

    def __matmul__(self, first: Transform) -> Transform:
        """Return the transform that applies ``first``, then this one."""
        return Transform(self.rotation @ first.rotation, self.rotation @ first.translation + self.translation)

    @property
    def angle(self) -> float:
        """Angle of the rotation in radians."""
        return math.acos(min(max((np.trace(self.rotation) - 1) / 2, -1.0), 1.0))

    @property
    def quaternion(self) -> tuple[float, float, float, float]:
        """The rotation as x, y, z, w."""
        # The quaternion is the eigenvector of the largest eigenvalue (Bar-Itzhack 2000), for any angle.
        (xx, xy, xz), (yx, yy, yz), (zx, zy, zz) = self.rotation
        matrix = np.array(
            [
                [xx - yy - zz, xy + yx, xz + zx, zy - yz],
                [xy + yx, yy - xx - zz, yz + zy, xz - zx],
                [xz + zx, yz + zy, zz - xx - yy, yx - xy],
                [zy - yz, xz - zx, yx - xy, xx + yy + zz],
            ]
        )
        x, y, z, w = np.linalg.eigh(matrix)[1][:, -1]
        sign = -1.0 if w < 0 else 1.0
        return float(sign * x), float(sign * y), float(sign * z), float(sign * w)

    def fraction(self, share: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return parts of this motion: constant angular and linear velocity.

        Args:
            share: (N,), 0 for none of the motion, 1 for all of it; beyond, it is extrapolated.

        Returns:
            Rotations (N, 3, 3) and translations (N, 3).
        """
        share = np.asarray(share, np.float64).reshape(-1)
        translations = share[:, np.newaxis] * self.translation
        angle = self.angle
        if angle < 1e-9:
            return np.broadcast_to(np.eye(3), (len(share), 3, 3)), translations
        skew = (self.rotation - self.rotation.T) / (2 * math.sin(angle))
        angles = (share * angle)[:, np.newaxis, np.newaxis]
        rotations = np.eye(3) + np.sin(angles) * skew + (1 - np.cos(angles)) * (skew @ skew)
        return rotations, translations

    def apply_fraction(self, share: np.ndarray, points: np.ndarray) -> np.ndarray:
        """Return each point after a part of this motion, (N, 3); as `fraction`, without a matrix for each.

        Args:
            share: (N,), see `fraction`.
            points: (N, 3).
        """
        moved = np.array(points.T, np.float64, order="C")  # rows of x, y and z are faster than points of three numbers
        angle = self.angle
        if angle >= 1e-9:
            skew = (self.rotation - self.rotation.T) / (2 * math.sin(angle))
            across = skew @ moved
            moved += (1 - np.cos(share * angle)) * (skew @ across) + np.sin(share * angle) * across
        moved += np.outer(self.translation, share)
        return moved.T
