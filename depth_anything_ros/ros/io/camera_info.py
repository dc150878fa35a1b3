"""From a camera's camera_info to the geometry of a frame's outputs: exact, and recomputed only when it changes."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from sensor_msgs.msg import CameraInfo

from depth_anything_ros.geometry.camera import Camera, intrinsics_doubt
from depth_anything_ros.geometry.distortion import distortion_of
from depth_anything_ros.geometry.rectification import MODELS, Rectifier, needs_rectification
from depth_anything_ros.ros.depth_node.rectified_choice import RectifiedChoice, choose_rectified

Size = tuple[int, int]
"""(height, width) in pixels."""

MAX_SLOPE = 1e6
"""Of a pixel's ray, x or y to z: no lens comes near, and single precision does not go far beyond."""
MAX_FOCAL = 1e9
"""Focal length to the image's side; no telescope comes near."""
MIN_VISIBLE = 0.05
"""Share of a rectified image that shows something, below which the calibration is doubted."""
_UNDISTORTED = "plumb_bob", [0.0] * 5


class CameraInfoError(ValueError):
    """A camera_info cannot serve an image; the text names the fix."""


@dataclass(frozen=True)
class OutputGeometry:
    """The geometry of what is derived from one image.

    ``info`` is the outputs' camera_info, with an empty header; ``camera`` is its P as a pinhole camera.
    ``rectifier``, of the image's size, is to be applied to the image first; None where the image is taken as it is.
    ``valid`` bool (H, W), of the outputs' size, is False where the raw camera saw nothing; None where it saw all.
    ``doubt`` says what is probably wrong with the camera_info, in words that end with the fix; None for nothing.
    """

    info: CameraInfo
    camera: Camera
    rectifier: Rectifier | None
    valid: np.ndarray | None
    doubt: str | None = None


class GeometryCache:
    """The geometry of one stream's outputs, kept until the calibration, a size or a flag changes. For one thread.

    ``topic``: the image topic's resolved name, without that of its transport; None for a camera node's own images.

    Attributes:
        choice: what the images of the latest camera_info are taken for, and why; None before the first.
    """

    def __init__(self, topic: str | None = None) -> None:
        self._topic = topic
        self.choice: RectifiedChoice | None = None
        self._choice_key: tuple | None = None
        self._key: tuple | None = None
        self._geometry: OutputGeometry | None = None

    def geometry(
        self, info: CameraInfo, image_size: Size, output_size: Size, rectified: bool | None, rectify: bool
    ) -> OutputGeometry:
        """As `output_geometry`; ``rectified`` may be None, for auto. The same object while only the header changes."""
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


def distorts(info: CameraInfo) -> bool:
    """Whether a raw image of this camera differs from the rectified one; so it is of a lens that is not understood."""
    try:
        model, distortion = distortion_of(info.distortion_model, info.d)
    except ValueError:
        return True
    return needs_rectification(distortion, _matrices(info)[1], model)


def output_geometry(
    info: CameraInfo, image_size: Size, output_size: Size, rectified: bool, rectify: bool
) -> OutputGeometry:
    """The geometry of outputs of ``output_size`` that are derived from an image of ``image_size``.

    A ``rectified`` image has the geometry of P, as in image_pipeline. Of a raw one the outputs have so too if it is to
    be rectified here: if ``rectify`` is set and the lens distorts, or R rotates. Their camera_info is then that of a
    pinhole: D of zeros, R the identity and K equal to P, whose Tx and Ty stay. Otherwise they have the geometry of K,
    D stays, R is the identity and P is [K | 0]. Where P is not filled in, K stands in for it and R is left out.

    ``info`` may describe a larger sensor of which the image is a binned region of interest. Raises `CameraInfoError`.
    """
    _check(info, image_size)
    intrinsics, rectification, projection = _matrices(info)
    model, distortion = _distortion(info) if rectify and not rectified else _UNDISTORTED
    applies = rectify and not rectified and needs_rectification(distortion, rectification, model)
    if not (rectified or applies):
        projection = np.column_stack([intrinsics, np.zeros(3)])
    pixels = _pixel_transform(info, output_size)
    with np.errstate(over="ignore", invalid="ignore"):  # what comes of it is refused below
        result = _scaled(info, pixels @ intrinsics, pixels @ projection, output_size)
    if rectified or applies:
        result.k = result.p.reshape(3, 4)[:, :3].ravel()
        result.distortion_model, result.d = _UNDISTORTED
    _check_rays(result)  # before what takes long: a refusal comes again with every frame
    rectifier, valid = None, None
    if applies:
        pixels = _pixel_transform(info, image_size)
        matrices = pixels @ intrinsics, np.array(distortion), rectification, pixels @ projection[:, :3]
        rectifier = _rectifier(model, *matrices, image_size)
        valid = rectifier.valid_at(output_size)
    doubt = _doubt(info, projection, rectified) or _blind(valid)
    return OutputGeometry(result, camera_of(result), rectifier, valid, doubt)


def camera_of(info: CameraInfo) -> Camera:
    """The pinhole camera of the P of a camera_info that belongs to an image of its own size."""
    return Camera(info.width, info.height, float(info.p[0]), float(info.p[5]), float(info.p[2]), float(info.p[6]))


def _calibration(info: CameraInfo) -> tuple:
    """Every field of a camera_info but the header, as something that compares quickly."""
    roi = info.roi
    return (
        *(info.height, info.width, info.distortion_model, info.binning_x, info.binning_y),
        *(info.d.tobytes(), info.k.tobytes(), info.r.tobytes(), info.p.tobytes()),
        *(roi.x_offset, roi.y_offset, roi.height, roi.width, roi.do_rectify),
    )


def _check(info: CameraInfo, image_size: Size) -> None:
    """Refuses a camera_info that is not calibrated or belongs to another image."""
    if not (np.isfinite(info.k).all() and np.isfinite(info.p).all()):
        raise CameraInfoError("camera_info has a K or P that is not finite; calibrate the camera")
    if info.k[0] == info.k[4] == 0:
        raise CameraInfoError("camera_info has a K of zero, which means uncalibrated; calibrate the camera")
    for name, fx, fy in (("K", info.k[0], info.k[4]), ("P", info.p[0], info.p[5])):
        if not (fx > 0 and fy > 0) and not (name == "P" and fx == fy == 0):
            raise CameraInfoError(
                f"camera_info has focal lengths of {fx:g} and {fy:g} in {name}, which must be positive; calibrate "
                "the camera"
            )
    for name, row in (("K", info.k[6:9]), ("P", info.p[8:11])):
        if not (np.allclose(row, [0, 0, 1], atol=1e-6) or not np.any(row)):  # zeros: left out, as some drivers do
            raise CameraInfoError(
                f"camera_info has {row.tolist()} in the last row of {name}, which must be 0, 0, 1; is {name} "
                "transposed, or not divided by its last number? calibrate the camera"
            )
    described = _described_size(info)
    if described != image_size:
        raise CameraInfoError(
            f"camera_info is for {described[1]}x{described[0]} pixels, but the image has "
            f"{image_size[1]}x{image_size[0]}; publish the camera_info of this very image"
        )


def _doubt(info: CameraInfo, projection: np.ndarray, rectified: bool) -> str | None:
    """What is probably wrong with a camera_info, of which this P (3, 4) in sensor pixels is used."""
    if rectified and info.p[0] == 0 and any(info.d):
        return (
            "camera_info has distortion but a P of zeros, so K is taken for the geometry of the rectified image; have "
            "its driver fill in P"
        )
    if not (info.width and info.height):
        return None
    # Of the whole sensor: the principal point may well lie outside a region of interest.
    (fx, _, cx, _), (_, fy, cy, _), _ = projection.tolist()
    doubt = intrinsics_doubt(Camera(info.width, info.height, fx, fy, cx, cy))
    return None if doubt is None else f"camera_info: {doubt}"


def _blind(valid: np.ndarray | None) -> str | None:
    """What to say of a rectification that leaves next to nothing of the image; None for any other."""
    share = 1.0 if valid is None else float(valid.mean())
    if share >= MIN_VISIBLE:
        return None
    return (
        f"only {100 * share:.1f} % of the image rectified by camera_info show what the camera saw: its K, D, R and P "
        "do not belong together; calibrate the camera"
    )


def _check_rays(info: CameraInfo) -> None:
    """Refuses outputs whose pixels look so far aside, or so straight ahead, that it can be no camera's."""
    fx, _, cx, _, _, fy, cy = map(float, info.p[:7])
    for focal, center, length in ((fx, cx, info.width), (fy, cy, info.height)):
        if not (abs(center) + length <= MAX_SLOPE * focal and focal <= MAX_FOCAL * length):
            raise CameraInfoError(
                f"camera_info has a focal length of {focal:g} pixels and a center at {center:g} for {length} pixels; "
                "calibrate the camera"
            )


def _matrices(info: CameraInfo) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """K (3, 3), R (3, 3) and P (3, 4) in sensor pixels, with what is not filled in replaced."""
    intrinsics, projection = info.k.reshape(3, 3).copy(), info.p.reshape(3, 4).copy()
    intrinsics[2], projection[2, :3] = [0, 0, 1], [0, 0, 1]
    if projection[0, 0] == projection[1, 1] == 0:
        return intrinsics, np.eye(3), np.column_stack([intrinsics, np.zeros(3)])
    return intrinsics, info.r.reshape(3, 3) if np.any(info.r) else np.eye(3), projection


def _distortion(info: CameraInfo) -> tuple[str, Sequence[float]]:
    """The lens of a raw image that is to be rectified, in the names of sensor_msgs."""
    try:
        return distortion_of(info.distortion_model, info.d)
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
    """The rectifier of an image with these K, R and P[:3, :3] in its own pixels; D does not depend on them."""
    try:
        return Rectifier(model, intrinsics, distortion, rectification, projection, size)
    except ValueError as error:
        raise _unusable(error) from error


def _unusable(error: ValueError) -> CameraInfoError:
    return CameraInfoError(
        f"the image cannot be rectified by its camera_info: {error}; calibrate the camera with one of "
        f"{', '.join(MODELS)}, or set rectify to false, which leaves image and outputs distorted"
    )


def _scaled(info: CameraInfo, intrinsics: np.ndarray, projection: np.ndarray, size: Size) -> CameraInfo:
    """A camera_info of a whole image of ``size`` with this K and P and no rotation; the header is empty."""
    result = copy.copy(info)
    result.header = type(info.header)()
    result.height, result.width = size
    result.k, result.p = intrinsics.ravel(), projection.ravel()
    result.r = np.eye(3).ravel()
    result.d = info.d[:]
    result.binning_x = result.binning_y = 0
    result.roi = type(info.roi)()
    return result


def _window(info: CameraInfo) -> tuple[int, int, int, int]:
    """The part of the sensor that is read out: x, y, width, height in sensor pixels."""
    roi = info.roi
    if roi.width == 0 and roi.height == 0:  # by definition: all of it
        return 0, 0, info.width, info.height
    return roi.x_offset, roi.y_offset, roi.width, roi.height


def _binning(info: CameraInfo) -> tuple[int, int]:
    """How many sensor pixels make an image pixel, across and down; 0 means 1."""
    return max(info.binning_x, 1), max(info.binning_y, 1)


def _described_size(info: CameraInfo) -> Size:
    """The size of the image that a camera_info belongs to."""
    _, _, width, height = _window(info)
    binning_x, binning_y = _binning(info)
    return height // binning_y, width // binning_x


def _pixel_transform(info: CameraInfo, output_size: Size) -> np.ndarray:
    """Float64 (3, 3): from sensor pixels to the pixels of the image resized to ``output_size``, centers at integers."""
    x, y, _, _ = _window(info)
    binning_x, binning_y = _binning(info)
    height, width = _described_size(info)
    scale_x, scale_y = output_size[1] / (width * binning_x), output_size[0] / (height * binning_y)
    return np.array(
        [
            [scale_x, 0.0, (0.5 - x) * scale_x - 0.5],
            [0.0, scale_y, (0.5 - y) * scale_y - 0.5],
            [0.0, 0.0, 1.0],
        ]
    )
