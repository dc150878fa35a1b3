"""Count the images in a file (pages of a TIFF, frames of an animation). Only the first is read."""

from __future__ import annotations

import contextlib
import logging
import struct
from collections.abc import Callable

from depth_anything_ros.images.compressed_files import kind_of_file

log = logging.getLogger(__name__)

MAX_COUNTED = 10_000
"""Most directories of a TIFF to count: a damaged file can link them in a circle."""
_SUBFILE, _NO_PAGE = 254, 1 | 4
"""The TIFF tag for the content of a directory, and its bits for a smaller version or a mask of another image."""


def pages_of(data: memoryview) -> int:
    """Return the number of images in a TIFF, GIF, animated WebP, PNG or AVIF file; 1 for other kinds.

    In a damaged file, only images before the damage count.
    """
    count = _COUNTS.get(kind_of_file(data) or _kind_of_other(bytes(data[:12])))
    return max(1, count(data)) if count is not None else 1


_reported: set[str] = set()


def warn_of_pages(name: str, pages: int) -> None:
    """Log that only the first image is used, for the first file in this process with more.

    Args:
        name: of the file, for the log.
        pages: number of images in the file.
    """
    if pages > 1 and not _reported:
        _reported.add(name)
        log.warning(
            "%s has %d images: only the first is used (reported once for all such files)",
            name,
            pages,
        )


def _kind_of_other(start: bytes) -> str | None:
    """Return the kind of a file that `kind_of_file` does not recognize: "gif", "avif" or None."""
    if start.startswith(b"GIF8"):
        return "gif"
    return "avif" if start[4:12] == b"ftypavis" else None


def _tiff(data: memoryview) -> int:
    order, count = "<" if data[0] == ord("I") else ">", 0
    with contextlib.suppress(struct.error):
        (offset,) = struct.unpack_from(f"{order}I", data, 4)
        for _ in range(MAX_COUNTED):
            if not offset:
                break
            (entries,) = struct.unpack_from(f"{order}H", data, offset)
            subfile = 0
            for position in range(offset + 2, offset + 2 + 12 * entries, 12):
                tag, kind = struct.unpack_from(f"{order}HH", data, position)
                if tag == _SUBFILE:
                    (subfile,) = struct.unpack_from(order + ("H" if kind == 3 else "I"), data, position + 8)
            (offset,) = struct.unpack_from(f"{order}I", data, offset + 2 + 12 * entries)
            count += not subfile & _NO_PAGE
    return count


def _gif(data: memoryview) -> int:
    count = 0
    with contextlib.suppress(IndexError):
        position = 13 + _color_table(data[10])
        while (block := data[position]) != 0x3B:
            if block == 0x2C:
                count += 1
                position += 10 + _color_table(data[position + 9]) + 1
            elif block == 0x21:
                position += 2
            else:
                break
            while length := data[position]:
                position += 1 + length
            position += 1
    return count


def _color_table(flags: int) -> int:
    """Return the bytes of the color table that a GIF's flags declare."""
    return 3 << (flags & 7) + 1 if flags & 0x80 else 0


def _webp(data: memoryview) -> int:
    count, position = 0, 12
    with contextlib.suppress(struct.error):
        while position < len(data):
            kind, length = struct.unpack_from("<4sI", data, position)
            count += kind == b"ANMF"
            position += 8 + length + length % 2
    return count


def _png(data: memoryview) -> int:
    position = 8
    with contextlib.suppress(struct.error):
        while True:
            length, kind = struct.unpack_from(">I4s", data, position)
            if kind == b"acTL":
                return struct.unpack_from(">I", data, position + 8)[0]
            if kind in (b"IDAT", b"IEND"):
                break
            position += 12 + length
    return 1


def _avif(data: memoryview) -> int:
    """Return the frames of the longest track, by the tables of sizes."""
    content, counts, position = bytes(data), [1], 0
    with contextlib.suppress(struct.error):
        while (position := content.find(b"stsz", position + 1)) >= 0:
            counts.append(struct.unpack_from(">I", content, position + 12)[0])
    return max(counts)


_COUNTS: dict[str | None, Callable[[memoryview], int]] = {
    "tiff": _tiff,
    "gif": _gif,
    "webp": _webp,
    "png": _png,
    "avif": _avif,
}
