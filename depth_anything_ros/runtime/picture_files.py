"""Pictures in files to pixels, for whoever reads them: one check for damage, one rule for 16 bits."""

from __future__ import annotations

import contextlib

import cv2
import numpy as np

from depth_anything_ros.pixel_layout import as_rgb
from depth_anything_ros.runtime.compressed_files import DamagedFileError, OtherFormatError, extent_of_file
from depth_anything_ros.runtime.intensity import IntensityMapper

CANNOT_DECODE = "OpenCV cannot decode it"


def decode_file(content: bytes | np.ndarray, flags: int) -> np.ndarray:
    """The pixels of a picture's file, as OpenCV's flags ask for them.

    Raises `DamagedFileError` where the file is not whole, as far as `extent_of_file` can tell, or OpenCV refuses it: it
    would fill up with grey what a truncated JPEG lacks.
    """
    data = memoryview(content)
    with contextlib.suppress(OtherFormatError):  # OpenCV reads more kinds than can be looked into
        data = data[: extent_of_file(data).length]
    return decode_pixels(data, flags)


def decode_pixels(data: memoryview, flags: int) -> np.ndarray:
    """The pixels of a file that was looked at. Raises `DamagedFileError` where OpenCV refuses it."""
    try:
        pixels = cv2.imdecode(np.frombuffer(data, np.uint8), flags) if len(data) else None
    except cv2.error as error:  # more pixels than it will decode
        raise DamagedFileError(CANNOT_DECODE) from error
    if pixels is None:
        raise DamagedFileError(CANNOT_DECODE)
    return pixels


def decode_rgb(content: bytes | np.ndarray, mapper: IntensityMapper | None = None, flags: int = 0) -> np.ndarray:
    """A picture's file as RGB uint8 (H, W, 3), which may be a view of BGR; 16 bits by ``mapper``.

    ``flags`` go to OpenCV beside those for colour, such as `cv2.IMREAD_IGNORE_ORIENTATION`. Raises `DamagedFileError`.
    """
    pixels = decode_file(content, cv2.IMREAD_COLOR | cv2.IMREAD_ANYDEPTH | flags)
    if pixels.dtype == np.uint16:
        deep, pixels = pixels, np.empty(pixels.shape, np.uint8)
        (mapper or IntensityMapper())(deep, pixels)
    elif pixels.dtype != np.uint8:
        raise DamagedFileError(f"it holds {pixels.dtype} values, no picture's; convert it to 8 or 16 bits without sign")
    return as_rgb(pixels, "bgr")
