"""Check whether an image file is complete, before OpenCV allocates memory for it or prints to stderr."""

from __future__ import annotations

import re
import struct
import zlib
from collections.abc import Callable
from typing import NamedTuple

_JPEG_STARTS, _PNG_STARTS = b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n"
_START_OF_IMAGE, _END_OF_IMAGE, _START_OF_SCAN = 0xD8, 0xD9, 0xDA
_FRAME_HEADERS = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
# The end of a scan (ITU-T T.81, B.1.1). In image data, 00 follows a byte FF; restart markers are D0 to D7.
_MARKER_IN_SCAN = re.compile(rb"\xff[\xc0-\xcf\xd8-\xef\xfe]")

_TIFF_TYPES = {3: 2, 4: 4, 5: 8, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8}
"""Bytes of a value of each type; other types take 1."""
_SUBFILE, _WIDTH, _HEIGHT = 254, 256, 257
_REDUCED = 1
"""Bit of the tag `_SUBFILE`: this image is a smaller version of another image in the file."""


class DamagedFileError(ValueError):
    """A file is not a complete image. The text gives the reason, the same for every file with the same problem."""


class OtherFormatError(DamagedFileError):
    """A file is of no kind that `extent_of_file` can check."""


class FileExtent(NamedTuple):
    """The (height, width) of an image, and the bytes of its file. Bytes after that belong to something else."""

    size: tuple[int, int]
    length: int


def kind_of_file(data: memoryview) -> str | None:
    """Return the kind of a file by its first bytes: "jpeg", "png", "webp", "bmp" or "tiff"; None for other kinds."""
    start = bytes(data[:16])
    if start.startswith(_JPEG_STARTS):
        return "jpeg"
    if start.startswith(_PNG_STARTS):
        return "png"
    if start[:4] == b"RIFF" and start[8:12] == b"WEBP":
        return "webp"
    if start[:2] == b"BM":
        return "bmp"
    return "tiff" if start[:4] in (b"II*\0", b"MM\0*") else None


def extent_of_file(data: memoryview) -> FileExtent:
    """Return the extent of the image file at the start of ``data``, bytes in one dimension.

    Anything may follow the file: drivers publish their whole buffer, phones append videos. A JPEG is walked from marker
    to marker to its own end. So neither a thumbnail's end nor stale bytes after the file mislead it. JPEG has no
    checksums, so damage inside can stay unnoticed. Every checksum of a PNG is verified. For WebP, BMP and TIFF the
    header and the declared length are checked; a TIFF does not declare its length.

    Raises `DamagedFileError` for an incomplete file, `OtherFormatError` for another kind.
    """
    kind = kind_of_file(data)
    if kind is None:
        raise OtherFormatError("it is not a JPEG, PNG, WebP, BMP or TIFF")
    try:
        extent = _EXTENTS[kind](data)
    except (IndexError, struct.error):  # the file ends within its header
        raise DamagedFileError("it is truncated") from None
    if not all(extent.size):
        raise DamagedFileError("its header has no size")
    if extent.length > len(data):
        raise DamagedFileError("it is truncated")
    return extent


def _jpeg_extent(data: memoryview) -> FileExtent:
    position, size = 2, (0, 0)
    while True:
        marker = data[position + 1]
        if data[position] != 0xFF or marker < 0xC0:
            raise DamagedFileError("its header is invalid")
        if marker == 0xFF:  # a fill byte
            position += 1
            continue
        if marker == _END_OF_IMAGE:
            return FileExtent(size, position + 2)
        if marker == _START_OF_IMAGE:  # another image begins before the end of this one
            raise DamagedFileError("it is truncated")
        if marker in _FRAME_HEADERS:
            size = struct.unpack_from(">HH", data, position + 5)
        position += 2 + struct.unpack_from(">H", data, position + 2)[0]
        if marker == _START_OF_SCAN:
            end = _MARKER_IN_SCAN.search(data, position)
            if end is None:
                raise DamagedFileError("it is truncated")
            position = end.start()


def _png_extent(data: memoryview) -> FileExtent:
    position, size = len(_PNG_STARTS), None
    while True:
        length, kind = struct.unpack_from(">I4s", data, position)
        end = position + 8 + length
        (checksum,) = struct.unpack_from(">I", data, end)
        is_header = kind == b"IHDR"
        if is_header != (size is None) or zlib.crc32(data[position + 4 : end]) != checksum:
            raise DamagedFileError("its checksums or chunks do not match")
        if is_header:
            width, height = struct.unpack_from(">II", data, position + 8)
            size = height, width
        if kind == b"IEND" and size is not None:
            return FileExtent(size, end + 4)
        position = end + 4


def _webp_extent(data: memoryview) -> FileExtent:
    """Read the size by RFC 9649."""
    length, chunk = 8 + struct.unpack_from("<I", data, 4)[0], bytes(data[12:16])
    if chunk == b"VP8X":
        width, height = (1 + int.from_bytes(data[start : start + 3], "little") for start in (24, 27))
        return FileExtent((height, width), max(length, 30))
    if chunk == b"VP8L":
        (bits,) = struct.unpack_from("<I", data, 21)
        return FileExtent((1 + (bits >> 14 & 0x3FFF), 1 + (bits & 0x3FFF)), length)
    if chunk == b"VP8 ":
        width, height = struct.unpack_from("<HH", data, 26)
        return FileExtent((height & 0x3FFF, width & 0x3FFF), length)
    raise DamagedFileError("its header is invalid")


def _bmp_extent(data: memoryview) -> FileExtent:
    start, header = struct.unpack_from("<II", data, 10)
    if header < 40:  # the OS/2 variant
        width, height, _, bits = struct.unpack_from("<HHHH", data, 18)
        compression = 0
    else:
        width, height, _, bits, compression = struct.unpack_from("<iiHHI", data, 18)
    height, width = abs(height), max(width, 0)
    is_run_length_encoded = compression in (1, 2)
    return FileExtent((height, width), start + (0 if is_run_length_encoded else (width * bits + 31) // 32 * 4 * height))


def _tiff_extent(data: memoryview) -> FileExtent:
    """Read the first image of a TIFF 6.0 file. OpenCV itself rejects incomplete strips or tiles."""
    order = "<" if data[0] == ord("I") else ">"
    (directory,) = struct.unpack_from(f"{order}I", data, 4)
    (entries,) = struct.unpack_from(f"{order}H", data, directory)
    values, end = dict.fromkeys((_SUBFILE, _WIDTH, _HEIGHT), 0), directory + 2 + 12 * entries + 4
    for position in range(directory + 2, directory + 2 + 12 * entries, 12):
        tag, kind, count, offset = struct.unpack_from(f"{order}HHII", data, position)
        length = count * _TIFF_TYPES.get(kind, 1)
        end = end if length <= 4 else max(end, offset + length)
        if tag in values:
            (values[tag],) = struct.unpack_from(order + ("H" if kind == 3 else "I"), data, position + 8)
    if values[_SUBFILE] & _REDUCED:
        raise DamagedFileError("it begins with a small preview, like a camera's raw file; convert it to JPEG or PNG")
    return FileExtent((values[_HEIGHT], values[_WIDTH]), end if end > len(data) else len(data))


_EXTENTS: dict[str, Callable[[memoryview], FileExtent]] = {
    "jpeg": _jpeg_extent,
    "png": _png_extent,
    "webp": _webp_extent,
    "bmp": _bmp_extent,
    "tiff": _tiff_extent,
}
