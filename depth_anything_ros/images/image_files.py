"""Pictures in files to pixels, for whoever reads them: one check for damage, one rule for 16 bits."""

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
"""OpenCV counts the bytes of a file in 32 bits with a sign."""
_MAX_PIXELS_PER_BYTE = 2048
"""Of a JPEG. It has at least a bit for each block of 8x8; this is four times as many. OpenCV fills up what lacks."""
_LARGE = 1 << 26
"""So many pixels fit any memory, which is looked at for larger pictures alone."""
_BYTES_A_PIXEL = 6
"""What decoding and one copy take."""


def read_file(path: Path) -> bytes:
    """The content of a picture's file. Raises `OSError`, and `DamagedFileError` for what is too long to be one."""
    try:
        length = path.stat().st_size
        if length > MAX_BYTES:
            raise DamagedFileError(f"it has {length} bytes, more than OpenCV reads")
        return path.read_bytes()  # not by cv2.imread, which knows no reasons, and on some systems no Unicode names
    except MemoryError as error:
        raise DamagedFileError("memory does not suffice to read it") from error
    except ValueError as error:  # a null byte in the name
        raise DamagedFileError(str(error)) from error


def decode_file(content: bytes | np.ndarray, flags: int) -> np.ndarray:
    """The pixels of a picture's file, as OpenCV's flags ask for them.

    Raises `DamagedFileError` where the file is not whole, as far as `extent_of_file` can tell, or OpenCV refuses it: it
    would fill up with gray what a truncated JPEG lacks. So too for more pixels than OpenCV or this machine's memory
    takes; the process goes on.
    """
    data = content.data if isinstance(content, np.ndarray) else memoryview(content)
    if not len(data):
        raise DamagedFileError("the file is empty")
    try:
        (height, width), length = extent_of_file(data)
    except OtherFormatError:  # OpenCV reads more kinds than can be looked into
        kind = name_of_content(data)
        return decode_pixels(data, flags, f"it: it is {kind}; convert it to JPEG or PNG" if kind else "it")
    what = f"its {width}x{height} pixels"
    if height * width > _MAX_PIXELS_PER_BYTE * length and kind_of_file(data) == "jpeg":
        raise DamagedFileError(f"its header claims {width}x{height} pixels, more than it can hold")
    if height * width > _LARGE and height * width * _BYTES_A_PIXEL > available_bytes():
        raise DamagedFileError(f"memory does not suffice for {what}")
    return decode_pixels(data[:length], flags, what)


def decode_pixels(data: memoryview, flags: int, what: str = "it") -> np.ndarray:
    """The pixels of a file that was looked at. Raises `DamagedFileError`, calling it ``what``, where OpenCV refuses."""
    try:
        pixels = cv2.imdecode(np.frombuffer(data, np.uint8), flags) if len(data) else None
    except (cv2.error, MemoryError) as error:  # more pixels than it will decode, or than there is memory for
        raise DamagedFileError(f"{CANNOT_DECODE} {what}") from error
    if pixels is None:
        raise DamagedFileError(f"{CANNOT_DECODE} {what}")
    return pixels


def decode_rgb(content: bytes | np.ndarray, mapper: IntensityMapper | None = None, flags: int = 0) -> np.ndarray:
    """A picture's file as RGB uint8 (H, W, 3), which may be a view of BGR; 16 bits by ``mapper``.

    ``flags`` go to OpenCV beside those for color, such as `cv2.IMREAD_IGNORE_ORIENTATION`. Raises `DamagedFileError`.
    """
    pixels = decode_file(content, cv2.IMREAD_COLOR | cv2.IMREAD_ANYDEPTH | flags)
    if pixels.dtype == np.uint16:
        deep = pixels
        try:
            pixels = np.empty(deep.shape, np.uint8)
            (mapper or IntensityMapper())(deep, pixels)
        except (cv2.error, MemoryError) as error:
            raise DamagedFileError("memory does not suffice to make 8 bits of its 16") from error
    elif pixels.dtype != np.uint8:
        raise DamagedFileError(f"it holds {pixels.dtype} values, no picture's; convert it to 8 or 16 bits without sign")
    return as_rgb(pixels, "bgr")
