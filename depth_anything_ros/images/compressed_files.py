"""Whether a picture's file is whole, its size and its end, before OpenCV spends memory on it or complains on stderr."""

from __future__ import annotations

import re
import struct
import zlib
from collections.abc import Callable
from typing import NamedTuple

_JPEG_STARTS, _PNG_STARTS = b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n"
_START_OF_IMAGE, _END_OF_IMAGE, _START_OF_SCAN = 0xD8, 0xD9, 0xDA
_FRAME_HEADERS = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
# What ends a scan (ITU-T T.81, B.1.1): a byte FF of the picture is followed by 00, restarts are D0 to D7.
_MARKER_IN_SCAN = re.compile(rb"\xff[\xc0-\xcf\xd8-\xef\xfe]")

_TIFF_TYPES = {3: 2, 4: 4, 5: 8, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8}
"""Bytes of a value of each type; 1 of all others."""
_SUBFILE, _WIDTH, _HEIGHT = 254, 256, 257
_REDUCED = 1
"""Bit of the tag `_SUBFILE`: what follows is a smaller version of another picture in the file."""


class DamagedFileError(ValueError):
    """A file is no whole picture; the text says how, the same for every file with the same fault."""


class OtherFormatError(DamagedFileError):
    """A file begins as none of the kinds that `extent_of_file` knows."""


class FileExtent(NamedTuple):
    """The (height, width) of a picture, and how many bytes its file has; what follows is none of it."""

    size: tuple[int, int]
    length: int


def kind_of_file(data: memoryview) -> str | None:
    """What a file's first bytes say that it is: "jpeg", "png", "webp", "bmp" or "tiff"; None for anything else."""
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
    """The extent of a picture's file, which lies at the start of ``data``, bytes in one dimension.

    Behind it anything may follow: drivers publish their whole buffer, telephones append videos. A JPEG is walked from
    marker to marker to its own end, so that neither a thumbnail's end nor one in stale bytes behind is taken for it; it
    has no checksums, and damage within may go unnoticed. Of a PNG every checksum is tried. Of WebP, BMP and TIFF the
    header is read, and whether the file is as long as it says; how long a TIFF is does not stand in it.

    Raises `DamagedFileError` where the file is not whole, `OtherFormatError` where it is of another kind.
    """
    kind = kind_of_file(data)
    if kind is None:
        raise OtherFormatError("it is not JPEG, PNG, WebP, BMP or TIFF")
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
            raise DamagedFileError("its header makes no sense")
        if marker == 0xFF:  # a byte of filling
            position += 1
            continue
        if marker == _END_OF_IMAGE:
            return FileExtent(size, position + 2)
        if marker == _START_OF_IMAGE:  # the next one begins before this one has ended
            raise DamagedFileError("it is truncated")
        if marker in _FRAME_HEADERS:
            size = struct.unpack_from(">HH", data, position + 5)
        position += 2 + struct.unpack_from(">H", data, position + 2)[0]
        if marker == _START_OF_SCAN:
            found = _MARKER_IN_SCAN.search(data, position)
            if found is None:
                raise DamagedFileError("it is truncated")
            position = found.start()


def _png_extent(data: memoryview) -> FileExtent:
    position, size = len(_PNG_STARTS), None
    while True:
        length, kind = struct.unpack_from(">I4s", data, position)
        end = position + 8 + length
        (checksum,) = struct.unpack_from(">I", data, end)
        is_header = kind == b"IHDR"
        if is_header != (size is None) or zlib.crc32(data[position + 4 : end]) != checksum:
            raise DamagedFileError("its checksums or chunks do not fit")
        if is_header:
            width, height = struct.unpack_from(">II", data, position + 8)
            size = height, width
        if kind == b"IEND" and size is not None:
            return FileExtent(size, end + 4)
        position = end + 4


def _webp_extent(data: memoryview) -> FileExtent:
    """As RFC 9649 has it."""
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
    raise DamagedFileError("its header makes no sense")


def _bmp_extent(data: memoryview) -> FileExtent:
    start, header = struct.unpack_from("<II", data, 10)
    if header < 40:  # of OS/2
        width, height, _, bits = struct.unpack_from("<HHHH", data, 18)
        compression = 0
    else:
        width, height, _, bits, compression = struct.unpack_from("<iiHHI", data, 18)
    height, width = abs(height), max(width, 0)
    is_run_length_encoded = compression in (1, 2)
    return FileExtent((height, width), start + (0 if is_run_length_encoded else (width * bits + 31) // 32 * 4 * height))


def _tiff_extent(data: memoryview) -> FileExtent:
    """Of the first picture in the file, as TIFF 6.0 has it. OpenCV refuses one whose strips or tiles are not whole."""
    order = "<" if data[0] == ord("I") else ">"
    (directory,) = struct.unpack_from(f"{order}I", data, 4)
    (entries,) = struct.unpack_from(f"{order}H", data, directory)
    values, end = dict.fromkeys((_SUBFILE, _WIDTH, _HEIGHT), 0), directory + 2 + 12 * entries + 4
    for position in range(directory + 2, directory + 2 + 12 * entries, 12):
        tag, kind, count, place = struct.unpack_from(f"{order}HHII", data, position)
        length = count * _TIFF_TYPES.get(kind, 1)
        end = end if length <= 4 else max(end, place + length)
        if tag in values:
            (values[tag],) = struct.unpack_from(order + ("H" if kind == 3 else "I"), data, position + 8)
    if values[_SUBFILE] & _REDUCED:
        raise DamagedFileError("it begins with a small preview, as a camera's raw file does; convert it to JPEG or PNG")
    return FileExtent((values[_HEIGHT], values[_WIDTH]), end if end > len(data) else len(data))


_EXTENTS: dict[str, Callable[[memoryview], FileExtent]] = {
    "jpeg": _jpeg_extent,
    "png": _png_extent,
    "webp": _webp_extent,
    "bmp": _bmp_extent,
    "tiff": _tiff_extent,
}
