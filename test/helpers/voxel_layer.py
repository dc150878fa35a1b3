"""The marking and clearing of Nav2's voxel layer, after its sources.

https://github.com/ros-navigation/navigation2: nav2_costmap_2d/src/observation_buffer.cpp (heights of a source),
plugins/voxel_layer.cpp (marking, rays), nav2_voxel_grid/include/nav2_voxel_grid/voxel_grid.hpp (the line of a ray).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

SIZE, RESOLUTION = 30.0, 0.1
"""Meters: the side of the map, whose middle is the robot, and of a cell."""
SOURCE = {
    "marking": True,
    "clearing": False,
    "min_obstacle_height": 0.0,
    "max_obstacle_height": 0.0,
    "obstacle_max_range": 2.5,
    "raytrace_max_range": 3.0,
}
"""The defaults of a source's configuration."""


class VoxelLayer:
    """Voxels (x, y, z), True with an obstacle; x is forward from the robot, z is up from the floor.

    ``parameters`` are the layer's, as in Nav2's parameter file. The sensor is ``height`` meters above the robot.
    """

    def __init__(self, parameters: Mapping[str, Any], height: float) -> None:
        self._sources = [SOURCE | parameters[name] for name in parameters["observation_sources"].split()]
        self._top = parameters["max_obstacle_height"]
        self._cell = np.array([RESOLUTION, RESOLUTION, parameters["z_resolution"]])
        self._low = np.array([-SIZE / 2, -SIZE / 2, 0.0])
        self._sensor = np.array([0.0, 0.0, height])
        count = round(SIZE / RESOLUTION)
        self.voxels = np.zeros((count, count, parameters["z_voxels"]), bool)
        assert height < self._high[2], "Nav2 has no rays from a sensor that is above its map"

    @property
    def _high(self) -> np.ndarray:
        return self._low + self._cell * self.voxels.shape

    @property
    def cells(self) -> int:
        """Return the number of map cells with an obstacle."""
        return int(self.voxels.any(axis=2).sum())

    def update(self, optical: np.ndarray) -> None:
        """Process a cloud (H, W, 3) in the optical frame of a sensor that looks ahead: clear first, then mark."""
        x, y, z = np.moveaxis(optical.astype(float), -1, 0)
        points = np.stack([z, -x, self._sensor[2] - y], axis=-1).reshape(-1, 3)
        for source in self._sources:
            if source["clearing"]:
                self._clear(self._within_heights(points, source), source["raytrace_max_range"])
        for source in self._sources:
            if source["marking"]:
                self._mark(self._within_heights(points, source), source["obstacle_max_range"])

    def _within_heights(self, points: np.ndarray, source: Mapping[str, Any]) -> np.ndarray:
        low, high = source["min_obstacle_height"], source["max_obstacle_height"]
        return points[(points[:, 2] >= low) & (points[:, 2] <= high)]  # NaN is not

    def _mark(self, points: np.ndarray, farthest: float) -> None:
        distance = np.linalg.norm(points - self._sensor, axis=1)
        points = points[(points[:, 2] <= self._top) & (distance < farthest)]
        points[:, 2] = np.maximum(points[:, 2], 0.0)
        inside = np.all((points >= self._low) & (points < self._high), axis=1)
        self.voxels[tuple(self._index(points[inside]).T)] = True

    def _clear(self, points: np.ndarray, farthest: float) -> None:
        ray = points - self._sensor
        distance = np.linalg.norm(ray, axis=1, keepdims=True)
        ray *= np.clip((distance - 2 * RESOLUTION) / distance, 0.0, 1.0)  # not the cell of the point itself
        with np.errstate(divide="ignore", invalid="ignore"):
            to_edge = np.where(ray > 0, (self._high - self._sensor) / ray, (self._low - self._sensor) / ray)
        share = np.minimum(np.nanmin(to_edge, axis=1, keepdims=True), 1.0)
        ends = self._sensor + ray * np.where(share < 1.0, share - 1e-5, share)
        start = self._index(self._sensor[np.newaxis])[0]
        exact = (ends - self._low) / self._cell
        lengths = np.linalg.norm(exact - (self._sensor - self._low) / self._cell, axis=1)
        for end, length in zip(exact.astype(int), lengths, strict=True):
            self._clear_line(start, end, min(1.0, int(farthest / RESOLUTION) / max(length, 1e-9)))

    def _clear_line(self, start: np.ndarray, end: np.ndarray, share: float) -> None:
        """Bresenham's line from voxel to voxel, or that share of it."""
        steps = np.abs(end - start)
        longest = int(steps.max())
        taken = np.arange(int(share * longest) + 1)[:, np.newaxis]
        moved = (taken * steps + longest // 2) // max(longest, 1)
        self.voxels[tuple((start + np.sign(end - start) * moved).T)] = False

    def _index(self, points: np.ndarray) -> np.ndarray:
        return ((points - self._low) / self._cell).astype(int)
