"""The pinhole camera of an image from its camera_info, and the rectifier of a raw image. Needs no ROS.

A camera_info is any object with the fields of sensor_msgs/CameraInfo of ROS 1 or ROS 2, from rclpy or rosbags.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from depth_anything_ros.geometry.calibration import Calibration
from depth_anything_ros.geometry.calibration_formats import CalibrationError
from depth_anything_ros.geometry.camera import Camera
from depth_anything_ros.geometry.distortion import distortion_of
from depth_anything_ros.geometry.rectification import Rectifier, needs_rectification
from depth_anything_ros.geometry.sensor_window import Size, described_size, pixel_transform


@dataclass(frozen=True)
class ImageGeometry:
    """How the images of a camera become those of a pinhole camera.

    Attributes:
        camera: the pinhole camera, at the size of the image.
        rectifier: to apply to each image; None if they are used unchanged.
        doubt: what is probably wrong with the camera_info; None if nothing is.
    """

    camera: Camera
    rectifier: Rectifier | None
    doubt: str | None


def distorts(info: Any) -> bool:
    """Return whether a raw image of this camera differs from the rectified one. An unknown distortion model counts."""
    try:
        model, distortion = distortion_of(info.distortion_model, _matrix(info, "d").tolist())
    except ValueError:
        return True
    rotation = _matrix(info, "r").reshape(3, 3)
    has_projection = bool(_matrix(info, "p").any())
    return needs_rectification(distortion, rotation if has_projection and rotation.any() else np.eye(3), model)


def image_geometry(info: Any, size: Size, is_rectified: bool) -> ImageGeometry:
    """Return the geometry of an image.

    Args:
        info: camera_info of the image; it may describe a larger sensor, with the image as a binned region of interest.
        size: (height, width) of the image.
        is_rectified: True: P has the intrinsics; False: K and D do, and the image is rectified to P.

    Raises:
        ValueError: the camera_info is not calibrated, or does not fit the image; the message names the fix.
    """
    if not _matrix(info, "k").any():
        raise CalibrationError("K of camera_info is zero, which means uncalibrated; calibrate the camera")
    described = described_size(info)
    if described != size:
        raise CalibrationError(
            f"camera_info is for {described[1]}x{described[0]} pixels, but the image has {size[1]}x{size[0]}; record "
            "the camera_info of this image"
        )
    pixels = pixel_transform(info, size)
    intrinsics = _matrix(info, "k").reshape(3, 3)
    projection, rotation = _matrix(info, "p").reshape(3, 4), _matrix(info, "r").reshape(3, 3)
    if not projection.any():
        projection, rotation = np.column_stack([intrinsics, np.zeros(3)]), np.eye(3)
    calibration = Calibration(
        width=size[1],
        height=size[0],
        camera_matrix=pixels @ intrinsics,
        distortion=() if is_rectified else tuple(_matrix(info, "d").tolist()),
        distortion_model="" if is_rectified else info.distortion_model,
        rectification=rotation if rotation.any() else np.eye(3),
        projection=pixels @ projection,
    )
    matrix, rectifier = calibration.projection, None
    lens = calibration.distortion, calibration.rectification, calibration.distortion_model
    if not is_rectified and needs_rectification(*lens):
        rectifier = Rectifier(
            calibration.distortion_model,
            calibration.camera_matrix,
            np.array(calibration.full_distortion),
            calibration.rectification,
            calibration.projection[:, :3],
            size,
        )
    elif not is_rectified:
        matrix = calibration.camera_matrix
    camera = Camera(size[1], size[0], matrix[0, 0], matrix[1, 1], matrix[0, 2], matrix[1, 2])
    return ImageGeometry(camera, rectifier, calibration.doubt)


def _matrix(info: Any, name: str) -> np.ndarray:
    """Return K, D, R or P as float64 (n,). ROS 1 writes them in capitals."""
    values = getattr(info, name) if hasattr(info, name) else getattr(info, name.upper())
    return np.asarray(values, np.float64).ravel()
