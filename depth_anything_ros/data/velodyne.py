"""KITTI object: the velodyne points in the left color camera, as a sparse depth image.

Formats: `readme.txt` of the development kit of the KITTI object benchmark (Geiger et al., CVPR 2012).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from depth_anything_ros.data.frame import DataError

_SHAPES = {"P2": (3, 4), "R0_rect": (3, 3), "Tr_velo_to_cam": (3, 4)}


@dataclass(frozen=True)
class VelodyneCalibration:
    """The transform from the velodyne to the rectified left color image.

    Attributes:
        projection: P2 (3, 4), rectified camera-0 frame to pixels.
        rectification: R0_rect (3, 3), camera 0 to its rectified frame.
        velodyne_to_camera: (3, 4), meters, velodyne frame to camera 0.
    """

    projection: np.ndarray
    rectification: np.ndarray
    velodyne_to_camera: np.ndarray

    def project(self, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Project velodyne points (N, 3) to pixels (N, 2) as (u, v), centers at integers, and depth (N,) in meters.

        Depth along the optical axis may be negative. Such points are behind the camera, and their pixels have no
        meaning.
        """
        rotation = self.rectification @ self.velodyne_to_camera[:, :3]
        translation = self.rectification @ self.velodyne_to_camera[:, 3]
        in_image = (points @ rotation.T + translation) @ self.projection[:, :3].T + self.projection[:, 3]
        depth = in_image[:, 2]
        with np.errstate(divide="ignore", invalid="ignore"):
            return in_image[:, :2] / depth[:, None], depth


def read_calibration(path: Path) -> VelodyneCalibration:
    """Read a KITTI object ``calib/*.txt``. Raises `DataError`, naming the missing or invalid entry."""
    try:
        lines = path.read_text(errors="replace").splitlines()
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror}") from error
    entries = dict(line.split(":", 1) for line in lines if ":" in line)
    matrices = []
    for name, shape in _SHAPES.items():
        try:
            matrices.append(np.array(entries[name].split(), dtype=np.float64).reshape(shape))
        except (KeyError, ValueError) as error:
            raise DataError(f"{path}: {name} is missing or does not have {shape[0] * shape[1]} numbers") from error
    return VelodyneCalibration(*matrices)


def read_points(path: Path) -> np.ndarray:
    """Read a ``velodyne/*.bin`` as float64 (N, 3): x forward, y left, z up, meters. Raises `DataError`."""
    try:
        stored = np.fromfile(path, dtype="<f4")
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror}") from error
    if stored.size == 0 or stored.size % 4:
        raise DataError(f"{path}: {stored.size} floats, must be a positive multiple of 4 (x, y, z, reflectance)")
    return stored.reshape(-1, 4)[:, :3].astype(np.float64)


def depth_image(calibration: VelodyneCalibration, points: np.ndarray, height: int, width: int) -> np.ndarray:
    """Return sparse depth; the nearest point wins a pixel.

    Args:
        calibration: the calibration.
        points: (N, 3), velodyne frame, meters.
        height: of the image, pixels.
        width: of the image, pixels.

    Returns:
        float32 (height, width), meters; NaN without a point.
    """
    pixels, depth = calibration.project(points)
    in_front = depth > 0
    column, row = np.rint(pixels[in_front]).astype(np.int64).T
    depth = depth[in_front]
    inside = (column >= 0) & (column < width) & (row >= 0) & (row < height)
    nearest = np.full(height * width, np.inf, np.float32)
    np.minimum.at(nearest, row[inside] * width + column[inside], depth[inside].astype(np.float32))
    nearest[np.isinf(nearest)] = np.nan
    return nearest.reshape(height, width)
