"""Frames for the browser: color, depth and intrinsics, small enough for a wireless network.

The browser computes the points. 320x240 pixels of color and depth take about 70 kB; the points would take 1.2 MB.
"""

from __future__ import annotations

import json
import struct
import zlib
from dataclasses import dataclass

import cv2
import numpy as np

from depth_anything_ros.geometry.camera import Camera

MAX_WIDTH, MAX_HEIGHT = 320, 240
"""Maximum size of a sent frame, in pixels."""
JPEG_QUALITY = 80
LARGEST_CODE = 65535
NEAREST = 0.01
"""Meters. Smaller depth is sent as this value, because it would make the steps of all other pixels coarse."""
_FASTEST = 1  # zlib's level


@dataclass(frozen=True)
class ViewFrame:
    """One image with its depth, for the browser.

    Attributes:
        stamp: Stamp of the image, in nanoseconds.
        rgb: uint8 (h, w, 3), of any size with the aspect ratio of the depth.
        depth: float32 (H, W) in meters, with the special values of REP 117.
        camera: Intrinsics of the depth. None without camera_info; the browser then shows no points.
        sigma: Standard deviation of the depth, float32 (H, W) in meters; None if unknown.
    """

    stamp: int
    rgb: np.ndarray
    depth: np.ndarray
    camera: Camera | None = None
    sigma: np.ndarray | None = None


def encode_frame(frame: ViewFrame, number: int) -> bytes:
    """Return a frame as one message: the length of its header, the header, and the parts that it lists.

    The length is a little-endian uint32. The header is JSON in UTF-8 with the fields ``number``, ``stamp``, ``width``,
    ``height``, ``step`` (see `encode_depth`), ``intrinsics`` ([fx, fy, cx, cy] or null) and ``parts``. ``parts`` has
    the number of bytes of the JPEG, of the depth and of the relative error (0: unknown).

    Args:
        frame: Frame of any size. It is reduced to at most `MAX_WIDTH` x `MAX_HEIGHT` pixels.
        number: Number of the frame.
    """
    height, width = frame.depth.shape
    stride = max(-(-width // MAX_WIDTH), -(-height // MAX_HEIGHT))
    first = stride // 2
    depth = frame.depth[first::stride, first::stride]
    jpeg = _encode_color(frame.rgb, depth.shape)
    codes, step = encode_depth(depth)
    sigma = b""
    if frame.sigma is not None:
        sigma = zlib.compress(_relative_error(depth, frame.sigma[first::stride, first::stride]).tobytes(), _FASTEST)
    parts = [jpeg, zlib.compress(_predicted(codes), _FASTEST), sigma]
    camera = frame.camera
    header = {
        "number": number,
        "stamp": frame.stamp,
        "width": depth.shape[1],
        "height": depth.shape[0],
        "step": step,
        "intrinsics": None
        if camera is None
        else [camera.fx / stride, camera.fy / stride, (camera.cx - first) / stride, (camera.cy - first) / stride],
        "parts": [len(part) for part in parts],
    }
    text = json.dumps(header).encode()
    return b"".join([struct.pack("<I", len(text)), text, *parts])


def encode_depth(depth: np.ndarray) -> tuple[np.ndarray, float]:
    """Return depth as 16-bit codes of inverse depth, and the step between two codes in 1/m.

    Code 0 is unknown. Code c is the inverse depth (c - 1) * step; code 1 is infinitely far.

    Args:
        depth: float32 (H, W) in meters. +Inf is infinitely far. NaN, -Inf, 0 and negative values are unknown.
    """
    with np.errstate(all="ignore"):
        inverse = np.minimum(np.divide(np.float32(1), depth), np.float32(1 / NEAREST))
        valid = depth > 0
        largest = float(inverse[valid].max()) if valid.any() else 0.0
        step = largest / (LARGEST_CODE - 1) or 1.0
        codes = np.rint(inverse / np.float32(step)) + 1
    return np.where(valid, np.clip(codes, 1, LARGEST_CODE), 0).astype(np.uint16), step


def _predicted(codes: np.ndarray) -> bytes:
    """Return the differences along each row, which compress well: the low bytes of all pixels, then the high bytes.

    A difference d is stored as 2 * d, or -2 * d - 1 if it is negative, so small differences have small codes.
    """
    change = np.diff(codes, axis=1, prepend=np.zeros((len(codes), 1), np.uint16)).view(np.int16)
    folded = ((change << 1) ^ (change >> 15)).view(np.uint16)
    return (folded & 0xFF).astype(np.uint8).tobytes() + (folded >> 8).astype(np.uint8).tobytes()


def _relative_error(depth: np.ndarray, sigma: np.ndarray) -> np.ndarray:
    """Return sigma / depth in steps of 1/255, at most 1, uint8 (H, W)."""
    with np.errstate(all="ignore"):
        relative = np.nan_to_num(sigma / depth * np.float32(255), nan=255.0, posinf=255.0, neginf=255.0)
    return np.clip(np.rint(relative), 0, 255).astype(np.uint8)


def _encode_color(rgb: np.ndarray, size: tuple[int, int]) -> bytes:
    small = cv2.resize(np.ascontiguousarray(rgb[..., ::-1]), size[::-1], interpolation=cv2.INTER_AREA)
    encoded, jpeg = cv2.imencode(".jpg", small, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])
    if not encoded:
        raise ValueError(f"an image of {rgb.shape[1]}x{rgb.shape[0]} pixels cannot be encoded as JPEG")
    return jpeg.tobytes()
