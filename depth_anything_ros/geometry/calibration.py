"""Camera calibration: the standard camera_info YAML, its resizing, and the fallback without a calibration."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import numpy as np
import yaml

from depth_anything_ros.geometry.calibration_formats import CalibrationError, camera_info_fields
from depth_anything_ros.geometry.camera import Camera, intrinsics_doubt
from depth_anything_ros.geometry.distortion import DISTORTION_COEFFICIENTS, distortion_of, model_of
from depth_anything_ros.geometry.rectification import is_rotation

ASPECT_TOLERANCE = 0.01
"""Maximum relative difference of aspect ratios at which an image counts as the calibrated one, resized."""
_STEREO = "leave it out if the camera was not calibrated as one of a stereo pair"
_NOT_GIVEN = np.empty((0, 0))


@dataclass(frozen=True)
class Calibration:
    """The geometry of a camera at one image size, in the terms of sensor_msgs/CameraInfo.

    ``camera_matrix`` K (3, 3), ``rectification`` R (3, 3) and ``projection`` P (3, 4) are float64, in pixels whose
    centers are at integer coordinates. ``distortion`` D belongs to ``distortion_model``; `distortion_of` converts both
    to those of sensor_msgs. D may be empty. R and P default to the identity and [K | 0]: no rectification.
    """

    width: int
    height: int
    camera_matrix: np.ndarray
    distortion: tuple[float, ...] = ()
    distortion_model: str = "plumb_bob"
    rectification: np.ndarray = field(default_factory=lambda: np.eye(3))
    projection: np.ndarray = field(default_factory=lambda: _NOT_GIVEN)
    name: str = "camera"

    def __post_init__(self) -> None:
        """Check every value. Raises `CalibrationError`."""
        for attribute in ("width", "height"):
            value = getattr(self, attribute)
            if not isinstance(value, int) or isinstance(value, bool) or value < 1:
                raise CalibrationError(f"image_{attribute} is {value!r}, must be a positive number of pixels")
        object.__setattr__(self, "camera_matrix", _matrix(self.camera_matrix, "camera_matrix", 3, 3))
        object.__setattr__(self, "rectification", _matrix(self.rectification, "rectification_matrix", 3, 3))
        if not is_rotation(self.rectification):
            raise CalibrationError(
                f"rectification_matrix {self.rectification.tolist()} is no rotation; {_STEREO}, or calibrate the camera"
            )
        is_given = self.projection is not None and self.projection is not _NOT_GIVEN
        projection = self.projection if is_given else np.column_stack((self.camera_matrix, np.zeros(3)))
        object.__setattr__(self, "projection", _matrix(projection, "projection_matrix", 3, 4))
        _check_intrinsics("camera_matrix", self.camera_matrix, "calibrate the camera")
        _check_intrinsics("projection_matrix", self.projection, f"{_STEREO}, or calibrate the camera")
        try:
            model_of(self.distortion_model)
        except ValueError as error:
            raise CalibrationError(str(error)) from error
        try:
            model, distortion = distortion_of(self.distortion_model, self.distortion)
        except ValueError as error:
            raise CalibrationError(f"distortion_coefficients: {error}") from error
        object.__setattr__(self, "distortion_model", model)
        object.__setattr__(self, "distortion", distortion)

    @property
    def full_distortion(self) -> tuple[float, ...]:
        """Return D with the model's number of coefficients, zeros if the lens has no distortion."""
        count = 5 if self.distortion_model == "plumb_bob" else DISTORTION_COEFFICIENTS[self.distortion_model][0]
        return self.distortion or (0.0,) * count

    @property
    def doubt(self) -> str | None:
        """Return what is probably wrong with K or P, with the fix; None if nothing is."""
        doubts = (intrinsics_doubt(self._camera(matrix)) for matrix in (self.camera_matrix, self.projection))
        return next(filter(None, doubts), None)

    def _camera(self, matrix: np.ndarray) -> Camera:
        return Camera(self.width, self.height, matrix[0, 0], matrix[1, 1], matrix[0, 2], matrix[1, 2])

    @classmethod
    def from_field_of_view(cls, width: int, height: int, horizontal_degrees: float) -> Calibration:
        """Return an ideal camera: no distortion, square pixels, the optical axis through the image center.

        Args:
            width: of the image in pixels.
            height: of the image in pixels.
            horizontal_degrees: field of view from the image's left edge to its right.
        """
        return cls(width, height, Camera.from_field_of_view(width, height, horizontal_degrees).matrix)

    @classmethod
    def from_yaml(cls, text: str) -> Calibration:
        """Parse a calibration: the format of camera_calibration_parsers, or one of `camera_info_fields`.

        ``distortion_model``, ``rectification_matrix`` and ``projection_matrix`` are optional. Raises
        `CalibrationError`.
        """
        values = camera_info_fields(text)
        camera_matrix = _yaml_matrix(values, "camera_matrix", 3, 3)
        if camera_matrix is None:
            raise CalibrationError("camera_matrix has no numbers")
        calibration = cls(
            width=values["image_width"],
            height=values["image_height"],
            camera_matrix=camera_matrix,
            distortion=tuple(_yaml_numbers(values, "distortion_coefficients")),
            distortion_model=str(values.get("distortion_model") or ""),
            name=str(values.get("camera_name") or "camera"),
        )
        rectification = _yaml_matrix(values, "rectification_matrix", 3, 3)
        if rectification is not None and np.any(rectification):  # in CameraInfo, too, zeros mean "not given"
            calibration = replace(calibration, rectification=rectification)
        projection = _yaml_matrix(values, "projection_matrix", 3, 4)
        return calibration if projection is None else replace(calibration, projection=projection)

    def to_yaml(self) -> str:
        """Return the calibration as text for `from_yaml`; every number survives exactly."""

        def matrix(values: np.ndarray) -> dict[str, Any]:
            return {"rows": values.shape[0], "cols": values.shape[1], "data": [float(value) for value in values.flat]}

        document = {
            "image_width": self.width,
            "image_height": self.height,
            "camera_name": self.name,
            "camera_matrix": matrix(self.camera_matrix),
            "distortion_model": self.distortion_model,
            "distortion_coefficients": matrix(np.array([self.distortion])),
            "rectification_matrix": matrix(self.rectification),
            "projection_matrix": matrix(self.projection),
        }
        return yaml.safe_dump(document, sort_keys=False, default_flow_style=None)

    def fits(self, width: int, height: int) -> bool:
        """Return whether an image can be the calibrated one, resized: its aspect ratio is the same.

        Args:
            width: of the image in pixels.
            height: of the image in pixels.
        """
        return abs((width * self.height) / (height * self.width) - 1.0) <= ASPECT_TOLERANCE

    def resized(self, width: int, height: int) -> Calibration:
        """Return the calibration for images resized (not cropped) to ``width`` x ``height``.

        With pixel centers at integers, u' = (u + 1/2) * sx - 1/2 exactly. Distortion does not depend on the size.

        Args:
            width: in pixels.
            height: in pixels.
        """
        if (width, height) == (self.width, self.height):
            return self
        scale_x, scale_y = width / self.width, height / self.height
        resize = np.array([[scale_x, 0.0, 0.5 * scale_x - 0.5], [0.0, scale_y, 0.5 * scale_y - 0.5], [0.0, 0.0, 1.0]])
        return replace(
            self,
            width=width,
            height=height,
            camera_matrix=resize @ self.camera_matrix,
            projection=resize @ self.projection,
        )


def read_calibration(location: str) -> Calibration:
    """Read a calibration file. ``location`` is a path, ``file:///path`` or ``package://package/path/in/its/share``.

    Raises `CalibrationError`, naming the file.
    """
    path = calibration_path(location)
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise CalibrationError(f"cannot read calibration {path}: {error}") from error
    try:
        return Calibration.from_yaml(text)
    except CalibrationError as error:
        raise CalibrationError(f"calibration {path}: {error}") from error


def calibration_path(location: str) -> Path:
    """Return the file of a calibration location. Raises `CalibrationError` for other kinds of URL."""
    url = urlsplit(location)
    if url.scheme == "":
        return Path(location).expanduser()
    if url.scheme == "file" and url.netloc in ("", "localhost") and url.path:
        return Path(unquote(url.path))
    if url.scheme == "package" and url.netloc and url.path.strip("/"):
        return _package_share(url.netloc) / unquote(url.path).lstrip("/")
    raise CalibrationError(
        f"calibration {location!r}: must be a path, file:///path/camera.yaml or package://package/path/camera.yaml"
    )


def _package_share(package: str) -> Path:
    """Return the share folder of an installed ROS package."""
    try:
        from ament_index_python.packages import get_package_share_directory

        return Path(get_package_share_directory(package))
    except (ImportError, LookupError, OSError, ValueError) as error:
        raise CalibrationError(f"calibration: no ROS package {package!r} in the sourced workspaces") from error


def _matrix(values: Any, name: str, rows: int, columns: int) -> np.ndarray:
    """Return ``values`` as a finite float64 matrix (rows, columns)."""
    matrix = np.array(values, dtype=np.float64)
    if matrix.shape != (rows, columns):
        raise CalibrationError(f"{name} has shape {matrix.shape}, must be {rows} x {columns}")
    if not np.all(np.isfinite(matrix)):
        raise CalibrationError(f"{name} has values that are not finite")
    return matrix


def _check_intrinsics(name: str, matrix: np.ndarray, advice: str) -> None:
    """Reject K or P with a focal length that is not positive, or a last row that no camera has."""
    if matrix[0, 0] <= 0 or matrix[1, 1] <= 0:
        raise CalibrationError(
            f"{name} has a focal length that is not positive ({matrix[0, 0]:g} and {matrix[1, 1]:g}); {advice}"
        )
    if not np.allclose(matrix[2, :3], [0, 0, 1], atol=1e-6):
        raise CalibrationError(
            f"{name} has {matrix[2, :3].tolist()} in its last row, must be 0, 0, 1; is it transposed?"
        )


def _yaml_numbers(values: dict[str, Any], name: str) -> list[float]:
    """Return the numbers of a field: a list, or a mapping with the list as ``data``; empty if it is missing."""
    entry = values.get(name)
    numbers = entry.get("data") if isinstance(entry, dict) else entry
    if numbers is None:
        return []
    try:
        # PyYAML reads 1e-05, as yaml-cpp writes it, as a string. Rows may be nested lists.
        rows = [row if isinstance(row, list) else [row] for row in numbers]
        return [float(number) for row in rows for number in row]
    except (TypeError, ValueError) as error:
        raise CalibrationError(f"{name} must hold a list of numbers under `data`") from error


def _yaml_matrix(values: dict[str, Any], name: str, rows: int, columns: int) -> np.ndarray | None:
    """Return the matrix of a field, None if it is missing."""
    numbers = _yaml_numbers(values, name)
    if not numbers:
        return None
    if len(numbers) != rows * columns:
        raise CalibrationError(f"{name} has {len(numbers)} values, must have {rows} x {columns} = {rows * columns}")
    return np.array(numbers).reshape(rows, columns)
