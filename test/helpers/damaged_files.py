"""Damaged or unusual images and videos: false headers, truncated or zeroed data, rare formats."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

SIZE = (48, 64)
"""Height and width."""


def flat(value: int, height: int = SIZE[0], width: int = SIZE[1]) -> np.ndarray:
    """BGR of one gray value, which identifies a frame even after lossy compression."""
    return np.full((height, width, 3), value, np.uint8)


def encoded(ending: str, image: np.ndarray | None = None) -> bytes:
    """An image file; by default of gray 100."""
    done, content = cv2.imencode(ending, flat(100) if image is None else image)
    assert done
    return content.tobytes()


def huge_png(side: int = 40_000) -> bytes:
    """A header that declares this many rows and columns, followed by zeros: 1 kB with correct checksums."""
    chunks = (
        (b"IHDR", struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)),
        (b"IDAT", zlib.compress(bytes(1000))),
        (b"IEND", b""),
    )
    packed = (
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in chunks
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(packed)


def huge_jpeg(side: int) -> bytes:
    """A complete JPEG of 64x48 whose header declares a larger size."""
    content = bytearray(encoded(".jpg"))
    place = content.index(b"\xff\xc0") + 5
    content[place : place + 4] = struct.pack(">HH", side, side)
    return bytes(content)


def tiff_pages(*grays: int, preview_first: bool = False) -> bytes:
    """An uncompressed TIFF with a page of each gray; a camera's raw file begins with a small preview."""
    height, width = SIZE
    content, entries = b"II*\0", 9
    place = 8
    for number, gray in enumerate(grays):
        data = place + 2 + 12 * entries + 4
        pixels = bytes([gray]) * (height * width)
        following = 0 if number == len(grays) - 1 else data + len(pixels)
        tags = (
            (254, 4, int(preview_first and number == 0)),
            *((256, 3, width), (257, 3, height), (258, 3, 8), (259, 3, 1), (262, 3, 1), (273, 4, data)),
            *((277, 3, 1), (279, 4, len(pixels))),
        )
        content += struct.pack("<I", place) if number == 0 else b""
        content += struct.pack("<H", entries)
        content += b"".join(struct.pack("<HHII", tag, kind, 1, value) for tag, kind, value in tags)
        content += struct.pack("<I", following) + pixels
        place = following
    return content


def write_video(path: Path, grays: Sequence[int], codec: str = "MJPG", rate: float = 10.0) -> Path:
    """Write a video with a frame of each gray."""
    path.parent.mkdir(parents=True, exist_ok=True)
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*codec), rate, SIZE[::-1])
    assert writer.isOpened()
    for gray in grays:
        writer.write(flat(gray))
    writer.release()
    return path


def zero_frames(path: Path, *numbers: int) -> None:
    """Zero whole frames of an AVI or Matroska file of Motion JPEG, as a failing disk or card does."""
    content, starts = bytearray(path.read_bytes()), []
    place = content.find(b"\xff\xd8\xff")
    while place >= 0:
        starts.append(place)
        place = content.find(b"\xff\xd8\xff", place + 1)
    for number in numbers:
        end = content.find(b"\xff\xd9", starts[number]) + 2
        content[starts[number] : end] = bytes(end - starts[number])
    path.write_bytes(content)


def forget_length(path: Path) -> None:
    """Change a Matroska file to that of a killed recorder: no length, no duration and no index."""
    content = bytearray(path.read_bytes())
    segment = content.index(b"\x18\x53\x80\x67") + 4
    content[segment : segment + 8] = b"\x01" + b"\xff" * 7
    for element in (b"\x11\x4d\x9b\x74", b"\x44\x89", b"\x1c\x53\xbb\x6b"):  # what lists the others comes first
        _make_void(content, element)
    path.write_bytes(content)


def _make_void(content: bytearray, element: bytes) -> None:
    """Replace an element by a Void element of the same length."""
    place = content.index(element)
    start = place + len(element)
    length = 9 - content[start].bit_length()
    size = int.from_bytes(content[start : start + length], "big") & ((1 << 7 * length) - 1)
    whole = len(element) + length + size
    content[place : place + 9] = b"\xec\x01" + (whole - 9).to_bytes(7, "big")
