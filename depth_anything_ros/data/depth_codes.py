"""Depth as 16-bit codes in shards: a picture of codes, and their range for each image.

There are two scales. *Logarithmic* is for known depth. Codes 1 … 65534 divide the range from the nearest to the
farthest pixel into equal ratios. The relative error is then the same everywhere: 3e-5 for a range of 1 to 50. *Linear*
is for predictions. Codes divide inverse depth into equal steps. The range of each image is no loss for scale- and
shift-invariant training. Code 0 is unknown, 65535 is the sky.
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
    """The range of codes of an image.

    Attributes:
        scale: "log_depth" or "inverse_depth".
        low: the value of code 1.
        high: the value of code 65534.
    """

    scale: str
    low: float
    high: float

    def to_dictionary(self) -> dict[str, float | str]:
        """Return the range for the JSON of a sample."""
        return {"scale": self.scale, "low": self.low, "high": self.high}

    @classmethod
    def from_dictionary(cls, values: dict[str, float | str]) -> CodeRange:
        """Return the range from the JSON of a sample. Raises `ValueError` if it is invalid."""
        try:
            scale, low, high = values["scale"], float(values["low"]), float(values["high"])
        except (KeyError, TypeError) as error:
            raise ValueError(f"the depth range is {values}, must have scale, low and high") from error
        if scale not in ("log_depth", "inverse_depth"):
            raise ValueError(f"the depth scale is {scale!r}, must be log_depth or inverse_depth")
        return cls(scale, low, high)


def encode_depth(depth: np.ndarray) -> tuple[np.ndarray, CodeRange]:
    """Encode depth float32 (H, W): positive, NaN unknown, +Inf sky. Returns codes uint16 (H, W) and their range."""
    known = np.isfinite(depth) & (depth > 0)
    values = np.log(np.where(known, depth, 1).astype(np.float64))
    codes, low, high = _divide(values, known)
    codes[np.isposinf(depth)] = SKY
    return codes, CodeRange("log_depth", low, high)


def encode_inverse_depth(inverse_depth: np.ndarray) -> tuple[np.ndarray, CodeRange]:
    """Encode predicted inverse depth float32 (H, W), NaN unknown. Returns codes uint16 (H, W) and their range."""
    known = np.isfinite(inverse_depth)
    codes, low, high = _divide(np.where(known, inverse_depth, 0).astype(np.float64), known)
    return codes, CodeRange("inverse_depth", low, high)


def decode_inverse_depth(codes: np.ndarray, code_range: CodeRange) -> np.ndarray:
    """Decode codes of either scale.

    Args:
        codes: uint16 (H, W).
        code_range: their range.

    Returns:
        Inverse depth, float32 (H, W); NaN is unknown, 0 is the sky.
    """
    steps = (np.arange(_LAST + 2, dtype=np.float64) - _FIRST) / (_LAST - _FIRST)
    table = code_range.low + steps * (code_range.high - code_range.low)
    if code_range.scale == "log_depth":
        table = np.exp(-table)
    table[UNKNOWN], table[SKY] = np.nan, 0.0
    return table.astype(np.float32)[codes]


def to_png(codes: np.ndarray) -> bytes:
    """Encode codes as a 16-bit PNG."""
    return cv2.imencode(".png", codes, [cv2.IMWRITE_PNG_COMPRESSION, 3])[1].tobytes()


def from_png(content: bytes) -> np.ndarray:
    """Decode a 16-bit PNG to codes uint16 (H, W). Raises `ValueError` for any other picture."""
    codes = decode_picture(content, "depth")
    if codes.dtype != np.uint16 or codes.ndim != 2:
        raise ValueError(f"depth is {codes.dtype} {codes.shape}, must be a 16-bit picture of one channel")
    return codes


def _divide(values: np.ndarray, known: np.ndarray) -> tuple[np.ndarray, float, float]:
    """Return codes of the known values over their range, and that range."""
    codes = np.zeros(values.shape, np.uint16)
    if not known.any():
        return codes, 0.0, 0.0
    low, high = float(values[known].min()), float(values[known].max())
    steps = (values[known] - low) * ((_LAST - _FIRST) / (high - low) if high > low else 0.0)
    codes[known] = np.rint(steps).astype(np.uint16) + _FIRST
    return codes, low, high
