"""Decode image files to pixels, with one check for damage and one rule for 16 bits."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from depth_anything_ros.images.compressed_files import DamagedFileError, OtherFormatError, extent_of_file, kind_of_file
from depth_anything_ros.images.file_kinds import name_of_content
from depth_anything_ros.images.intensity import IntensityMapper
from depth_anything_ros.images.pixel_layout import as_rgb
from depth_anything_ros.system.memory import available_bytes

CANNOT_DECODE = "OpenCV cannot decode"
MAX_BYTES = 2**31 - 1
"""OpenCV counts the bytes of a file in a signed 32-bit number."""
_MAX_PIXELS_PER_BYTE = 2048
"""For a JPEG, which has at least one bit per 8x8 block; this limit is 4 times as high. OpenCV fills missing pixels."""
_LARGE = 1 << 26
"""Pixels up to which the available memory is not checked."""
_BYTES_A_PIXEL = 6
"""Bytes per pixel for decoding and one copy."""


def read_file(path: Path) -> bytes:
    """Return the content of an image file. Raises `OSError`, or `DamagedFileError` for a file too long for OpenCV."""
    try:
        length = path.stat().st_size
        if length > MAX_BYTES:
            raise DamagedFileError(f"it has {length} bytes, more than OpenCV can read")
        return path.read_bytes()  # cv2.imread gives no reasons, and on some systems takes no Unicode names
    except MemoryError as error:
        raise DamagedFileError("there is not enough memory to read it") from error
    except ValueError as error:  # a null byte in the name
        raise DamagedFileError(str(error)) from error


def decode_file(content: bytes | np.ndarray, flags: int) -> np.ndarray:
    """Decode an image file and return its pixels.

    Args:
        content: of the file.
        flags: OpenCV's flags for the channels, depth and orientation of the result.

    Raises:
        DamagedFileError: the file is incomplete, as far as `extent_of_file` can detect it (OpenCV would fill the
            missing part of a JPEG with gray). Or OpenCV cannot decode it, or it has more pixels than OpenCV or the
            memory allows. The process survives all of them.
    """
    data = content.data if isinstance(content, np.ndarray) else memoryview(content)
    if not len(data):
        raise DamagedFileError("the file is empty")
    try:
        (height, width), length = extent_of_file(data)
    except OtherFormatError:  # OpenCV reads more kinds than `extent_of_file` can check
        kind = name_of_content(data)
        return decode_pixels(data, flags, f"it: it is {kind}; convert it to JPEG or PNG" if kind else "it")
    what = f"its {width}x{height} pixels"
    if height * width > _MAX_PIXELS_PER_BYTE * length and kind_of_file(data) == "jpeg":
        raise DamagedFileError(f"its header declares {width}x{height} pixels, more than its data can give")
    if height * width > _LARGE and height * width * _BYTES_A_PIXEL > available_bytes():
        raise DamagedFileError(f"there is not enough memory for {what}")
    return decode_pixels(data[:length], flags, what)


def decode_pixels(data: memoryview, flags: int, what: str = "it") -> np.ndarray:
    """Decode a checked file and return its pixels.

    Args:
        data: the file.
        flags: see `decode_file`.
        what: name of the pixels in the error message.

    Raises:
        DamagedFileError: OpenCV cannot decode it.
    """
    try:
        pixels = cv2.imdecode(np.frombuffer(data, np.uint8), flags) if len(data) else None
    except (cv2.error, MemoryError) as error:  # more pixels than OpenCV's limit or the memory
        raise DamagedFileError(f"{CANNOT_DECODE} {what}") from error
    if pixels is None:
        raise DamagedFileError(f"{CANNOT_DECODE} {what}")
    return pixels


def decode_rgb(content: bytes | np.ndarray, mapper: IntensityMapper | None = None, flags: int = 0) -> np.ndarray:
    """Decode an image file to RGB uint8 (H, W, 3), which can be a view of BGR.

    Args:
        content: of the file.
        mapper: maps 16 bits to 8; None uses a new one.
        flags: for OpenCV in addition to those for color, such as `cv2.IMREAD_IGNORE_ORIENTATION`.

    Raises:
        DamagedFileError: see `decode_file`; also for values of another type than uint8 and uint16.
    """
    pixels = decode_file(content, cv2.IMREAD_COLOR | cv2.IMREAD_ANYDEPTH | flags)
    if pixels.dtype == np.uint16:
        deep = pixels
        try:
            pixels = np.empty(deep.shape, np.uint8)
            (mapper or IntensityMapper())(deep, pixels)
        except (cv2.error, MemoryError) as error:
            raise DamagedFileError("there is not enough memory to convert its 16 bits to 8") from error
    elif pixels.dtype != np.uint8:
        raise DamagedFileError(f"it has {pixels.dtype} values, not an image's; convert it to 8 or 16 bits unsigned")
    return as_rgb(pixels, "bgr")
