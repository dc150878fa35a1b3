"""Colored points as Python programs get them."""

from __future__ import annotations

import os
from pathlib import Path
from typing import NamedTuple

import numpy as np

from depth_anything_ros.geometry.camera import Camera
from depth_anything_ros.postprocessing.ply import write_ply
from depth_anything_ros.postprocessing.point_cloud import POINT_STEP, finite_points, write_point_cloud


class PointCloud(NamedTuple):
    """Points of known depth: ``positions`` float32 (N, 3) in meters, ``colors`` RGB uint8 (N, 3).

    Positions are in the camera's optical frame: x right, y down, z forward.
    """

    positions: np.ndarray
    colors: np.ndarray

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Writes a binary .ply, which MeshLab, CloudCompare, Open3D and Blender open. Returns its path.

        Raises `ValueError` for another ending, `OSError` where the file cannot be written.
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
    """The points of a depth map, float32 (H, W) in meters, that are finite and no farther than ``max_range`` meters.

    ``image`` RGB uint8 (H, W, 3) colors them; pixels that are not zero in ``flying`` (H, W) are left out.
    """
    cloud = np.empty(depth.size * POINT_STEP, np.uint8)
    write_point_cloud(depth, *camera.rays(), image, cloud, maximum=max_range, flying=flying)
    return PointCloud(*finite_points(cloud))
