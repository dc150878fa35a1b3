"""Whether a JPEG or PNG file is whole, and its size, before OpenCV spends memory on it or complains on stderr."""

from __future__ import annotations

import struct
import zlib

_JPEG_STARTS, _PNG_STARTS = b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n"
_JPEG_END = b"\xff\xd9"
_END_SEARCHED = 1 << 16  # some cameras' drivers leave stray bytes after a JPEG's end


class DamagedFileError(ValueError):
    """A file is not a whole JPEG or PNG; the text says how, the same for every file with the same fault."""


class OtherFormatError(DamagedFileError):
    """A file begins as neither JPEG nor PNG."""


def size_of_file(data: memoryview, end_within: int = _END_SEARCHED) -> tuple[int, int]:
    """The (height, width) of a JPEG or PNG file, which ``data``, bytes in one dimension, holds from start to end.

    A JPEG must have its end, the marker FF D9, in its last ``end_within`` bytes; it has no checksums, so that damage
    within may go unnoticed. Of a PNG every checksum is tried. Raises `DamagedFileError`.
    """
    try:
        if data[: len(_JPEG_STARTS)] == _JPEG_STARTS:
            return _jpeg_size(data, end_within)
        if data[: len(_PNG_STARTS)] == _PNG_STARTS:
            return _png_size(data)
    except (IndexError, struct.error):  # the file ends within its header
        raise DamagedFileError("it is truncated") from None
    raise OtherFormatError("it is neither JPEG nor PNG")


def _jpeg_size(data: memoryview, end_within: int) -> tuple[int, int]:
    position, size = 2, (0, 0)
    while (marker := data[position + 1]) != 0xDA:  # the header ends where the first scan starts
        if data[position] != 0xFF or marker < 0xC0:
            raise DamagedFileError("its header makes no sense")
        if marker == 0xFF:  # a byte of filling
            position += 1
            continue
        if marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):  # a frame header
            size = struct.unpack_from(">HH", data, position + 5)
        position += 2 + struct.unpack_from(">H", data, position + 2)[0]
    # From the scan on, since a thumbnail in the header has an end of its own; scans themselves never hold FF D9.
    if _JPEG_END not in bytes(data[max(position, len(data) - end_within) :]):
        raise DamagedFileError("it is truncated")
    if not all(size):
        raise DamagedFileError("its header has no size")
    return size


def _png_size(data: memoryview) -> tuple[int, int]:
    position, size = len(_PNG_STARTS), None
    while True:
        length, kind = struct.unpack_from(">I4s", data, position)
        end = position + 8 + length
        (checksum,) = struct.unpack_from(">I", data, end)
        is_header = kind == b"IHDR"
        if is_header != (size is None) or zlib.crc32(data[position + 4 : end]) != checksum:
            raise DamagedFileError("its checksums or chunks do not fit")
        if is_header:
            size = struct.unpack_from(">II", data, position + 8)[::-1]
            if not all(size):
                raise DamagedFileError("its header has no size")
        if kind == b"IEND":
            return size
        position = end + 4
