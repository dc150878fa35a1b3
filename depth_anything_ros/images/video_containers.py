"""Read the length of a video from its container: the number of frames, and whether the file is cut short."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np

_EBML, _SEGMENT = b"\x1a\x45\xdf\xa3", b"\x18\x53\x80\x67"
_MAX_MOOV_BYTES = 1 << 28
"""Bytes. A larger box is skipped."""
_INDEX_ENTRY = np.dtype([("kind", "S4"), ("flags", "<u4"), ("offset", "<u4"), ("size", "<u4")])


class Container(NamedTuple):
    """Facts about a video file from its container.

    Attributes:
        counts_frames: whether a table lists the frames and all of them are shown. Then their number is exact, not
            estimated from a duration.
        is_cut_short: whether the file is shorter than it declares.
        empty_frames: number of listed frames that the recorder left empty.
        can_seek: whether an index finds frames by number. Without one, OpenCV silently returns other frames.
    """

    counts_frames: bool = False
    is_cut_short: bool = False
    empty_frames: int = 0
    can_seek: bool = False


def container_of(path: Path) -> Container:
    """Read the container of an AVI, MP4, MOV, 3GP, Matroska or WebM file; defaults for others. Raises `OSError`."""
    length = path.stat().st_size
    with path.open("rb") as file:
        start = file.read(64)
        if start[:4] == b"RIFF" and start[8:12] == b"AVI ":
            is_cut_short = 8 + struct.unpack_from("<I", start, 4)[0] > length
            return Container(True, is_cut_short, _empty_frames(file, length), True)
        if start.startswith(_EBML):
            declared = _matroska_length(start)
            return Container(is_cut_short=declared > length, can_seek=0 < declared <= length)
        if start[4:8] in (b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip"):
            return _of_boxes(file, length)
    return Container()


def _empty_frames(file: BinaryIO, length: int) -> int:
    """Count the empty video frames in an AVI's index: a recorder repeats the previous frame with such an entry."""
    position = 12
    while position + 8 <= length:
        file.seek(position)
        kind, size = struct.unpack("<4sI", file.read(8))
        if kind == b"idx1":
            content = file.read(size)
            entries = np.frombuffer(content[: len(content) // 16 * 16], _INDEX_ENTRY)
            is_video = np.char.endswith(entries["kind"], b"dc") | np.char.endswith(entries["kind"], b"db")
            return int(np.count_nonzero(is_video & (entries["size"] == 0)))
        position += 8 + size + size % 2
    return 0


def _matroska_length(start: bytes) -> int:
    """Return where the first segment ends; 0 if the header does not declare it (a stream, or a killed recorder)."""
    try:
        header, position = _vint(start, 4)
        position += header
        if start[position : position + 4] != _SEGMENT:
            return 0
        segment, position = _vint(start, position + 4)
    except IndexError:
        return 0
    return 0 if segment < 0 else position + segment


def _vint(data: bytes, position: int) -> tuple[int, int]:
    """Return a variable-length number (-1 for "unknown") and the position after it. Raises `IndexError`."""
    first = data[position]
    size = 9 - first.bit_length()
    if size > 8:
        raise IndexError("a variable-length number cannot begin with 0")
    value = int.from_bytes(data[position : position + size], "big") & ((1 << 7 * size) - 1)
    return (-1 if value == (1 << 7 * size) - 1 else value), position + size


def _of_boxes(file: BinaryIO, length: int) -> Container:
    """Walk the boxes of an ISO base media file (MP4, MOV, 3GP) and read the box that describes the tracks."""
    position, counts = 0, False
    while position + 8 <= length:
        file.seek(position)
        header = file.read(16)
        size, kind = struct.unpack_from(">I4s", header)
        begin = 8
        if size == 1 and len(header) == 16:
            (size,), begin = struct.unpack_from(">Q", header, 8), 16
        elif size == 0:  # to the end of the file
            size = length - position
        if size < begin:  # an impossible size
            break
        if kind == b"moov" and size < _MAX_MOOV_BYTES:
            file.seek(position + begin)
            counts = _counts_frames(file.read(size - begin))
        position += size
    return Container(counts, position > length, can_seek=True)


def _counts_frames(moov: bytes) -> bool:
    """Return whether the frame table is complete: no further fragments, and no edit that hides frames."""
    try:
        if _find(moov, b"mvex") is not None:
            return False
        movie = _timing(_needed(moov, b"mvhd"))
        tracks = [content for kind, content in _boxes(moov) if kind == b"trak"]
        videos = [track for track in tracks if (_find(track, b"mdia", b"hdlr") or b"")[8:12] == b"vide"]
        return bool(videos) and not any(_is_trimmed(track, movie[0]) for track in videos)
    except (struct.error, IndexError, ZeroDivisionError):  # a required box is missing
        return False


def _is_trimmed(track: bytes, movie_scale: int) -> bool:
    """Return whether an edit list hides a part of the track. Phones trim a video this way, without recoding."""
    edits = _find(track, b"edts", b"elst")
    if edits is None:
        return False
    scale, duration = _timing(_needed(track, b"mdia", b"mdhd"))
    is_long, (count,) = edits[0] == 1, struct.unpack_from(">I", edits, 4)
    entry = struct.Struct(">Qq4x" if is_long else ">Ii4x")
    shown = [entry.unpack_from(edits, 8 + number * entry.size) for number in range(count)]
    seconds_shown = sum(length for length, start in shown if start >= 0) / movie_scale
    frame = duration / max(1, _samples(track))
    return seconds_shown < (duration - frame / 2) / scale


def _timing(box: bytes) -> tuple[int, int]:
    """Return the time units per second and the duration in these units, from mvhd or mdhd."""
    scale, duration = struct.unpack_from(">IQ", box, 20) if box[0] == 1 else struct.unpack_from(">II", box, 12)
    return scale, duration


def _samples(track: bytes) -> int:
    return struct.unpack_from(">I", _needed(track, b"mdia", b"minf", b"stbl", b"stsz"), 8)[0]


def _needed(data: bytes, *names: bytes) -> bytes:
    """Return the content that `_find` finds. Raises `struct.error` if the box is missing."""
    content = _find(data, *names)
    if content is None:
        raise struct.error(f"there is no box {b'/'.join(names)!r}")
    return content


def _find(data: bytes, *names: bytes) -> bytes | None:
    """Return the content of the first box at a path of nested box names, or None."""
    for name in names:
        inner = next((content for kind, content in _boxes(data) if kind == name), None)
        if inner is None:
            return None
        data = inner
    return data


def _boxes(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Yield kind and content of each box in ``data``."""
    position = 0
    while position + 8 <= len(data):
        size, kind = struct.unpack_from(">I4s", data, position)
        if size < 8:
            return
        yield kind, data[position + 8 : position + size]
        position += size
