"""From messages to what the package computes with: pixels as an RGB view, camera_info as a pinhole camera."""

from __future__ import annotations

import copy

import numpy as np
from sensor_msgs.msg import CameraInfo, Image

from depth_anything_ros.geometry.camera import Camera

Size = tuple[int, int]
"""(height, width) in pixels."""

_CHANNELS = {"rgb8": 3, "bgr8": 3, "8UC3": 3, "rgba8": 4, "bgra8": 4, "mono8": 1}
ENCODINGS = tuple(_CHANNELS)
"""Image encodings that are understood; 8UC3 says nothing about its order and is taken as BGR, as OpenCV writes it."""


class BadImageError(ValueError):
    """An image message contradicts itself or is of a kind that is not understood; the text names the fix.

    ``cause`` is the same for every message with the same fault.
    """

    def __init__(self, cause: str, text: str) -> None:
        super().__init__(text)
        self.cause = cause


class CameraInfoError(ValueError):
    """A camera_info cannot serve an image; the text names the fix."""


def rgb_view(message: Image) -> np.ndarray:
    """The pixels of an image message as RGB, uint8 (H, W, 3): a view of the message's bytes, whatever the encoding.

    Its strides may be negative (BGR), padded (rows, alpha) or zero (mono). Raises `BadImageError`.
    """
    height, width, step, encoding = message.height, message.width, message.step, message.encoding
    if encoding not in _CHANNELS:
        raise BadImageError(
            f"encoding {encoding}",
            f"image encoding {encoding!r} is not understood; have the camera publish one of {', '.join(ENCODINGS)}",
        )
    if height < 1 or width < 1:
        raise BadImageError("zero size", f"image is {width}x{height}; check the driver's resolution")
    channels = _CHANNELS[encoding]
    if step < width * channels:
        raise BadImageError(
            "step",
            f"image step is {step} bytes, but {width} pixels of {encoding} take {width * channels}; "
            "fix the driver's step or encoding",
        )
    shortest, longest = step * (height - 1) + width * channels, step * height
    if not shortest <= len(message.data) <= longest:  # some drivers leave out the padding of the last row
        raise BadImageError(
            "data size",
            f"image data is {len(message.data)} bytes, but {height} rows of step {step} are {longest}; "
            "fix the driver's height, step or data",
        )
    pixels = np.ndarray((height, width, channels), np.uint8, message.data, strides=(step, channels, 1))
    if encoding == "mono8":
        return np.broadcast_to(pixels, (height, width, 3))
    if encoding in ("rgb8", "rgba8"):
        return pixels[..., :3]
    return pixels[..., 2::-1]


def camera_info_for(info: CameraInfo, image_size: Size, output_size: Size, rectified: bool) -> CameraInfo:
    """The camera_info of an image resized to ``output_size``; exact, and its P is the camera of that image's pixels.

    ``info`` may describe a larger sensor of which the image is a binned region of interest. A ``rectified`` image has
    the geometry of P, as in image_pipeline (of K, where P is not filled in); for a raw one P becomes K. The header is
    left as it is. Raises `CameraInfoError`.
    """
    if not (np.isfinite(info.k).all() and np.isfinite(info.p).all()):
        raise CameraInfoError("camera_info has a K or P that is not finite; calibrate the camera")
    if info.k[0] <= 0 or info.k[4] <= 0:
        raise CameraInfoError("camera_info has a K of zero, which means uncalibrated; calibrate the camera")
    described = _described_size(info)
    if described != image_size:
        raise CameraInfoError(
            f"camera_info is for {described[1]}x{described[0]} pixels, but the image has "
            f"{image_size[1]}x{image_size[0]}; publish the camera_info of this very image"
        )
    intrinsics = info.k.reshape(3, 3)
    projection = info.p.reshape(3, 4)
    if not rectified or projection[0, 0] <= 0 or projection[1, 1] <= 0:
        projection = np.column_stack([intrinsics, np.zeros(3)])
    pixels = _pixel_transform(info, output_size)
    result = copy.copy(info)
    result.height, result.width = output_size
    result.k = (pixels @ intrinsics).ravel()
    result.p = (pixels @ projection).ravel()
    if not rectified:
        result.r = np.eye(3).ravel()
    result.binning_x = result.binning_y = 0
    result.roi = type(info.roi)()
    return result


def camera_of(info: CameraInfo) -> Camera:
    """The pinhole camera of the P of a camera_info that `camera_info_for` made."""
    return Camera(info.width, info.height, float(info.p[0]), float(info.p[5]), float(info.p[2]), float(info.p[6]))


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
    """Float64 (3, 3): from sensor pixels to the pixels of the image resized to ``output_size``, centres at integers."""
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
