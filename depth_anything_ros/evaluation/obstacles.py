"""False and missed obstacles: voxels that predicted and true depth occupy, compared where both sensors can see.

Only pixels with known true depth count, and each gives one true and one predicted point on the same ray. A voxel is
occupied if at least ``min_points`` points lie in it. A voxel has a match if the other cloud occupies it or one of its
26 neighbors. Of the voxels without a match,

- a true one is *missed* if the prediction sees through it: at least ``min_points`` of its pixels have a predicted point
  that is farther along the ray by more than a voxel. A robot that trusts the prediction would drive into it.
- a predicted one is *false* if the truth sees through it in the same way. The robot would stop for nothing.
- the others are hidden behind a nearer point of the other cloud. They are unknown there, and not counted.

A height band limits which voxels are counted, but not what they can match.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from depth_anything_ros.geometry.camera import Camera

RANGE_EDGES = (0.0, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0, math.inf)
"""Limits of the bins of range, meters: each is twice as wide as the one before, as is the error of depth."""
_BITS = 20
_COLUMNS = [(x << 2 * _BITS) + (y << _BITS) for x in (-1, 0, 1) for y in (-1, 0, 1)]
"""Steps to the nine columns around a voxel; the three voxels of a column have consecutive keys."""


@dataclass(frozen=True)
class HeightBand:
    """Heights above the ground that count, as a costmap has them.

    Attributes:
        camera_height: of the camera above the ground, meters.
        up: unit vector against gravity in the optical frame; the default is that of a level camera.
        low: lowest height, meters; above the ground's own roughness.
        high: largest height, meters: that of the robot.
    """

    camera_height: float
    up: tuple[float, float, float] = (0.0, -1.0, 0.0)
    low: float = 0.1
    high: float = 2.0

    def __post_init__(self) -> None:
        """Check the numbers. Raises `ValueError`."""
        if not math.isclose(math.hypot(*self.up), 1, abs_tol=1e-3):
            raise ValueError(f"up is {self.up}, must have length 1")
        if not self.low < self.high:
            raise ValueError(f"the height band is {self.low} to {self.high} m, must be in this order")

    def contains(self, points: np.ndarray) -> np.ndarray:
        """Return which points (N, 3) of the optical frame are inside, bool (N,)."""
        height = points @ np.array(self.up) + self.camera_height
        return (height >= self.low) & (height <= self.high)


@dataclass(frozen=True)
class ObstacleOptions:
    """What an obstacle is.

    Attributes:
        voxel: side of a voxel, meters.
        min_points: points that occupy a voxel. Nav2's layers mark with one.
        edges: limits of the bins of range, meters.
        band: heights that count; None for all.
    """

    voxel: float = 0.05
    min_points: int = 1
    edges: tuple[float, ...] = RANGE_EDGES
    band: HeightBand | None = None

    def __post_init__(self) -> None:
        """Check the numbers. Raises `ValueError`."""
        if not self.voxel > 0:
            raise ValueError(f"voxel is {self.voxel} m, must be positive")
        if self.min_points < 1:
            raise ValueError(f"min_points is {self.min_points}, must be 1 or more")


@dataclass(frozen=True)
class ObstacleCounts:
    """Voxels of one image by bin of range, each int64 (bins,).

    Attributes:
        true: true obstacles that the prediction either matches or sees through.
        missed: those that it sees through.
        predicted: predicted obstacles that the truth either matches or sees through.
        false: those that it sees through.
        unknown_true: true obstacles hidden behind predicted points.
        unknown_predicted: predicted obstacles hidden behind true points.
    """

    true: np.ndarray
    missed: np.ndarray
    predicted: np.ndarray
    false: np.ndarray
    unknown_true: np.ndarray
    unknown_predicted: np.ndarray

    @property
    def missed_rate(self) -> np.ndarray:
        """Return the share of true obstacles that are missed, float64 (bins,); NaN without any."""
        return _share(self.missed, self.true)

    @property
    def false_rate(self) -> np.ndarray:
        """Return the share of predicted obstacles that are false, float64 (bins,); NaN without any."""
        return _share(self.false, self.predicted)


def count_obstacles(
    predicted: np.ndarray, true: np.ndarray, camera: Camera, options: ObstacleOptions | None = None
) -> ObstacleCounts:
    """Count the obstacles of one image.

    Args:
        predicted: depth (H, W), meters.
        true: depth (H, W), meters; not finite where unknown.
        camera: the intrinsics of both.
        options: what an obstacle is.

    Raises:
        ValueError: depth and camera have different sizes.
    """
    options = options or ObstacleOptions()
    if predicted.shape != true.shape or true.shape != (camera.height, camera.width):
        raise ValueError(f"depth is {predicted.shape} and {true.shape}, camera {camera.height, camera.width}")
    known = np.isfinite(true) & (true > 0) & np.isfinite(predicted) & (predicted > 0)
    rays = _rays(camera, known)
    lengths = np.linalg.norm(rays, axis=1)
    clouds = [_Cloud.of(rays * depth[known, np.newaxis].astype(np.float64), options) for depth in (true, predicted)]
    beyond = lengths * (predicted[known].astype(np.float64) - true[known])
    counts_true = _compare(clouds[0], clouds[1], beyond > options.voxel, options)
    counts_predicted = _compare(clouds[1], clouds[0], -beyond > options.voxel, options)
    return ObstacleCounts(*counts_true[:2], *counts_predicted[:2], counts_true[2], counts_predicted[2])


@dataclass(frozen=True)
class _Cloud:
    """Points (N, 3), and the occupied voxels: sorted keys (M,) and centers (M, 3)."""

    points: np.ndarray
    voxel_of: np.ndarray
    keys: np.ndarray
    centers: np.ndarray
    is_occupied: np.ndarray

    @classmethod
    def of(cls, points: np.ndarray, options: ObstacleOptions) -> _Cloud:
        limit = 2 ** (_BITS - 1) - 2
        cells = np.clip(np.floor(points / options.voxel), -limit, limit).astype(np.int64)
        keys, voxel_of, counts = np.unique(_key(cells), return_inverse=True, return_counts=True)
        return cls(points, voxel_of.reshape(-1), keys, _center(keys, options.voxel), counts >= options.min_points)


def _compare(
    cloud: _Cloud, other: _Cloud, is_seen_through: np.ndarray, options: ObstacleOptions
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the voxels of a cloud by bin: those decided, those seen through, and those unknown.

    ``is_seen_through`` (N,) says for which pixels the other cloud's point is beyond the cloud's own.
    """
    counted = cloud.is_occupied.copy()
    if options.band is not None:
        counted &= options.band.contains(cloud.centers)
    occupied = other.keys[other.is_occupied]
    alone = np.flatnonzero(counted)
    for step in sorted(_COLUMNS, key=abs):  # most voxels have a match in their own column
        alone = alone[~_near(cloud.keys[alone] + step, occupied)]
    is_alone = np.zeros(len(cloud.keys), bool)
    is_alone[alone] = True
    through = np.bincount(cloud.voxel_of[is_seen_through], minlength=len(cloud.keys)) >= options.min_points
    distance = np.linalg.norm(cloud.centers, axis=1)
    bins = np.clip(np.searchsorted(options.edges, distance, side="right") - 1, 0, len(options.edges) - 2)

    def by_bin(chosen: np.ndarray) -> np.ndarray:
        return np.bincount(bins[chosen], minlength=len(options.edges) - 1)

    return by_bin(counted & (~is_alone | through)), by_bin(is_alone & through), by_bin(is_alone & ~through)


def _near(keys: np.ndarray, among: np.ndarray) -> np.ndarray:
    """Return which keys, or the key before or after, are in a sorted array."""
    if not len(among):
        return np.zeros(len(keys), bool)
    found = np.searchsorted(among, keys - 1)
    return (found < len(among)) & (among[np.minimum(found, len(among) - 1)] <= keys + 1)


def _key(cells: np.ndarray) -> np.ndarray:
    """Return one number for each cell (N, 3)."""
    x, y, z = (cells + 2 ** (_BITS - 1)).T
    return (x << 2 * _BITS) + (y << _BITS) + z


def _center(keys: np.ndarray, voxel: float) -> np.ndarray:
    mask = 2**_BITS - 1
    cells = np.stack([keys >> 2 * _BITS, (keys >> _BITS) & mask, keys & mask], axis=1) - 2 ** (_BITS - 1)
    return (cells + 0.5) * voxel


def _rays(camera: Camera, known: np.ndarray) -> np.ndarray:
    x, y = camera.rays()
    rows, columns = np.nonzero(known)
    return np.stack([x[columns], y[rows], np.ones(len(rows))], axis=1).astype(np.float64)


def _share(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    return np.where(whole > 0, part / np.maximum(whole, 1), np.nan)
