"""Files of MoGe's evaluation bundle: depth in logarithmic steps, and normalized intrinsics."""

from __future__ import annotations

import io
import math
from pathlib import Path

import numpy as np

from depth_anything_ros.data.depth_files import Size, import_for, one_channel
from depth_anything_ros.data.frame import DataError, read_bytes

_UNKNOWN, _INFINITE = 0, 65535
_FIRST, _LAST = 1, 65534


class LogPicture:
    """Reads a 16-bit PNG whose values divide the range of depth into equal ratios. Needs Pillow.

    The PNG has the texts "near" and "far", the depths of values 1 and 65534, and perhaps "unit", a factor. 0 is
    unknown, 65535 is infinitely far.
    """

    def __call__(self, path: Path, _: Size) -> np.ndarray:
        """Read a file into depth, float32 (H, W); NaN is unknown, +Inf is the sky. Raises `DataError`, naming it."""
        stored = one_channel(path, np.uint16)
        near, far, unit = _range(path)
        share = (np.arange(_INFINITE + 1, dtype=np.float64) - _FIRST) / (_LAST - _FIRST)
        table = unit * near * (far / near) ** share
        table[_UNKNOWN], table[_INFINITE] = np.nan, np.inf
        return table.astype(np.float32)[stored]


def _range(path: Path) -> tuple[float, float, float]:
    """Return the depth of the first and the last value, and the unit."""
    module = import_for("PIL.Image", path)
    try:
        texts = module.open(io.BytesIO(read_bytes(path))).info
        near, far, unit = float(texts["near"]), float(texts["far"]), float(texts.get("unit", 1.0))
    except (OSError, SyntaxError, KeyError, TypeError, ValueError) as error:
        raise DataError(f"{path} has no range of depth, the texts near and far of its PNG: {error!r}") from error
    if not (0 < near <= far < math.inf and 0 < unit < math.inf):
        raise DataError(f"{path} has the range of depth {near:g} to {far:g} in units of {unit:g}, must be positive")
    return near, far, unit
