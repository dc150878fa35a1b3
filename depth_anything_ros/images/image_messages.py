"""From image messages of ROS, raw or compressed, to RGB pixels: one decoder for topics and bags, which needs no ROS.

A message is whatever has the fields of sensor_msgs/Image or CompressedImage: one of rclpy, or of rosbags.
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
"""A compressed image may not have more: a file of a few kilobytes can ask for gigabytes. 8192x8192."""
Other = Callable[[Any], np.ndarray]
"""Decodes an Image of an encoding that is not in `ENCODINGS` to RGB, uint8 (H, W, 3), or raises `BadImageError`."""

_YUV_TO_RGB = np.array(  # ITU-R BT.601, Y from 16 to 235, as in OpenCV's conversions of the other YUV encodings
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
_DEPTH_HEADER = 12  # bytes that compressed_depth_image_transport puts before a PNG


def no_other() -> Other | None:
    """Nobody knows more encodings."""
    return None


def check_image(message: Any, find_other: Callable[[], Other | None] = no_other) -> tuple[int, int] | None:
    """The (height, width) that a message says it has; None for a compressed one, which must be decoded to know.

    No pixel is touched, so that this suits the thread that receives. Raises `BadImageError` where the encoding or the
    kind of file is not understood, or where size, step and length of the data contradict each other.
    """
    if is_compressed(message):
        _check_file(message)
        return None
    return check_raw_image(message, _is_other(message, find_other))


def _is_other(message: Any, find_other: Callable[[], Other | None]) -> bool:
    """Whether a raw image is of an encoding that is not in `ENCODINGS` but can be decoded."""
    return message.encoding not in ENCODINGS and find_other() is not None


def is_compressed(message: Any) -> bool:
    """Whether a message is a CompressedImage."""
    return hasattr(message, "format")


class ImageDecoder:
    """Keeps conversion buffers, and the range of 16-bit images, from one image of a camera to the next. For one thread.

    Args:
        input_range: of 16-bit images, see `intensity`.
        find_other: finds who decodes what is not in `ENCODINGS`, or None; asked only where it is needed.
    """

    def __init__(self, input_range: InputRange = AUTO, find_other: Callable[[], Other | None] = no_other) -> None:
        self._scratch = ArrayPool()
        self._find_other = find_other
        self._mapper = IntensityMapper(input_range)
        self._deep_shape: tuple[int, ...] | None = None

    @property
    def note(self) -> str | None:
        """What is to be said of the 16-bit images so far; see `IntensityMapper`."""
        return self._mapper.note

    def set_range(self, input_range: InputRange) -> None:
        """Takes another range of 16-bit images from the next one on."""
        if input_range != self._mapper.requested:
            self._mapper = IntensityMapper(input_range)

    def decode(self, message: Any) -> np.ndarray:
        """The pixels of a message as RGB, uint8 (H, W, 3). Raises `BadImageError`, and nothing else.

        Of 8 bits, rgb, bgr, mono and OpenCV's own encodings are viewed in the message's bytes: strides may be negative
        (BGR), padded (rows, alpha) or zero (mono), see `pixel_layout`, and the view may be read-only. 16 bits, YUV and
        Bayer are converted into a buffer that the next call may overwrite. 16 bits become 8 by the input range. YUV is
        taken as ITU-R BT.601 with Y from 16 to 235.

        A compressed image is the file that its first bytes say it is, JPEG, PNG, WebP, BMP or TIFF, whatever its format
        says. It is read whatever orientation its EXIF asks for, since a turned image would not fit its camera_info, and
        refused if it is not whole, as far as `extent_of_file` can tell. For it OpenCV allocates.
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
        assert decode is not None  # else the check refused it
        return decode(message)

    def _pixels(self, message: Any, samples: Samples) -> Stored:
        """The samples of a checked message in 8 bits, padded in rows alone."""
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
        if not pixels.dtype.isnative or not pixels.flags.aligned:  # OpenCV knows neither
            deep = self._scratch.get("deep", pixels.shape, np.uint16)
            np.copyto(deep, pixels)
            pixels = deep
        if channels == 4:  # what is transparent must not count for the range
            colors = self._scratch.get("deep colors", (*pixels.shape[:2], 3), np.uint16)
            pixels = cv2.cvtColor(pixels, cv2.COLOR_RGBA2RGB, dst=colors)
        return Stored(self._in_8_bits(pixels), samples.order.rstrip("a"))

    def _in_8_bits(self, pixels: np.ndarray) -> np.ndarray:
        """16 bits to 8, by the input range, which a camera of another size or kind begins anew."""
        if pixels.shape != self._deep_shape:
            self._deep_shape, self._mapper = pixels.shape, IntensityMapper(self._mapper.requested)
        result = self._scratch.get("in 8 bits", pixels.shape)
        self._mapper(pixels, result)
        return result

    def _converted(self, pixels: np.ndarray, conversion: int, height: int) -> np.ndarray:
        """The result of an OpenCV conversion to RGB."""
        return cv2.cvtColor(pixels, conversion, dst=self._scratch.get("rgb", (height, pixels.shape[1], 3)))

    def _from_nv24(self, message: Any) -> np.ndarray:
        """Rows of Y, then as many of U and V in turn, which take two steps each."""
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
                f"compressed image of format {message.format!r} holds {pixels.dtype} values, depth perhaps; "
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
    """Raises `BadImageError` unless a CompressedImage holds the file of a picture, going by the file's first bytes."""
    said, data = message.format, memoryview(message.data)
    if not len(data):
        raise BadImageError("empty data", "compressed image has no data; check the camera's driver")
    if "compresseddepth" in said.lower() or kind_of_file(data[_DEPTH_HEADER:]) == "png":
        raise BadImageError(
            "compressed depth",
            f"compressed image of format {said!r} holds depth; remap image to a color camera's image",
        )
    if kind_of_file(data) is not None:
        return
    if any(codec in said.lower() for codec in _VIDEO_CODECS) or bytes(data[:4]).startswith(_VIDEO_STARTS):
        raise BadImageError(
            "video stream",
            f"compressed image of format {said!r} holds a part of a video; decode it with `ros2 run image_transport "
            "republish`, and set image_transport to raw",
            said,
        )
    raise BadImageError(
        "compressed format",
        f"compressed image of format {said!r} is not understood: it begins with {bytes(data[:4]).hex(' ')}; have the "
        "camera publish jpeg or png",
        said,
    )


def _mosaic_of(said: str) -> str | None:
    """The encoding of the mosaic that a gray file of this format holds, None for pixels.

    compressed_image_transport writes what it was given, what it wrote, and what it had converted to, if it had:
    "rgb8; jpeg compressed bgr8", but "bayer_rggb8; png compressed ". Others write "jpeg" alone.
    """
    source, _, written = said.partition(";")
    return source if source in MOSAICS and len(written.split()) < 3 else None
