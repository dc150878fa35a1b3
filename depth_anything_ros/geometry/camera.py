"""The pinhole camera: intrinsics, what resizing and cropping make of them, projection and back-projection.

Pixel centers lie at integer coordinates, as in OpenCV and `sensor_msgs/CameraInfo`: an image of width W spans
-0.5 … W - 0.5. Points are in the camera's optical frame (REP 103): x right, y down, z forward, meters.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Camera:
    """A rectified pinhole camera; focal lengths and principal point are in pixels.

    Raises `ValueError` when a size is not positive, a focal length is not positive or a number is not finite.

    >>> camera = Camera.from_field_of_view(640, 480, 60)
    >>> round(camera.fx, 1), camera.cx
    (554.3, 319.5)
    >>> camera.resized(320, 240).cx
    159.5
    """

    width: int
    height: int
    fx: float
    fy: float
    cx: float
    cy: float

    def __post_init__(self) -> None:
        """Refuses intrinsics that cannot be inverted."""
        if self.width < 1 or self.height < 1:
            raise ValueError(f"image size is {self.width}x{self.height}, both sides must be at least 1 pixel")
        if not all(math.isfinite(value) for value in (self.fx, self.fy, self.cx, self.cy)):
            raise ValueError(f"intrinsics are not finite: fx {self.fx}, fy {self.fy}, cx {self.cx}, cy {self.cy}")
        if self.fx <= 0 or self.fy <= 0:
            raise ValueError(f"focal lengths are fx {self.fx}, fy {self.fy}, must be positive (is it calibrated?)")

    @classmethod
    def from_field_of_view(cls, width: int, height: int, horizontal_degrees: float) -> Camera:
        """A camera with square pixels and a centered principal point that sees so many degrees from side to side."""
        if not 0 < horizontal_degrees < 180:
            raise ValueError(f"horizontal field of view is {horizontal_degrees} degrees, must lie between 0 and 180")
        focal = 0.5 * width / math.tan(math.radians(horizontal_degrees) / 2)
        return cls(width, height, focal, focal, (width - 1) / 2, (height - 1) / 2)

    @property
    def matrix(self) -> np.ndarray:
        """K, float64 (3, 3)."""
        return np.array([[self.fx, 0.0, self.cx], [0.0, self.fy, self.cy], [0.0, 0.0, 1.0]])

    @property
    def horizontal_degrees(self) -> float:
        """The angle between the image's left and right edges, in degrees."""
        left, right = (self.cx + 0.5) / self.fx, (self.width - 0.5 - self.cx) / self.fx
        return math.degrees(math.atan(left) + math.atan(right))

    def resized(self, width: int, height: int) -> Camera:
        """The camera of this image resized to width x height; exact, with the half-pixel term.

        An image's edges stay its edges, hence c' = (c + 0.5) * s - 0.5 with pixel centers at integers.
        """
        scale_x, scale_y = width / self.width, height / self.height
        return Camera(
            width,
            height,
            self.fx * scale_x,
            self.fy * scale_y,
            (self.cx + 0.5) * scale_x - 0.5,
            (self.cy + 0.5) * scale_y - 0.5,
        )

    def cropped(self, x: int, y: int, width: int, height: int) -> Camera:
        """The camera of the window whose top left pixel is (x, y). Raises `ValueError` if it leaves the image."""
        if x < 0 or y < 0 or x + width > self.width or y + height > self.height:
            raise ValueError(f"window {width}x{height} at ({x}, {y}) leaves the image of {self.width}x{self.height}")
        return Camera(width, height, self.fx, self.fy, self.cx - x, self.cy - y)

    def rays(self) -> tuple[np.ndarray, np.ndarray]:
        """Directions of the pixels at z = 1: x float32 (width,) by column, y float32 (height,) by row.

        A pixel (u, v) of depth Z lies at (x[u] * Z, y[v] * Z, Z).
        """
        x = (np.arange(self.width, dtype=np.float64) - self.cx) / self.fx
        y = (np.arange(self.height, dtype=np.float64) - self.cy) / self.fy
        return x.astype(np.float32), y.astype(np.float32)

    def project(self, points: np.ndarray) -> np.ndarray:
        """Pixels (..., 2) as (u, v) of points (..., 3) in meters; meaningful where z > 0."""
        points = np.asarray(points, dtype=np.float64)
        pixels = points[..., :2] / points[..., 2:]
        return pixels * (self.fx, self.fy) + (self.cx, self.cy)

    def back_project(self, pixels: np.ndarray, depth: np.ndarray) -> np.ndarray:
        """Points (..., 3) in meters of pixels (..., 2) as (u, v) with depth (...) along the optical axis."""
        depth = np.asarray(depth, dtype=np.float64)[..., np.newaxis]
        directions = (np.asarray(pixels, dtype=np.float64) - (self.cx, self.cy)) / (self.fx, self.fy)
        return np.concatenate([directions * depth, depth], axis=-1)


NARROWEST_FOCAL = 0.1
"""Focal length to the image's width or height below which a lens would see 157 degrees, which no pinhole does."""


def intrinsics_doubt(camera: Camera) -> str | None:
    """What makes intrinsics improbable, in words that end with the fix; None for nothing."""
    for axis, focal, center, length in (
        ("x", camera.fx, camera.cx, camera.width),
        ("y", camera.fy, camera.cy, camera.height),
    ):
        if not -0.5 <= center <= length - 0.5:
            return (
                f"the principal point c{axis} is {center:g}, outside the image of {camera.width}x{camera.height}; "
                "take the calibration of this camera at this image size"
            )
        if focal < NARROWEST_FOCAL * length:
            return (
                f"the focal length f{axis} is {focal:g} pixels for {length} pixels; is it in pixels? Take the "
                "calibration of this camera at this image size"
            )
    return None
