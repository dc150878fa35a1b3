"""Colored points for Python programs."""

from __future__ import annotations

import os
from pathlib import Path
from typing import NamedTuple

import numpy as np

from depth_anything_ros.geometry.camera import Camera
from depth_anything_ros.postprocessing.ply import write_ply
from depth_anything_ros.postprocessing.point_cloud import POINT_STEP, finite_points, write_point_cloud


class PointCloud(NamedTuple):
    """Points with depth: ``positions`` float32 (N, 3) in meters, ``colors`` RGB uint8 (N, 3).

    Positions are in the camera's optical frame: x right, y down, z forward.
    """

    positions: np.ndarray
    colors: np.ndarray

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write a binary .ply, for MeshLab, CloudCompare, Open3D and Blender. Return its path.

        Raises `ValueError` for another file extension, `OSError` if the file cannot be written.
        """
        path = Path(path)
        if path.suffix.lower() != ".ply":
            raise ValueError(f"{path}: point clouds are written as .ply")
        write_ply(path, self.positions, self.colors)
        return path

    def __repr__(self) -> str:
        if not len(self.positions):
            return "PointCloud(no points)"
        lower, upper = self.positions.min(axis=0), self.positions.max(axis=0)
        spans = (f"{axis} {low:.3g} … {high:.3g}" for axis, low, high in zip("xyz", lower, upper, strict=True))
        return f"PointCloud({len(self.positions)} points, {', '.join(spans)} meters)"


def point_cloud_of(
    depth: np.ndarray, image: np.ndarray, camera: Camera, max_range: float, flying: np.ndarray | None = None
) -> PointCloud:
    """Return the points of a depth map.

    Args:
        depth: float32 (H, W) in meters; only finite values become points.
        image: RGB uint8 (H, W, 3), the points' colors.
        camera: at the size of the depth map.
        max_range: meters beyond which points are left out.
        flying: (H, W), not zero for pixels to leave out.
    """
    cloud = np.empty(depth.size * POINT_STEP, np.uint8)
    write_point_cloud(depth, *camera.rays(), image, cloud, maximum=max_range, flying=flying)
    return PointCloud(*finite_points(cloud))
