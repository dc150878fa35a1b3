"""The formats, sizes and rates that a Video4Linux device offers, asked from its driver without starting the camera."""

from __future__ import annotations

import errno
import fcntl
import os
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

CAPTURE, CAPTURE_MULTIPLANAR = 0x1, 0x1000
DEVICE_CAPABILITIES = 0x80000000
"""Bits of v4l2_capability."""
BUFFER_TYPES = {CAPTURE: 1, CAPTURE_MULTIPLANAR: 9}
"""v4l2_buf_type by capability."""
DISCRETE = 1
"""v4l2_frmsizetypes and v4l2_frmivaltypes: one value, not a range."""
MOST_ENTRIES = 256
"""Entries of an enumeration that are read: a faulty driver's would not end."""

# Structures of linux/videodev2.h, without padding.
_CAPABILITY = struct.Struct("=16s32s32sIII12x")
_FORMAT = struct.Struct("=III32sI16x")
_SIZE = struct.Struct("=III6I8x")
_INTERVAL = struct.Struct("=IIIII6I8x")


def _request(number: int, layout: struct.Struct, direction: int) -> int:
    return direction << 30 | layout.size << 16 | ord("V") << 8 | number


QUERY_CAPABILITY = _request(0, _CAPABILITY, 2)
ENUMERATE_FORMATS = _request(2, _FORMAT, 3)
ENUMERATE_SIZES = _request(74, _SIZE, 3)
ENUMERATE_INTERVALS = _request(75, _INTERVAL, 3)


@dataclass(frozen=True)
class CameraMode:
    """One format and size.

    Attributes:
        pixel_format: FourCC.
        width: in pixels.
        height: in pixels.
        rates: frames per second, highest first; the ends of a range; empty if the driver tells none.
    """

    pixel_format: str
    width: int
    height: int
    rates: tuple[float, ...]

    def __str__(self) -> str:
        rates = "/".join(f"{rate:g}" for rate in self.rates)
        return f"{self.width}x{self.height}{f' at {rates} Hz' if rates else ''}"


@dataclass(frozen=True)
class VideoDevice:
    """A device that answered.

    Attributes:
        name: of the camera.
        driver: of the kernel.
        gives_images: False for a camera's second device with metadata, and for outputs.
        modes: by format, as the driver lists them.
    """

    name: str
    driver: str
    gives_images: bool
    modes: tuple[CameraMode, ...]


def read_device(path: Path) -> VideoDevice:
    """Ask a device. Another program may use the camera meanwhile.

    Args:
        path: of the device.

    Raises:
        OSError: the device cannot be opened, or is no Video4Linux device.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        answer = _ask(descriptor, QUERY_CAPABILITY, bytes(_CAPABILITY.size))
        driver, card, _, _, capabilities, of_device = _CAPABILITY.unpack(answer)
        if capabilities & DEVICE_CAPABILITIES:
            capabilities = of_device
        types = [kind for capability, kind in BUFFER_TYPES.items() if capabilities & capability]
        modes = tuple(mode for kind in types for mode in _modes(descriptor, kind))
        return VideoDevice(_text(card), _text(driver), bool(types), modes)
    finally:
        os.close(descriptor)


def _modes(descriptor: int, kind: int) -> Iterator[CameraMode]:
    for index in range(MOST_ENTRIES):
        answer = _next(descriptor, ENUMERATE_FORMATS, _FORMAT.pack(index, kind, 0, b"", 0))
        if answer is None:
            return
        code = _FORMAT.unpack(answer)[4]
        name = struct.pack("<I", code & 0x7FFFFFFF).decode("latin-1").rstrip("\0 ")
        for width, height in _sizes(descriptor, code):
            yield CameraMode(name, width, height, tuple(_rates(descriptor, code, width, height)))


def _sizes(descriptor: int, code: int) -> Iterator[tuple[int, int]]:
    """Yield (width, height) of a format; the smallest and the largest of a range."""
    for index in range(MOST_ENTRIES):
        answer = _next(descriptor, ENUMERATE_SIZES, _SIZE.pack(index, code, 0, *[0] * 6))
        if answer is None:
            return
        _, _, kind, *values = _SIZE.unpack(answer)
        if kind != DISCRETE:
            least_width, most_width, _, least_height, most_height, _ = values
            yield least_width, least_height
            yield most_width, most_height
            return
        yield values[0], values[1]


def _rates(descriptor: int, code: int, width: int, height: int) -> Iterator[float]:
    for index in range(MOST_ENTRIES):
        answer = _next(descriptor, ENUMERATE_INTERVALS, _INTERVAL.pack(index, code, width, height, 0, *[0] * 6))
        if answer is None:
            return
        _, _, _, _, kind, *values = _INTERVAL.unpack(answer)
        pairs = [values[:2]] if kind == DISCRETE else [values[:2], values[2:4]]
        yield from (round(denominator / numerator, 2) for numerator, denominator in pairs if numerator)
        if kind != DISCRETE:
            return


def _next(descriptor: int, request: int, question: bytes) -> bytes | None:
    """Return the answer; None after the last entry, or if the driver does not know the request."""
    try:
        return _ask(descriptor, request, question)
    except OSError as error:
        if error.errno in (errno.EINVAL, errno.ENOTTY):
            return None
        raise


def _ask(descriptor: int, request: int, question: bytes) -> bytes:
    return fcntl.ioctl(descriptor, request, question)


def _text(field: bytes) -> str:
    return field.partition(b"\0")[0].decode(errors="replace")
