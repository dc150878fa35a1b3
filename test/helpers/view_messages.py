"""Decodes the messages of `web_view.frames.encode_frame` by their description, as the page does in JavaScript."""

from __future__ import annotations

import json
import zlib
from dataclasses import dataclass

import cv2
import numpy as np


@dataclass(frozen=True)
class ReceivedView:
    """One message: its header, color uint8 (h, w, 3) RGB, depth float64 (h, w), relative error (h, w) or None."""

    header: dict
    rgb: np.ndarray
    depth: np.ndarray
    sigma: np.ndarray | None


def decode_view(message: bytes) -> ReceivedView:
    length = int.from_bytes(message[:4], "little")
    header = json.loads(message[4 : 4 + length])
    parts, at = [], 4 + length
    for size in header["parts"]:
        parts.append(message[at : at + size])
        at += size
    assert at == len(message)
    shape = header["height"], header["width"]
    rgb = cv2.imdecode(np.frombuffer(parts[0], np.uint8), cv2.IMREAD_COLOR)[..., ::-1]
    low, high = np.frombuffer(zlib.decompress(parts[1]), np.uint8).reshape(2, *shape).astype(np.int64)
    folded = low + 256 * high
    codes = np.cumsum((folded >> 1) ^ -(folded & 1), axis=1) & 0xFFFF
    with np.errstate(divide="ignore"):
        depth = np.where(codes > 0, 1 / ((codes - 1) * header["step"]), np.nan)
    sigma = np.frombuffer(zlib.decompress(parts[2]), np.uint8).reshape(shape) / 255 if parts[2] else None
    return ReceivedView(header, rgb, depth, sigma)
