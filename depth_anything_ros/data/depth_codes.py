"""Depth in 16 bits for shards: a picture of codes and the range they stand for, image by image.

Two scales. *Logarithmic*, for depth that is known: codes 1 … 65534 divide the range from the nearest to the farthest
pixel by equal ratios, so that the relative error is the same everywhere: 3e-5 at a range of 1 to 50. *Linear*, for what
a network gave: codes divide inverse depth by equal steps. A loss that knows no scale and shift loses nothing by an
image's own range. Code 0 is unknown, 65535 the sky.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from depth_anything_ros.data.frame import decode_picture

UNKNOWN, SKY = 0, 65535
_FIRST, _LAST = 1, 65534


@dataclass(frozen=True)
class CodeRange:
    """What codes stand for: ``low`` is code 1, ``high`` code 65534. ``scale``: "log_depth" or "inverse_depth"."""

    scale: str
    low: float
    high: float

    def to_dictionary(self) -> dict[str, float | str]:
        """For a sample's JSON."""
        return {"scale": self.scale, "low": self.low, "high": self.high}

    @classmethod
    def from_dictionary(cls, values: dict[str, float | str]) -> CodeRange:
        """From a sample's JSON. Raises ValueError where it is not one of ours."""
        try:
            scale, low, high = values["scale"], float(values["low"]), float(values["high"])
        except (KeyError, TypeError) as error:
            raise ValueError(f"depth is described by {values}, must have scale, low and high") from error
        if scale not in ("log_depth", "inverse_depth"):
            raise ValueError(f"depth has the scale {scale!r}, must be log_depth or inverse_depth")
        return cls(scale, low, high)


def encode_depth(depth: np.ndarray) -> tuple[np.ndarray, CodeRange]:
    """Codes uint16 (H, W) of depth float32 (H, W): positive, NaN where unknown, +Inf for the sky."""
    known = np.isfinite(depth) & (depth > 0)
    values = np.log(np.where(known, depth, 1).astype(np.float64))
    codes, low, high = _divide(values, known)
    codes[np.isposinf(depth)] = SKY
    return codes, CodeRange("log_depth", low, high)


def encode_inverse_depth(inverse_depth: np.ndarray) -> tuple[np.ndarray, CodeRange]:
    """Codes uint16 (H, W) of inverse depth float32 (H, W) as a network gives it; NaN where unknown."""
    known = np.isfinite(inverse_depth)
    codes, low, high = _divide(np.where(known, inverse_depth, 0).astype(np.float64), known)
    return codes, CodeRange("inverse_depth", low, high)


def decode_inverse_depth(codes: np.ndarray, code_range: CodeRange) -> np.ndarray:
    """Inverse depth float32 (H, W) of codes uint16 (H, W), whatever their scale: NaN where unknown, 0 for the sky."""
    steps = (np.arange(_LAST + 2, dtype=np.float64) - _FIRST) / (_LAST - _FIRST)
    table = code_range.low + steps * (code_range.high - code_range.low)
    if code_range.scale == "log_depth":
        table = np.exp(-table)
    table[UNKNOWN], table[SKY] = np.nan, 0.0
    return table.astype(np.float32)[codes]


def to_png(codes: np.ndarray) -> bytes:
    """Codes as a 16-bit PNG."""
    return cv2.imencode(".png", codes, [cv2.IMWRITE_PNG_COMPRESSION, 3])[1].tobytes()


def from_png(content: bytes) -> np.ndarray:
    """Codes uint16 (H, W) of a 16-bit PNG. Raises ValueError where it is none."""
    codes = decode_picture(content, "depth")
    if codes.dtype != np.uint16 or codes.ndim != 2:
        raise ValueError(f"depth is {codes.dtype} {codes.shape}, must be a 16-bit picture of one channel")
    return codes


def _divide(values: np.ndarray, known: np.ndarray) -> tuple[np.ndarray, float, float]:
    """Codes of ``values`` where ``known``, over their own range, and that range."""
    codes = np.zeros(values.shape, np.uint16)
    if not known.any():
        return codes, 0.0, 0.0
    low, high = float(values[known].min()), float(values[known].max())
    steps = (values[known] - low) * ((_LAST - _FIRST) / (high - low) if high > low else 0.0)
    codes[known] = np.rint(steps).astype(np.uint16) + _FIRST
    return codes, low, high
