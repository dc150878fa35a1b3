"""Draws an organized point cloud from a viewpoint to the side of its camera and above, with NumPy and a z-buffer."""

from __future__ import annotations

import math

import cv2
import numpy as np

from depth_anything_ros.geometry.camera import Camera

SUPERSAMPLING = 2
"""Factor of the drawn size to the result's; averaging down smooths the edges of points."""
MAX_STEP = 0.06
"""Relative depth step to the next pixel above which a point is left out: it is between two surfaces."""
MAX_SPLAT = 14
"""Maximum width of a point in pixels."""
FILL = 0.88
"""Share of the picture that the points fill in the tighter direction."""
BACKGROUND = (34, 30, 28)


def draw_cloud(
    depth: np.ndarray,
    colors: np.ndarray,
    camera: Camera,
    size: tuple[int, int] = (720, 1080),
    sideways_degrees: float = 10.0,
    raised_degrees: float = 6.0,
) -> np.ndarray:
    """Draw the points of a depth map, and return the picture, uint8 (height, width, 3).

    Args:
        depth: float32 (H, W) in meters; points without a finite depth are not drawn.
        colors: uint8 (H, W, 3), in the color order of the result.
        camera: at the size of the depth map.
        size: (height, width) of the picture.
        sideways_degrees: the viewer turns about the scene's center by this angle to the camera's right.
        raised_degrees: the same, upwards.

    Raises:
        ValueError: no point can be drawn.
    """
    usable = np.isfinite(depth) & (depth > 0)
    if not usable.any():
        raise ValueError("no point of the cloud has a finite depth")
    rays_x, rays_y = camera.rays()
    z = np.where(usable, depth, np.nan)
    grid = np.stack((z * rays_x, z * rays_y[:, np.newaxis], z), axis=2)
    spacing = _spacing(grid)
    kept = usable & (spacing > 0)
    viewed, pivot_depth = _turned(grid[kept], sideways_degrees, raised_degrees)

    height, width = (side * SUPERSAMPLING for side in size)
    in_front = viewed[:, 2] > 0.05 * pivot_depth
    viewed, spacing, shown = viewed[in_front], spacing[kept][in_front], colors[kept][in_front]
    x, y = viewed[:, 0] / viewed[:, 2], viewed[:, 1] / viewed[:, 2]
    focal, (center_x, center_y) = _framing(x, y, width, height)
    columns = np.rint((x - center_x) * focal + 0.5 * width).astype(np.int64)
    rows = np.rint((y - center_y) * focal + 0.5 * height).astype(np.int64)
    # A disc that fills the square between four neighbors is sqrt(2) times as wide as their distance; 1 for rounding.
    widths = np.clip(np.ceil(math.sqrt(2) * spacing * focal / viewed[:, 2]) + 1, 2, MAX_SPLAT).astype(np.int64)
    picture = _splat(rows, columns, viewed[:, 2], shown, widths, (height, width))
    return cv2.resize(picture, (size[1], size[0]), interpolation=cv2.INTER_AREA)


def _spacing(grid: np.ndarray) -> np.ndarray:
    """Return the distance of each point of a cloud (H, W, 3) to its neighbors on its surface, in meters (H, W).

    It is 0 for points at a step in depth, which are on no surface.
    """
    spacing = np.zeros(grid.shape[:2], np.float32)
    steps = np.zeros(grid.shape[:2], bool)
    for axis in (0, 1):
        before = tuple(slice(None, -1) if index == axis else slice(None) for index in (0, 1))
        after = tuple(slice(1, None) if index == axis else slice(None) for index in (0, 1))
        distance = np.linalg.norm(grid[after] - grid[before], axis=2)
        depth_before, depth_after = grid[before][..., 2], grid[after][..., 2]
        is_step = np.abs(depth_after - depth_before) > MAX_STEP * np.minimum(depth_before, depth_after)
        for side in (before, after):
            spacing[side] = np.fmax(spacing[side], distance)
            steps[side] |= is_step
    return np.where(steps, 0.0, spacing)


def _turned(points: np.ndarray, sideways_degrees: float, raised_degrees: float) -> tuple[np.ndarray, float]:
    """Return the points (N, 3) in the frame of a viewer turned about their center, and the center's depth."""
    pivot = np.median(points, axis=0)
    yaw, pitch = math.radians(sideways_degrees), math.radians(raised_degrees)
    turn_sideways = np.array([[math.cos(yaw), 0, math.sin(yaw)], [0, 1, 0], [-math.sin(yaw), 0, math.cos(yaw)]])
    turn_down = np.array([[1, 0, 0], [0, math.cos(pitch), -math.sin(pitch)], [0, math.sin(pitch), math.cos(pitch)]])
    turned = (points - pivot) @ (turn_down @ turn_sideways).T
    turned[:, 2] += pivot[2]
    return turned.astype(np.float32), float(pivot[2])


def _framing(x: np.ndarray, y: np.ndarray, width: int, height: int) -> tuple[float, tuple[float, float]]:
    """Return the focal length in pixels, and the center in directions at z = 1, that frame nearly all points."""
    (left, right), (top, bottom) = (np.percentile(values, (0.5, 99.5)) for values in (x, y))
    focal = FILL * min(width / max(right - left, 1e-6), height / max(bottom - top, 1e-6))
    return float(focal), (0.5 * float(left + right), 0.5 * float(top + bottom))


def _splat(
    rows: np.ndarray,
    columns: np.ndarray,
    depths: np.ndarray,
    colors: np.ndarray,
    widths: np.ndarray,
    size: tuple[int, int],
) -> np.ndarray:
    """Draw each point as a disc of its width; the nearest point is visible."""
    height, width = size
    nearest = np.full(height * width, np.inf, np.float32)
    picture = np.empty((height * width, 3), np.uint8)
    picture[:] = BACKGROUND
    # Farthest first: NumPy keeps the last of several values for one pixel.
    order = np.argsort(-depths, kind="stable")
    rows, columns, depths, colors, widths = (values[order] for values in (rows, columns, depths, colors, widths))
    reach = int(widths.max()) // 2
    for down in range(-reach, reach + 1):
        for right in range(-reach, reach + 1):
            drawn = 4 * (down**2 + right**2) <= widths**2
            row, column = rows[drawn] + down, columns[drawn] + right
            inside = (row >= 0) & (row < height) & (column >= 0) & (column < width)
            pixels, pixel_depths = (row * width + column)[inside], depths[drawn][inside]
            closer = pixel_depths < nearest[pixels]
            nearest[pixels[closer]] = pixel_depths[closer]
            picture[pixels[closer]] = colors[drawn][inside][closer]
    return picture.reshape(height, width, 3)
