"""How many pictures a file holds beside the first, which alone is read: pages of a TIFF, frames of an animation."""

from __future__ import annotations

import contextlib
import logging
import struct
from collections.abc import Callable

from depth_anything_ros.images.compressed_files import kind_of_file

log = logging.getLogger(__name__)

MAX_COUNTED = 10_000
"""Directories of a TIFF that are counted; a damaged file may have them in a circle."""
_SUBFILE, _NO_PAGE = 254, 1 | 4
"""Tag that says what a directory of a TIFF holds, and its bits for a smaller version or a mask of another picture."""


def pages_of(data: memoryview) -> int:
    """How many pictures the file ``data`` holds: TIFF, GIF, animated WebP, PNG and AVIF; 1 for any other.

    Of a damaged file those before the damage are counted.
    """
    count = _COUNTS.get(kind_of_file(data) or _kind_beside(bytes(data[:12])))
    return max(1, count(data)) if count is not None else 1


_said: set[str] = set()


def warn_of_pages(name: str, pages: int) -> None:
    """Says in the log that the first picture alone is used, of the first file in this process that holds more."""
    if pages > 1 and not _said:
        _said.add(name)
        log.warning(
            "%s holds %d pictures: the first alone is used (said once for all such files)",
            name,
            pages,
        )


def _kind_beside(start: bytes) -> str | None:
    """Of the kinds that `kind_of_file` does not know."""
    if start.startswith(b"GIF8"):
        return "gif"
    return "avif" if start[4:12] == b"ftypavis" else None


def _tiff(data: memoryview) -> int:
    order, count = "<" if data[0] == ord("I") else ">", 0
    with contextlib.suppress(struct.error):
        (place,) = struct.unpack_from(f"{order}I", data, 4)
        for _ in range(MAX_COUNTED):
            if not place:
                break
            (entries,) = struct.unpack_from(f"{order}H", data, place)
            subfile = 0
            for position in range(place + 2, place + 2 + 12 * entries, 12):
                tag, kind = struct.unpack_from(f"{order}HH", data, position)
                if tag == _SUBFILE:
                    (subfile,) = struct.unpack_from(order + ("H" if kind == 3 else "I"), data, position + 8)
            (place,) = struct.unpack_from(f"{order}I", data, place + 2 + 12 * entries)
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
    """Bytes of the color table that a GIF's flags tell of."""
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
    """The longest of its tracks, as their tables of sizes tell."""
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
