"""The search for the rotation, or the shift, at which a sensor's measurements agree best with the images."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from depth_anything_ros.geometry.camera import Camera
from depth_anything_ros.geometry.transform import Transform
from depth_anything_ros.scale.calibration import FrameFit
from depth_anything_ros.scale.kinds import ScaleKind
from depth_anything_ros.scale.shape_agreement import Blocks, log_map, misfits

MAX_ROTATION = 3.0
"""Degrees about each axis: the largest rotation tried."""
MIN_SIGMA = 0.05
"""Degrees: smallest standard deviation of an angle."""
UNIT = 0.1
"""Degrees of one step of the finest search."""
LIMIT = round(MAX_ROTATION / UNIT)
"""Steps of the largest rotation."""
_SIZES = (16, 8, 4, 2, 1)
_NEIGHBOR = 4
"""Steps to the neighbors of the best rotation, for the parabola through them."""
_QUARTERS = 4
_MIN_SHARE = 0.2
"""Smallest share of the references in one half of the image, for a comparison with the other half."""
_SHIFT_RANGES = np.geomspace(0.3, 3.0, 13)
"""Distances, relative to the median, at which a shift is tried that equals the best rotation there."""
Steps = tuple[int, int, int]
"""Angles about x, y and z, in steps of `UNIT`."""


def rotation_of(degrees: np.ndarray) -> np.ndarray:
    """Return the rotation matrix of angles about x, y and z in degrees, float64 (3, 3)."""
    return cv2.Rodrigues(np.radians(np.asarray(degrees, np.float64)))[0]


@dataclass(frozen=True)
class SearchFrame:
    """One frame of the search.

    Attributes:
        log_depths: float32 (H, W), ln of the network's depth.
        camera: Camera of ``log_depths``.
        origin: (3,), the sensor's position in the camera's frame, meters.
        points: float64 (N, 3), the sensor's points there.
        blocks: Blocks of the image, of each point.
        quarters: int (N,), of the image, of each point.
    """

    log_depths: np.ndarray
    camera: Camera
    origin: np.ndarray
    points: np.ndarray
    blocks: Blocks
    quarters: np.ndarray

    @classmethod
    def of(cls, kind: ScaleKind, one: FrameFit) -> SearchFrame:
        """Return a frame for the search.

        Args:
            kind: how the output becomes depth.
            one: the frame.
        """
        known, camera = one.known.take(~one.known.is_bound), one.frame.camera
        points = camera.back_project(known.pixels, known.depth)
        is_lower, is_right = known.pixels[:, 1] > camera.height / 2, known.pixels[:, 0] > camera.width / 2
        blocks = Blocks.of(known.pixels, camera.width, camera.height)
        origin = one.measurement.to_camera.translation
        return cls(log_map(kind, one), camera, origin, points, blocks, 2 * is_lower.astype(int) + is_right)

    def sums(self, motion: Transform) -> np.ndarray:
        """Return the sum of the misfits in each quarter of the image and their number, float64 (quarters, 2).

        ``motion``: of the points, about the sensor's position.
        """
        turned = motion.apply(self.points - self.origin) + self.origin
        turned = np.where(turned[:, 2:] > 0.01, turned, np.nan)
        errors = misfits(self.log_depths, self.camera.project(turned), np.log(turned[:, 2]), self.blocks)
        seen = np.isfinite(errors)
        total = np.bincount(self.quarters[seen], errors[seen], _QUARTERS)
        return np.stack([total, np.bincount(self.quarters[seen], minlength=_QUARTERS)], axis=1)


def _mean(sums: np.ndarray) -> float:
    """Return the mean misfit from sums and numbers, float64 (N, 2)."""
    total, count = sums.sum(axis=0)
    return float(total / count) if count else math.inf


class Search:
    """The misfits of all frames by the rotation, kept for the rotations that were tried.

    Args:
        frames: Frames of the recording, in the order of time.

    Attributes:
        all: bool (frames, quarters), all True.
    """

    def __init__(self, frames: Sequence[SearchFrame]) -> None:
        self._frames = frames
        self._tried: dict[Steps, np.ndarray] = {}
        self.all = np.ones((len(frames), _QUARTERS), bool)

    def mean(self, steps: Steps, chosen: np.ndarray) -> float:
        """Return the mean misfit of a reference after a rotation.

        Args:
            steps: the rotation, in steps of `UNIT`.
            chosen: bool (frames, quarters), those that count.
        """
        return _mean(self._sums(steps)[chosen])

    def mean_of(self, motion: Transform, chosen: np.ndarray) -> float:
        """Return the mean misfit of a reference after any motion.

        Args:
            motion: Motion of the points.
            chosen: bool (frames, quarters), those that count.
        """
        return _mean(self._sums_of(motion)[chosen])

    def shift_instead(self, steps: Steps) -> tuple[np.ndarray, float]:
        """Return the best shift to the side that looks like a rotation, and by how much it is better, relative.

        The advantage is that of the half of the recording where it is smaller. A rotation about z has no equivalent
        shift.

        Args:
            steps: the rotation, in steps of `UNIT`.

        Returns:
            Meters, float64 (3,), and the relative advantage over the rotation.
        """
        x, y, z = np.radians(UNIT * np.array(steps, np.float64))
        if z:
            return np.zeros(3), -math.inf
        typical = float(np.median(np.concatenate([frame.points[:, 2] for frame in self._frames])))
        shifts = [distance * typical * np.array([y, -x, 0.0]) for distance in _SHIFT_RANGES]
        sums = [self._sums_of(Transform(np.eye(3), shift)) for shift in shifts]
        best = int(np.argmin([_mean(one[self.all]) for one in sums]))
        halves = [np.broadcast_to(half, self.all.shape) for half in (self._early, ~self._early)]
        return shifts[best], min(1 - _mean(sums[best][half]) / max(self.mean(steps, half), 1e-9) for half in halves)

    @property
    def _early(self) -> np.ndarray:
        """Whether a frame is of the first half of the recording, bool (frames, 1)."""
        return np.arange(len(self._frames))[:, np.newaxis] < len(self._frames) / 2

    def best(self, chosen: np.ndarray) -> Steps:
        """Return the best rotation, in steps of `UNIT`, by a search along the axes."""
        at = (0, 0, 0)
        for size in _SIZES:
            has_moved = True
            while has_moved:
                around = [at, *(self._moved(at, axis, sign * size) for axis in range(3) for sign in (-1, 1))]
                lowest = min(around, key=lambda steps: self.mean(steps, chosen))
                has_moved, at = lowest != at, lowest
        return at

    def refined(self, at: Steps, chosen: np.ndarray) -> np.ndarray:
        """Return the angles at the minima of parabolas through the neighbors of a rotation, degrees, float64 (3,).

        Args:
            at: the rotation, in steps of `UNIT`.
            chosen: bool (frames, quarters), those that count.
        """
        return np.array([self._refined(at, axis, chosen) for axis in range(3)])

    def sigma(self) -> np.ndarray:
        """Return the standard deviation of the best angles in degrees, float64 (3,), from halves of the recording.

        The recording is halved in time, and the image into upper and lower, left and right halves. A network's error is
        the same in all frames of one view, but differs within the image.
        """
        is_upper, is_left = np.array([True, True, False, False]), np.array([True, False, True, False])
        largest = np.full(3, MIN_SIGMA)
        for half in (self._early, is_upper, is_left):
            parts = [np.broadcast_to(part, self.all.shape) for part in (half, ~half)]
            counts = [self._sums((0, 0, 0))[part][:, 1].sum() for part in parts]
            if min(counts) < _MIN_SHARE * sum(counts):
                continue  # a planar scan is in one half of the image
            first, second = (self.refined(self.best(part), part) for part in parts)
            largest = np.maximum(largest, np.abs(first - second) / 2)
        return largest

    def _sums(self, steps: Steps) -> np.ndarray:
        """Return sums and numbers of the misfits, float64 (frames, quarters, 2)."""
        if steps not in self._tried:
            motion = Transform(rotation_of(UNIT * np.array(steps)), np.zeros(3))
            self._tried[steps] = self._sums_of(motion)
        return self._tried[steps]

    def _sums_of(self, motion: Transform) -> np.ndarray:
        return np.array([frame.sums(motion) for frame in self._frames])

    def _moved(self, at: Steps, axis: int, step: int) -> Steps:
        moved = list(at)
        moved[axis] = min(max(moved[axis] + step, -LIMIT), LIMIT)
        return moved[0], moved[1], moved[2]

    def _refined(self, at: Steps, axis: int, chosen: np.ndarray) -> float:
        low, here, high = (self.mean(self._moved(at, axis, move), chosen) for move in (-_NEIGHBOR, 0, _NEIGHBOR))
        curvature = low - 2 * here + high
        shift = 0.5 * _NEIGHBOR * (low - high) / curvature if curvature > 1e-9 else 0.0
        return UNIT * (at[axis] + min(max(shift, -_NEIGHBOR / 2), _NEIGHBOR / 2))
