"""Decode ROS image messages, raw or compressed, to RGB. One decoder for topics and bags, which needs no ROS.

A message is any object with the fields of sensor_msgs/Image or CompressedImage, from rclpy or rosbags.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import cv2
import numpy as np

from depth_anything_ros.images.compressed_files import DamagedFileError, extent_of_file, kind_of_file
from depth_anything_ros.images.image_files import CANNOT_DECODE, decode_pixels
from depth_anything_ros.images.intensity import AUTO, InputRange, IntensityMapper
from depth_anything_ros.images.pixel_layout import Stored, as_rgb
from depth_anything_ros.images.raw_images import (
    ENCODINGS,
    MOSAICS,
    PACKED_YUV,
    PIXEL_BYTES,
    SAMPLED,
    SEMI_PLANAR_YUV,
    BadImageError,
    Samples,
    check_mosaic_size,
    check_raw_image,
)
from depth_anything_ros.system.array_pool import ArrayPool

__all__ = ["ENCODINGS", "BadImageError", "ImageDecoder", "check_image"]

MAX_PIXELS = 1 << 26
"""Most pixels of a compressed image (8192x8192): a file of a few kilobytes can declare gigabytes."""
Other = Callable[[Any], np.ndarray]
"""Decodes an Image whose encoding is not in `ENCODINGS` to RGB uint8 (H, W, 3), or raises `BadImageError`."""

_YUV_TO_RGB = np.array(  # ITU-R BT.601, Y from 16 to 235, like OpenCV's conversions of the other YUV encodings
    [
        [1.164383, 0.0, 1.596027, -16 * 1.164383 - 128 * 1.596027],
        [1.164383, -0.391762, -0.812968, -16 * 1.164383 + 128 * (0.391762 + 0.812968)],
        [1.164383, 2.017232, 0.0, -16 * 1.164383 - 128 * 2.017232],
    ],
    np.float32,
)
_FILE_FLAGS = cv2.IMREAD_ANYCOLOR | cv2.IMREAD_ANYDEPTH | cv2.IMREAD_IGNORE_ORIENTATION
_VIDEO_CODECS = ("h264", "h265", "hevc", "av1", "vp8", "vp9", "ffmpeg", "libx26")
_VIDEO_STARTS = (b"\0\0\0\1", b"\0\0\1")  # of H.264 and H.265, Annex B
_DEPTH_HEADER = 12  # bytes that compressed_depth_image_transport writes before a PNG


def no_other() -> Other | None:
    """Return None: there is no decoder for further encodings."""
    return None


def check_image(message: Any, find_other: Callable[[], Other | None] = no_other) -> tuple[int, int] | None:
    """Check a message and return its declared (height, width); None for a compressed image, whose size is unknown.

    It reads no pixel, so the receiving thread can call it.

    Args:
        message: a sensor_msgs Image or CompressedImage.
        find_other: returns a decoder for encodings not in `ENCODINGS`, or None. Called only for such an encoding.

    Raises:
        BadImageError: the encoding or the kind of file is unsupported, or size, step and data length contradict
            each other.
    """
    if is_compressed(message):
        _check_file(message)
        return None
    return check_raw_image(message, _is_other(message, find_other))


def _is_other(message: Any, find_other: Callable[[], Other | None]) -> bool:
    """Return whether a raw image's encoding is not in `ENCODINGS` but another decoder supports it."""
    return message.encoding not in ENCODINGS and find_other() is not None


def is_compressed(message: Any) -> bool:
    """Return whether a message is a CompressedImage."""
    return hasattr(message, "format")


class ImageDecoder:
    """A decoder that reuses its buffers and the range of 16-bit images between one camera's images. Not thread-safe.

    Args:
        input_range: for 16-bit images, see `intensity`.
        find_other: returns a decoder for encodings not in `ENCODINGS`, or None. Called only for such an encoding.
    """

    def __init__(self, input_range: InputRange = AUTO, find_other: Callable[[], Other | None] = no_other) -> None:
        self._scratch = ArrayPool()
        self._find_other = find_other
        self._mapper = IntensityMapper(input_range)
        self._deep_shape: tuple[int, ...] | None = None

    @property
    def note(self) -> str | None:
        """A warning about the 16-bit images so far, or None; see `IntensityMapper`."""
        return self._mapper.note

    def set_range(self, input_range: InputRange) -> None:
        """Use another range for 16-bit images from the next image on."""
        if input_range != self._mapper.requested:
            self._mapper = IntensityMapper(input_range)

    def decode(self, message: Any) -> np.ndarray:
        """Return the pixels of a message as RGB uint8 (H, W, 3). Raises `BadImageError`, and nothing else.

        The 8-bit encodings rgb, bgr, mono and OpenCV's own are views of the message's bytes, perhaps read-only. Their
        strides can be negative (BGR), padded (rows, alpha) or zero (mono), see `pixel_layout`. 16-bit, YUV and Bayer
        images are converted into a buffer that the next call may overwrite. The input range maps 16 bits to 8. YUV is
        converted by ITU-R BT.601 with Y from 16 to 235.

        The first bytes of a compressed image determine its kind (JPEG, PNG, WebP, BMP or TIFF), not its format field.
        Its EXIF orientation is ignored, since a rotated image would not match its camera_info. An incomplete file is
        rejected, as far as `extent_of_file` can detect it. OpenCV allocates its pixels.
        """
        if is_compressed(message):
            return self._from_file(message)
        height, width = check_raw_image(message, _is_other(message, self._find_other))
        encoding, data = message.encoding, message.data
        if encoding in SAMPLED:
            return as_rgb(*self._pixels(message, SAMPLED[encoding]))
        if encoding in PACKED_YUV:
            pairs: np.ndarray = np.ndarray((height, width, 2), np.uint8, data, strides=(message.step, 2, 1))
            return self._converted(pairs, PACKED_YUV[encoding], height)
        if encoding in SEMI_PLANAR_YUV:
            planes: np.ndarray = np.ndarray((height * 3 // 2, width), np.uint8, data, strides=(message.step, 1))
            return self._converted(planes, SEMI_PLANAR_YUV[encoding], height)
        if encoding == "nv24":
            return self._from_nv24(message)
        if encoding in MOSAICS:
            mosaic = self._pixels(message, Samples("gray", PIXEL_BYTES[encoding]))
            return self._converted(mosaic.pixels, MOSAICS[encoding], height)
        decode = self._find_other()
        assert decode is not None  # the check has rejected other encodings
        return decode(message)

    def _pixels(self, message: Any, samples: Samples) -> Stored:
        """Return the samples of a checked message in 8 bits; only rows can be padded."""
        channels, size = samples.channels, samples.sample_bytes
        pixels: np.ndarray = np.ndarray(
            (message.height, message.width, channels),
            np.uint8 if size == 1 else ">u2" if message.is_bigendian else "<u2",
            message.data,
            strides=(message.step, channels * size, size),
        )
        pixels = pixels[..., 0] if channels == 1 else pixels
        if size == 1:
            return Stored(pixels, samples.order)
        if not pixels.dtype.isnative or not pixels.flags.aligned:  # OpenCV supports neither
            deep = self._scratch.get("deep", pixels.shape, np.uint16)
            np.copyto(deep, pixels)
            pixels = deep
        if channels == 4:  # alpha must not affect the range
            colors = self._scratch.get("deep colors", (*pixels.shape[:2], 3), np.uint16)
            pixels = cv2.cvtColor(pixels, cv2.COLOR_RGBA2RGB, dst=colors)
        return Stored(self._in_8_bits(pixels), samples.order.rstrip("a"))

    def _in_8_bits(self, pixels: np.ndarray) -> np.ndarray:
        """Map 16 bits to 8 by the input range. Another image shape (another camera) restarts the range."""
        if pixels.shape != self._deep_shape:
            self._deep_shape, self._mapper = pixels.shape, IntensityMapper(self._mapper.requested)
        result = self._scratch.get("in 8 bits", pixels.shape)
        self._mapper(pixels, result)
        return result

    def _converted(self, pixels: np.ndarray, conversion: int, height: int) -> np.ndarray:
        """Return the result of an OpenCV conversion to RGB."""
        return cv2.cvtColor(pixels, conversion, dst=self._scratch.get("rgb", (height, pixels.shape[1], 3)))

    def _from_nv24(self, message: Any) -> np.ndarray:
        """Convert NV24: rows of Y, then as many rows of interleaved U and V, each two steps long."""
        height, width, step, data = message.height, message.width, message.step, message.data
        yuv = self._scratch.get("samples", (height, width, 3))
        yuv[..., 0] = np.ndarray((height, width), np.uint8, data, strides=(step, 1))
        yuv[..., 1:] = np.ndarray((height, width, 2), np.uint8, data, offset=height * step, strides=(2 * step, 2, 1))
        return cv2.transform(yuv, _YUV_TO_RGB, dst=self._scratch.get("rgb", (height, width, 3)))

    def _from_file(self, message: Any) -> np.ndarray:
        _check_file(message)
        data = memoryview(message.data)
        try:
            (height, width), length = extent_of_file(data)
            if height * width > MAX_PIXELS:
                raise BadImageError(
                    "compressed size",
                    f"compressed image is {width}x{height}, more than {MAX_PIXELS} pixels; lower the resolution",
                )
            pixels = decode_pixels(data[:length], _FILE_FLAGS)
            if pixels.shape[:2] != (height, width):
                raise DamagedFileError(f"{CANNOT_DECODE} it")
        except DamagedFileError as error:
            text = f"compressed image is damaged: {error}; check the camera's driver and the network"
            raise BadImageError("compressed data", text, str(error)) from None
        if pixels.dtype == np.uint16:
            pixels = self._in_8_bits(pixels)
        elif pixels.dtype != np.uint8:
            raise BadImageError(
                "compressed format",
                f"compressed image of format {message.format!r} has {pixels.dtype} values, perhaps depth; "
                "remap image to a color camera's image",
                message.format,
            )
        if pixels.ndim == 3:
            return as_rgb(pixels, "bgr")
        mosaic = _mosaic_of(message.format)
        if mosaic is None:
            return as_rgb(pixels, "gray")
        check_mosaic_size(height, width)
        return self._converted(pixels, MOSAICS[mosaic], height)


def _check_file(message: Any) -> None:
    """Raise `BadImageError` unless a CompressedImage begins like an image file."""
    declared, data = message.format, memoryview(message.data)
    if not len(data):
        raise BadImageError("empty data", "compressed image has no data; check the camera's driver")
    if "compresseddepth" in declared.lower() or kind_of_file(data[_DEPTH_HEADER:]) == "png":
        raise BadImageError(
            "compressed depth",
            f"compressed image of format {declared!r} is a depth image; remap image to a color camera's image",
        )
    if kind_of_file(data) is not None:
        return
    if any(codec in declared.lower() for codec in _VIDEO_CODECS) or bytes(data[:4]).startswith(_VIDEO_STARTS):
        raise BadImageError(
            "video stream",
            f"compressed image of format {declared!r} is part of a video stream; decode it with "
            "`ros2 run image_transport republish`, and set image_transport to raw",
            declared,
        )
    raise BadImageError(
        "compressed format",
        f"compressed image of format {declared!r} is unsupported: it begins with {bytes(data[:4]).hex(' ')}; have the "
        "camera publish jpeg or png",
        declared,
    )


def _mosaic_of(declared: str) -> str | None:
    """Return the Bayer encoding of a gray file of this format, None for a plain gray image.

    compressed_image_transport writes the source encoding, the file format, and the encoding after its conversion, if
    any: "rgb8; jpeg compressed bgr8", but "bayer_rggb8; png compressed ". Others write only "jpeg".
    """
    source, _, written = declared.partition(";")
    return source if source in MOSAICS and len(written.split()) < 3 else None
