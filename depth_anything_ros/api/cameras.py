"""Conversion of any description of a camera to the intrinsics of an image of a given size."""

from __future__ import annotations

import logging
import os
from numbers import Real

import numpy as np

from depth_anything_ros.geometry.calibration import ASPECT_TOLERANCE, Calibration, read_calibration
from depth_anything_ros.geometry.camera import Camera
from depth_anything_ros.geometry.rectification import needs_rectification

CameraLike = Camera | Calibration | float | str | os.PathLike[str]
"""A camera, a calibration, the horizontal field of view in degrees, or a camera_info YAML file."""

log = logging.getLogger(__name__)


def read_camera(path: str | os.PathLike[str]) -> Calibration:
    """Read a camera_info file, and warn of problems that make meters wrong. Raises `ValueError` or `OSError`."""
    calibration = read_calibration(os.fspath(path))
    for warning in warnings_of(calibration):
        log.warning("%s%s", path, warning)
    return calibration


def warnings_of(calibration: Calibration) -> list[str]:
    """Return the problems of a readable calibration that make meters wrong, each to append to the file's name."""
    warnings = []
    if needs_rectification(calibration.distortion, np.eye(3), calibration.distortion_model):
        warnings.append(" has distortion; meters are right for rectified images only")
    if calibration.doubt is not None:
        warnings.append(f": {calibration.doubt}")
    return warnings


def camera_for(camera: CameraLike, width: int, height: int) -> Camera:
    """Return the camera of an image.

    Args:
        camera: as in `CameraLike`; a calibration is resized to the image.
        width: of the image in pixels, which must be the full image of the camera.
        height: of the image in pixels.

    Raises:
        ValueError: the image's aspect ratio is not that of the calibration, or the field of view is not between 0 and
            180 degrees.
        OSError: the file cannot be read.
        TypeError: ``camera`` is none of `CameraLike`.
    """
    if isinstance(camera, (str, os.PathLike)):
        camera = read_camera(camera)
    if isinstance(camera, Real) and not isinstance(camera, bool):
        return Camera.from_field_of_view(width, height, float(camera))
    if isinstance(camera, Calibration):
        matrix = camera.projection  # P: the geometry of rectified images
        camera = Camera(camera.width, camera.height, matrix[0, 0], matrix[1, 1], matrix[0, 2], matrix[1, 2])
    if not isinstance(camera, Camera):
        raise TypeError(
            f"camera is a {type(camera).__name__}; give a Camera, a camera_info YAML file, or the horizontal field of "
            "view in degrees"
        )
    if abs((width * camera.height) / (height * camera.width) - 1.0) > ASPECT_TOLERANCE:
        raise ValueError(
            f"the image is {width}x{height}, the calibration is for {camera.width}x{camera.height}: the aspect ratios "
            "differ"
        )
    return camera if (width, height) == (camera.width, camera.height) else camera.resized(width, height)
