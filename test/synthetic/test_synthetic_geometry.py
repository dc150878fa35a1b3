"""From a distorted image to points in meters, on scenes with exactly known geometry. Without ROS.

A raw image is rendered by casting the exact ray of every raw pixel: Newton's method inverts OpenCV's own distortion
formulas. The package then rectifies, resizes and back-projects it.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import cv2
import numpy as np
import pytest

from depth_anything_ros.geometry.camera import Camera
from depth_anything_ros.geometry.rectification import Rectifier
from depth_anything_ros.postprocessing.point_cloud import POSITION_STEP, organized_size, write_point_cloud

SIZE = (300, 400)
STRIDES = (1, 2, 3, 4, 7)
SIZES = {"same": SIZE, "halved": (150, 200), "doubled": (600, 800), "odd": (211, 307), "stretched": (301, 200)}
WITHIN = 1e-3  # meters


@dataclass(frozen=True)
class Lens:
    """A raw camera, and the focal length of the pinhole for its rectified images."""

    model: str
    distortion: tuple[float, ...]
    focal: float
    rectified_focal: float

    @property
    def matrix(self) -> np.ndarray:
        return np.array([[self.focal, 0, 203.7], [0, 1.01 * self.focal, 147.2], [0, 0, 1.0]])

    @property
    def camera(self) -> Camera:
        return Camera(SIZE[1], SIZE[0], self.rectified_focal, 0.99 * self.rectified_focal, 198.6, 151.1)

    def project(self, rays: np.ndarray) -> np.ndarray:
        """Project points (n, 2) at z = 1 to raw pixels (n, 2) with OpenCV."""
        if self.model == "equidistant":
            pixels = cv2.fisheye.distortPoints(rays[:, np.newaxis], self.matrix, np.array(self.distortion))
        else:
            points = np.column_stack([rays, np.ones(len(rays))])
            pixels, _ = cv2.projectPoints(points, np.zeros(3), np.zeros(3), self.matrix, np.array(self.distortion))
        return pixels[:, 0]

    @cached_property
    def raw_rays(self) -> np.ndarray:
        """The points (H, W, 2) at z = 1 that the raw pixels see, accurate to a millionth of a pixel."""
        v, u = np.mgrid[: SIZE[0], : SIZE[1]].astype(np.float64)
        pixels = np.stack([u, v], axis=-1).reshape(-1, 2)
        if self.model == "equidistant":
            rays = self._unbent(pixels)
        else:
            rays = cv2.undistortPoints(pixels[:, np.newaxis], self.matrix, np.array(self.distortion))[:, 0]
            for _ in range(8):
                rays += self._newton_step(rays, pixels)
        assert np.abs(self.project(rays) - pixels).max() < 1e-6
        return rays.reshape(*SIZE, 2)

    def _unbent(self, pixels: np.ndarray) -> np.ndarray:
        """Invert an equidistant lens, which distorts only radially: one unknown angle per pixel."""
        x, y = ((pixels - self.matrix[:2, 2]) / np.diag(self.matrix)[:2]).T
        distance = np.hypot(x, y)
        powers, coefficients = np.array([1, 3, 5, 7, 9]), np.array([1, *self.distortion])
        angle = distance.copy()
        for _ in range(20):
            value = (coefficients * angle[:, np.newaxis] ** powers).sum(axis=1)
            slope = (coefficients * powers * angle[:, np.newaxis] ** (powers - 1)).sum(axis=1)
            angle -= (value - distance) / slope
        stretch = np.tan(angle) / np.maximum(distance, 1e-12)
        return np.stack([x * stretch, y * stretch], axis=-1)

    def _newton_step(self, rays: np.ndarray, pixels: np.ndarray) -> np.ndarray:
        step, here = 1e-6, self.project(rays)
        columns = [(self.project(rays + step * np.eye(2)[axis]) - here) / step for axis in (0, 1)]
        return np.linalg.solve(np.stack(columns, axis=-1), (pixels - here)[..., np.newaxis])[..., 0]

    @cached_property
    def rectifier(self) -> Rectifier:
        return Rectifier(self.model, self.matrix, np.array(self.distortion), np.eye(3), self.camera.matrix, SIZE)


LENSES = {
    "barrel": Lens("plumb_bob", (-0.3, 0.1, 0.002, -0.001, -0.015), 255.0, 200.0),
    "rational": Lens("rational_polynomial", (0.4, 0.05, 0.0005, 0.0003, 0.005, 0.6, 0.15, 0.01), 183.0, 115.0),
    "fisheye": Lens("equidistant", (0.02, -0.01, 0.003, -0.0005), 165.0, 90.0),
}


@pytest.fixture(params=LENSES)
def lens(request) -> Lens:
    return LENSES[request.param]


def pattern(rays: np.ndarray) -> np.ndarray:
    """A color (..., 3), 0 … 255, for points (..., 2) at z = 1: waves over the direction, so that a shift is visible."""
    directions = rays / np.sqrt(1 + (rays**2).sum(axis=-1, keepdims=True))
    x, y = 12 * directions[..., 0], 12 * directions[..., 1]
    return 127.5 + 127 * np.stack([np.sin(x), np.cos(y), np.sin(x + y)], axis=-1)


def pinhole_rays(camera: Camera) -> np.ndarray:
    v, u = np.mgrid[: camera.height, : camera.width]
    return np.stack([(u - camera.cx) / camera.fx, (v - camera.cy) / camera.fy], axis=-1)


def test_rectified_pixels_match_pinhole_camera(lens):
    raw = np.rint(pattern(lens.raw_rays)).astype(np.uint8)
    rectified = np.empty_like(raw)
    lens.rectifier.apply(raw, rectified)
    seen = sure(lens, SIZE, margin=1)  # up to its last half pixel a raw image is not interpolated but continued
    assert seen.mean() > 0.8
    error = (rectified - pattern(pinhole_rays(lens.camera)))[seen]
    # Half a level when the raw image is rounded, half when the result is; the waves rise by up to 10 levels a pixel,
    # and positions are kept in 32nds of a pixel.
    assert np.abs(error).max() < 1.5
    assert np.sqrt((error**2).mean()) < 0.5
    assert np.abs(error.mean(axis=0)).max() < 0.03  # a shift of a twentieth of a pixel would show


@dataclass(frozen=True)
class Plane:
    """The points with normal · point = offset, in meters."""

    normal: tuple[float, float, float]
    offset: float

    def inverse_depth(self, rays: np.ndarray) -> np.ndarray:
        """1 / Z where the rays through points (..., 2) at z = 1 meet the plane; negative behind the camera."""
        return (rays @ np.array(self.normal[:2]) + self.normal[2]) / self.offset

    def distance(self, points: np.ndarray) -> np.ndarray:
        """The distance of points (..., 3) from the plane, in meters."""
        return np.abs(points @ np.array(self.normal) - self.offset) / np.linalg.norm(self.normal)


PLANES = {
    "facing": Plane((0.0, 0.0, 1.0), 2.0),
    "floor": Plane((0.0, 1.0, 0.05), 1.2),
    "oblique wall": Plane((0.9, 0.1, 0.42), 1.5),
    "grazing wall": Plane((-1.0, 0.02, 0.06), 0.8),
}


def rectified_inverse_depth(lens: Lens, inverse_depth: np.ndarray) -> np.ndarray:
    """A raw map, rectified like colors, but in floats, because 256 levels do not resolve millimeters."""
    return cv2.remap(
        inverse_depth.astype(np.float32), *lens.rectifier._maps, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
    )


def resized(values: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    shrinks = size[0] < values.shape[0] and values.shape[0] % size[0] == 0
    return cv2.resize(values, size[::-1], interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)


def sure(lens: Lens, size: tuple[int, int], margin: int = 3) -> np.ndarray:
    """Bool (H, W): output pixels that the raw camera saw together with their neighbors."""
    valid = lens.rectifier.valid_at(size)
    valid = np.ones(size, np.uint8) if valid is None else valid.astype(np.uint8)
    kernel = np.ones((2 * margin + 1, 2 * margin + 1), np.uint8)
    return cv2.erode(valid, kernel, borderType=cv2.BORDER_CONSTANT, borderValue=0).astype(bool)


def cloud_of(inverse_depth: np.ndarray, camera: Camera, stride: int) -> np.ndarray:
    """Points (H', W', 3) of an output's map; NaN beyond 4 m and behind the camera."""
    depth = (1 / np.where(inverse_depth > 0, inverse_depth, np.nan)).astype(np.float32)
    rows, columns = organized_size(*depth.shape, stride)
    out = np.empty(rows * columns * POSITION_STEP, np.uint8)
    write_point_cloud(depth, *camera.rays(), None, out, stride, maximum=4.0)
    return out.view(np.float32).reshape(rows, columns, 3).astype(np.float64)


@pytest.mark.parametrize("plane", PLANES)
@pytest.mark.parametrize("size", SIZES)
def test_planes_are_reconstructed_as_planes(lens, plane, size):
    plane, size = PLANES[plane], SIZES[size]
    inverse_depth = resized(rectified_inverse_depth(lens, plane.inverse_depth(lens.raw_rays)), size)
    camera, seen = lens.camera.resized(size[1], size[0]), sure(lens, size)
    for stride in STRIDES:
        points = cloud_of(inverse_depth, camera, stride)
        taken = seen[::stride, ::stride] & np.isfinite(points[..., 2])
        assert taken.mean() > 0.1
        assert plane.distance(points[taken]).max() < WITHIN


@pytest.mark.parametrize("size", SIZES)
def test_box_before_wall_is_reconstructed_in_place(lens, size):
    """Both sides of a step lie on their planes, and the step itself where it belongs, to a pixel."""
    size = SIZES[size]
    wall, face, left = Plane((0.1, 0.0, 1.0), 3.0), Plane((0.0, 0.2, 1.0), 1.5), 0.15  # the face begins at x / z = left
    rays = lens.raw_rays
    raw = np.where(rays[..., 0] > left, face.inverse_depth(rays), wall.inverse_depth(rays))
    inverse_depth = resized(rectified_inverse_depth(lens, raw), size)
    camera, seen = lens.camera.resized(size[1], size[0]), sure(lens, size)
    edge = camera.cx + camera.fx * left
    blurred = 2 * max(1.0, size[1] / SIZE[1]) + 0.5  # pixels either side that the step was interpolated over
    for stride in STRIDES:
        points = cloud_of(inverse_depth, camera, stride)
        columns = np.arange(0, size[1], stride)
        taken = seen[::stride, ::stride] & np.isfinite(points[..., 2])
        for plane, side in ((wall, columns < edge - blurred), (face, columns > edge + blurred)):
            on_side = taken & side
            assert on_side.sum() > 20
            assert plane.distance(points[on_side]).max() < WITHIN


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("stride", STRIDES)
def test_every_point_lies_on_ray_of_its_pixel(size, stride):
    """Output pixels seen from the image: center (u + 0.5) * scale - 0.5, through the image's own camera."""
    size, whole = SIZES[size], LENSES["barrel"].camera
    points = cloud_of(np.full(size, 0.5, np.float32), whole.resized(size[1], size[0]), stride)
    u = (np.arange(0, size[1], stride) + 0.5) * SIZE[1] / size[1] - 0.5
    v = (np.arange(0, size[0], stride) + 0.5) * SIZE[0] / size[0] - 0.5
    expected = whole.back_project(np.stack(np.meshgrid(u, v), axis=-1), np.full((v.size, u.size), 2.0))
    assert np.abs(points - expected).max() < 1e-6
