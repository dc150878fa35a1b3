"""The geometry of a frame's outputs from camera_info: exact, and computed only when camera_info changes.

A camera_info is any object with the fields of sensor_msgs/CameraInfo of ROS 2, from rclpy or rosbags. Needs no ROS.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from depth_anything_ros.geometry.camera import Camera, intrinsics_doubt
from depth_anything_ros.geometry.distortion import distortion_of
from depth_anything_ros.geometry.rectification import MODELS, Rectifier, needs_rectification
from depth_anything_ros.geometry.rectified_choice import RectifiedChoice, choose_rectified
from depth_anything_ros.geometry.sensor_window import Size, described_size, pixel_transform

MAX_SLOPE = 1e6
"""Maximum slope of a pixel's ray, x or y to z. It is beyond any lens and near the limit of single precision."""
MAX_FOCAL = 1e9
"""Maximum ratio of focal length to image size, beyond any telescope."""
MIN_VISIBLE = 0.05
"""Minimum visible share of a rectified image; below it the calibration is reported as doubtful."""
_UNDISTORTED = "plumb_bob", [0.0] * 5


class CameraInfoError(ValueError):
    """A camera_info that does not fit an image. The message names the fix."""


@dataclass(frozen=True)
class OutputGeometry:
    """The geometry of the outputs of one image.

    Attributes:
        info: camera_info of the outputs, with an empty header.
        camera: its P as a pinhole camera.
        rectifier: to apply to the image first, at the image's size; None if the image is used unchanged.
        valid: bool (H, W) at the outputs' size, False where the raw camera saw nothing; None if it saw everything.
        doubt: what is probably wrong with the camera_info, with the fix; None if nothing is.
    """

    info: Any
    camera: Camera
    rectifier: Rectifier | None
    valid: np.ndarray | None
    doubt: str | None = None


class GeometryCache:
    """The geometry of one stream's outputs, kept until the calibration, a size or a flag changes. Not thread-safe.

    Args:
        topic: resolved name of the image topic, without the suffix of its transport; None for images of a camera node
            in the same process.

    Attributes:
        choice: whether the images count as rectified, and why; None before the first camera_info.
    """

    def __init__(self, topic: str | None = None) -> None:
        self._topic = topic
        self.choice: RectifiedChoice | None = None
        self._choice_key: tuple | None = None
        self._key: tuple | None = None
        self._geometry: OutputGeometry | None = None

    def geometry(
        self, info: Any, image_size: Size, output_size: Size, rectified: bool | None, rectify: bool
    ) -> OutputGeometry:
        """Return the geometry of the outputs; the same object while only the header changes.

        Args:
            info: camera_info of the image.
            image_size: (height, width) of the image.
            output_size: (height, width) of the outputs.
            rectified: whether the image is rectified; None: decide automatically.
            rectify: whether raw images are undistorted.

        Raises:
            CameraInfoError: the camera_info does not fit the image.
        """
        calibration = _calibration(info)
        key = (calibration, image_size, output_size, rectified, rectify)
        if self._geometry is not None and key == self._key:
            return self._geometry
        if self.choice is None or self._choice_key != (calibration, rectified):
            self.choice = choose_rectified(rectified, self._topic, distorts(info))
            self._choice_key = (calibration, rectified)
        self._geometry = output_geometry(info, image_size, output_size, self.choice.rectified, rectify)
        self._key = key
        return self._geometry


def distorts(info: Any) -> bool:
    """Return whether a raw image of this camera differs from the rectified one. An unknown distortion model counts."""
    try:
        model, distortion = distortion_of(info.distortion_model, info.d.tolist())
    except ValueError:
        return True
    return needs_rectification(distortion, _matrices(info)[1], model)


def output_geometry(info: Any, image_size: Size, output_size: Size, rectified: bool, rectify: bool) -> OutputGeometry:
    """Return the geometry of the outputs of one image.

    The outputs have the geometry of P, as in image_pipeline, if the image is rectified or is to be rectified here. The
    latter needs ``rectify`` and a distortion, or an R that rotates. Their camera_info is then that of a pinhole: D is
    zero, R the identity, and K equals P, whose Tx and Ty stay. Otherwise they have the geometry of K: D stays, R is the
    identity and P is [K | 0]. If P is not filled in, K replaces it and R is ignored.

    Args:
        info: camera_info of the image; it may describe a larger sensor, with the image as a binned region of interest.
        image_size: (height, width) of the image.
        output_size: (height, width) of the outputs.
        rectified: whether the image is rectified.
        rectify: whether a raw image is undistorted.

    Raises:
        CameraInfoError: the camera_info is not calibrated, or does not fit the image.
    """
    _check(info, image_size)
    intrinsics, rectification, projection = _matrices(info)
    model, distortion = _distortion(info) if rectify and not rectified else _UNDISTORTED
    applies = rectify and not rectified and needs_rectification(distortion, rectification, model)
    if not (rectified or applies):
        projection = np.column_stack([intrinsics, np.zeros(3)])
    pixels = pixel_transform(info, output_size)
    with np.errstate(over="ignore", invalid="ignore"):  # `_check_rays` rejects the result
        result = _scaled(info, pixels @ intrinsics, pixels @ projection, output_size)
    if rectified or applies:
        result.k = result.p.reshape(3, 4)[:, :3].ravel()
        result.distortion_model, result.d = _UNDISTORTED
    _check_rays(result)  # before the slow part, because an invalid camera_info repeats with every frame
    rectifier, valid = None, None
    if applies:
        pixels = pixel_transform(info, image_size)
        matrices = pixels @ intrinsics, np.array(distortion), rectification, pixels @ projection[:, :3]
        rectifier = _rectifier(model, *matrices, image_size)
        valid = rectifier.valid_at(output_size)
    doubt = _doubt(info, projection, rectified) or _visibility_doubt(valid)
    return OutputGeometry(result, camera_of(result), rectifier, valid, doubt)


def camera_of(info: Any) -> Camera:
    """Return the pinhole camera of P, for a camera_info whose image has the size that it states."""
    return Camera(info.width, info.height, float(info.p[0]), float(info.p[5]), float(info.p[2]), float(info.p[6]))


def _calibration(info: Any) -> tuple:
    """Return all fields of a camera_info but the header, in a form that compares quickly."""
    roi = info.roi
    return (
        *(info.height, info.width, info.distortion_model, info.binning_x, info.binning_y),
        *(info.d.tobytes(), info.k.tobytes(), info.r.tobytes(), info.p.tobytes()),
        *(roi.x_offset, roi.y_offset, roi.height, roi.width, roi.do_rectify),
    )


def _check(info: Any, image_size: Size) -> None:
    """Raise `CameraInfoError` for a camera_info that is not calibrated or belongs to another image."""
    if not (np.isfinite(info.k).all() and np.isfinite(info.p).all()):
        raise CameraInfoError("K or P of camera_info is not finite; calibrate the camera")
    if info.k[0] == info.k[4] == 0:
        raise CameraInfoError("K of camera_info is zero, which means uncalibrated; calibrate the camera")
    for name, fx, fy in (("K", info.k[0], info.k[4]), ("P", info.p[0], info.p[5])):
        if not (fx > 0 and fy > 0) and not (name == "P" and fx == fy == 0):
            raise CameraInfoError(
                f"the focal lengths in {name} of camera_info are {fx:g} and {fy:g}, but must be positive; calibrate "
                "the camera"
            )
    for name, row in (("K", info.k[6:9]), ("P", info.p[8:11])):
        if not (np.allclose(row, [0, 0, 1], atol=1e-6) or not np.any(row)):  # some drivers leave it zero
            raise CameraInfoError(
                f"the last row of {name} in camera_info is {row.tolist()}, but must be 0, 0, 1; is {name} transposed, "
                "or not divided by its last element? calibrate the camera"
            )
    described = described_size(info)
    if described != image_size:
        raise CameraInfoError(
            f"camera_info is for {described[1]}x{described[0]} pixels, but the image has "
            f"{image_size[1]}x{image_size[0]}; publish the camera_info of this image"
        )


def _doubt(info: Any, projection: np.ndarray, rectified: bool) -> str | None:
    """Return what is probably wrong with a camera_info, given the P (3, 4) in sensor pixels that is used, or None."""
    if rectified and info.p[0] == 0 and any(info.d):
        return (
            "camera_info has distortion but P is zero, so K is used as the geometry of the rectified image; make its "
            "driver fill in P"
        )
    if not (info.width and info.height):
        return None
    # For the whole sensor, because the principal point may be outside a region of interest.
    (fx, _, cx, _), (_, fy, cy, _), _ = projection.tolist()
    doubt = intrinsics_doubt(Camera(info.width, info.height, fx, fy, cx, cy))
    return None if doubt is None else f"camera_info: {doubt}"


def _visibility_doubt(valid: np.ndarray | None) -> str | None:
    """Return a doubt if the rectification leaves almost nothing of the image, else None."""
    share = 1.0 if valid is None else float(valid.mean())
    if share >= MIN_VISIBLE:
        return None
    return (
        f"only {100 * share:.1f} % of the image rectified by camera_info is visible to the camera: K, D, R and P do "
        "not belong together; calibrate the camera"
    )


def _check_rays(info: Any) -> None:
    """Raise `CameraInfoError` if the pixels look too far sideways, or too straight ahead, for any camera."""
    fx, _, cx, _, _, fy, cy = map(float, info.p[:7])
    for focal, center, length in ((fx, cx, info.width), (fy, cy, info.height)):
        if not (abs(center) + length <= MAX_SLOPE * focal and focal <= MAX_FOCAL * length):
            raise CameraInfoError(
                f"camera_info has a focal length of {focal:g} pixels and a principal point at {center:g} for an image "
                f"of {length} pixels; calibrate the camera"
            )


def _matrices(info: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return K (3, 3), R (3, 3) and P (3, 4) in sensor pixels; missing ones are replaced."""
    intrinsics, projection = info.k.reshape(3, 3).copy(), info.p.reshape(3, 4).copy()
    intrinsics[2], projection[2, :3] = [0, 0, 1], [0, 0, 1]
    if projection[0, 0] == projection[1, 1] == 0:
        return intrinsics, np.eye(3), np.column_stack([intrinsics, np.zeros(3)])
    return intrinsics, info.r.reshape(3, 3) if np.any(info.r) else np.eye(3), projection


def _distortion(info: Any) -> tuple[str, Sequence[float]]:
    """Return the distortion model, in sensor_msgs' name, and the coefficients of a raw image."""
    try:
        return distortion_of(info.distortion_model, info.d.tolist())
    except ValueError as error:
        raise _unusable(error) from error


def _rectifier(
    model: str,
    intrinsics: np.ndarray,
    distortion: np.ndarray,
    rectification: np.ndarray,
    projection: np.ndarray,
    size: Size,
) -> Rectifier:
    """Return the rectifier of an image with this K, R and P[:3, :3] in image pixels; D does not depend on them."""
    try:
        return Rectifier(model, intrinsics, distortion, rectification, projection, size)
    except ValueError as error:
        raise _unusable(error) from error


def _unusable(error: ValueError) -> CameraInfoError:
    return CameraInfoError(
        f"the image cannot be rectified with its camera_info: {error}; calibrate the camera with one of "
        f"{', '.join(MODELS)}, or set rectify to false, which leaves image and outputs distorted"
    )


def _scaled(info: Any, intrinsics: np.ndarray, projection: np.ndarray, size: Size) -> Any:
    """Return the camera_info of an unbinned image of ``size`` with this K and P, no rotation and an empty header."""
    result = copy.copy(info)
    result.header = _empty(info.header)
    result.height, result.width = size
    result.k, result.p = intrinsics.ravel(), projection.ravel()
    result.r = np.eye(3).ravel()
    result.d = info.d[:]
    result.binning_x = result.binning_y = 0
    result.roi = copy.copy(info.roi)
    result.roi.x_offset = result.roi.y_offset = result.roi.height = result.roi.width = 0
    result.roi.do_rectify = False
    return result


def _empty(header: Any) -> Any:
    """Return a header without stamp and frame id; messages of rosbags have no defaults."""
    result = copy.copy(header)
    result.stamp, result.frame_id = copy.copy(header.stamp), ""
    result.stamp.sec = result.stamp.nanosec = 0
    return result
