"""One image with its true depth, whatever set it came from, and the errors that reading one can meet."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from depth_anything_ros.geometry.camera import Camera


class DataError(ValueError):
    """A set is absent, incomplete or damaged; the message names the file and what was expected."""


@dataclass(frozen=True)
class Frame:
    """One image and its true depth, on the same pixels.

    ``image``: RGB uint8 (H, W, 3). ``depth``: float32 (H, W), metres along the optical axis, NaN where unknown.
    ``camera``: the intrinsics of both. ``name``: the set's name and the file's, for reports.
    """

    name: str
    image: np.ndarray
    depth: np.ndarray
    camera: Camera

    def __post_init__(self) -> None:
        """Checks that image, depth and camera agree. Raises `DataError`, naming the frame."""
        if self.image.ndim != 3 or self.image.shape[2] != 3 or self.image.dtype != np.uint8:
            raise DataError(f"{self.name}: image is {self.image.dtype} {self.image.shape}, must be uint8 (H, W, 3)")
        height, width = self.image.shape[:2]
        if self.depth.shape != (height, width):
            raise DataError(f"{self.name}: depth is {self.depth.shape}, its image {(height, width)}")
        if (self.camera.height, self.camera.width) != (height, width):
            raise DataError(
                f"{self.name}: camera is {self.camera.width}x{self.camera.height}, its image {width}x{height}"
            )

    @property
    def valid(self) -> np.ndarray:
        """Where depth is known: bool (H, W)."""
        return np.isfinite(self.depth)


def read_image(path: Path) -> np.ndarray:
    """Reads a picture as RGB uint8 (H, W, 3). Raises `DataError` for a file that is absent or no picture."""
    image = _read(path, cv2.IMREAD_COLOR)
    return cv2.cvtColor(image, cv2.COLOR_BGR2RGB)


def read_depth(path: Path, metres_per_unit: float, invalid: tuple[int, ...] = (0,)) -> np.ndarray:
    """Reads a 16-bit depth PNG as float32 (H, W) in metres, NaN where the stored value is one of ``invalid``.

    Raises `DataError` for a file that is absent, damaged or not 16-bit with one channel.
    """
    stored = _read(path, cv2.IMREAD_UNCHANGED)
    if stored.dtype != np.uint16 or stored.ndim != 2:
        raise DataError(f"{path}: depth is {stored.dtype} {stored.shape}, must be a 16-bit picture of one channel")
    depth = stored.astype(np.float32) * np.float32(metres_per_unit)
    depth[np.isin(stored, invalid)] = np.nan
    return depth


def _read(path: Path, flags: int) -> np.ndarray:
    # Read first, decode after: OpenCV itself answers None alike to a missing file and to a damaged one.
    try:
        stored = np.fromfile(path, dtype=np.uint8)
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror}") from error
    picture = cv2.imdecode(stored, flags) if stored.size else None
    if picture is None:
        raise DataError(f"{path} is not a picture, or is damaged")
    return picture
