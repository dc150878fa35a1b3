"""The pinhole camera: intrinsics, their change under resizing and cropping, projection and back-projection.

Pixel centers are at integer coordinates, as in OpenCV and `sensor_msgs/CameraInfo`: an image of width W spans
-0.5 … W - 0.5. Points are in the camera's optical frame (REP 103): x right, y down, z forward, meters.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Camera:
    """A rectified pinhole camera; focal lengths and principal point are in pixels.

    Raises `ValueError` if a size or a focal length is not positive, or a number is not finite.

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
        """Reject intrinsics that cannot be inverted."""
        if self.width < 1 or self.height < 1:
            raise ValueError(f"image size is {self.width}x{self.height}, both sides must be at least 1 pixel")
        if not all(math.isfinite(value) for value in (self.fx, self.fy, self.cx, self.cy)):
            raise ValueError(f"intrinsics are not finite: fx {self.fx}, fy {self.fy}, cx {self.cx}, cy {self.cy}")
        if self.fx <= 0 or self.fy <= 0:
            raise ValueError(f"focal lengths are fx {self.fx}, fy {self.fy}, must be positive (is it calibrated?)")

    @classmethod
    def from_field_of_view(cls, width: int, height: int, horizontal_degrees: float) -> Camera:
        """Return a camera with square pixels and a centered principal point.

        Args:
            width: of the image in pixels.
            height: of the image in pixels.
            horizontal_degrees: field of view from the image's left edge to its right.

        Raises:
            ValueError: the field of view is not between 0 and 180 degrees.
        """
        if not 0 < horizontal_degrees < 180:
            raise ValueError(f"horizontal field of view is {horizontal_degrees} degrees, must be between 0 and 180")
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
        """Return the camera of this image resized (not cropped) to width x height.

        The image's edges stay its edges, so c' = (c + 0.5) * s - 0.5 exactly, with pixel centers at integers.

        Args:
            width: in pixels.
            height: in pixels.
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
        """Return the camera of a window of this image.

        Args:
            x: column of the window's top left pixel.
            y: row of the window's top left pixel.
            width: of the window in pixels.
            height: of the window in pixels.

        Raises:
            ValueError: the window exceeds the image.
        """
        if x < 0 or y < 0 or x + width > self.width or y + height > self.height:
            raise ValueError(f"window {width}x{height} at ({x}, {y}) exceeds the image of {self.width}x{self.height}")
        return Camera(width, height, self.fx, self.fy, self.cx - x, self.cy - y)

    def rays(self) -> tuple[np.ndarray, np.ndarray]:
        """Return the directions of the pixels at z = 1: x float32 (width,) by column, y float32 (height,) by row.

        A pixel (u, v) of depth Z is the point (x[u] * Z, y[v] * Z, Z).
        """
        x = (np.arange(self.width, dtype=np.float64) - self.cx) / self.fx
        y = (np.arange(self.height, dtype=np.float64) - self.cy) / self.fy
        return x.astype(np.float32), y.astype(np.float32)

    def project(self, points: np.ndarray) -> np.ndarray:
        """Return the pixels (..., 2) as (u, v) of points (..., 3) in meters; meaningful for z > 0."""
        points = np.asarray(points, dtype=np.float64)
        pixels = points[..., :2] / points[..., 2:]
        return pixels * (self.fx, self.fy) + (self.cx, self.cy)

    def back_project(self, pixels: np.ndarray, depth: np.ndarray) -> np.ndarray:
        """Return the points (..., 3) of pixels, in meters.

        Args:
            pixels: (..., 2) as (u, v).
            depth: (...), meters along the optical axis.
        """
        depth = np.asarray(depth, dtype=np.float64)[..., np.newaxis]
        directions = (np.asarray(pixels, dtype=np.float64) - (self.cx, self.cy)) / (self.fx, self.fy)
        return np.concatenate([directions * depth, depth], axis=-1)


NARROWEST_FOCAL = 0.1
"""Smallest plausible ratio of focal length to image side: below it a lens would see 157 degrees, too wide for a
pinhole."""


def intrinsics_doubt(camera: Camera) -> str | None:
    """Return why intrinsics are improbable, with the fix; None if they are plausible."""
    for axis, focal, center, length in (
        ("x", camera.fx, camera.cx, camera.width),
        ("y", camera.fy, camera.cy, camera.height),
    ):
        if not -0.5 <= center <= length - 0.5:
            return (
                f"the principal point c{axis} is {center:g}, outside the image of {camera.width}x{camera.height}; "
                "use the calibration of this camera at this image size"
            )
        if focal < NARROWEST_FOCAL * length:
            return (
                f"the focal length f{axis} is {focal:g} pixels for {length} pixels; is it in pixels? Use the "
                "calibration of this camera at this image size"
            )
    return None
