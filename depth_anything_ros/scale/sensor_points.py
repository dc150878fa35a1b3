"""References from points in space: lidar, radar, a laser scan, another depth camera, landmarks of visual odometry.

The commonest error of projected points is occlusion: a lidar next to the camera sees surfaces past an edge that the
camera does not see. A z-buffer alone misses it, because lidar points are sparse. So a point counts only if no nearer
point is close by.
"""

from __future__ import annotations

import math

import numpy as np

from depth_anything_ros.geometry.camera import Camera
from depth_anything_ros.geometry.transform import Transform
from depth_anything_ros.scale.references import CELL, References, cells_of, references

NEIGHBORHOOD = 8
"""Pixels: a point that lies behind a nearer one within this distance, or up to twice as far, may be occluded."""
SAME_PLACE = 0.01
"""Meters between a sensor and the camera, below which nothing hides one's view from the other."""
OCCLUSION = 0.1
"""Fraction of its depth by which a point must lie behind a neighbor to count as occluded."""
NEAREST = 0.01
"""Meters: smallest depth of a point that the camera sees."""


def from_points(
    points: np.ndarray,
    camera: Camera,
    sigma: float = 0.02,
    common_sigma: float = 0.0,
    time: float = 0.0,
    source: str = "point_cloud",
    cell: int = CELL,
    checks_occlusion: bool = True,
) -> References:
    """Return references of the visible points: in the image, not occluded, and on the nearest surface of each cell.

    Args:
        points: (N, 3), meters in the camera's optical frame.
        camera: the camera of the depth map.
        sigma: relative standard deviation of a point's depth.
        common_sigma: see `References`.
        time: seconds.
        source: the source's name.
        cell: pixels; at most one reference in each square of this size.
        checks_occlusion: whether points may be occluded, because the sensor is not at the camera's position.
    """
    points = np.asarray(points, np.float64).reshape(-1, 3)
    points = points[visible(points, camera, checks_occlusion)]
    pixels, z = camera.project(points), points[:, 2]
    chosen = _surface_of_each_cell(pixels, z, cell)
    return references(pixels[chosen], z[chosen], sigma, False, common_sigma, time, source)


def visible(points: np.ndarray, camera: Camera, checks_occlusion: bool = True) -> np.ndarray:
    """Return the indices (M,) of the points that the camera sees: in the image, and not behind nearer ones.

    Args:
        points: float64 (N, 3), meters in the camera's optical frame.
        camera: the camera.
        checks_occlusion: whether points may be occluded; otherwise all points in the image are visible.
    """
    is_finite = np.isfinite(points @ np.ones(3))  # their sums; faster than `all` along such a short axis
    index = np.flatnonzero(is_finite & (points[:, 2] > NEAREST))
    pixels = camera.project(points[index])
    inside = (
        (pixels[:, 0] > -0.5)
        & (pixels[:, 0] < camera.width - 0.5)
        & (pixels[:, 1] > -0.5)
        & (pixels[:, 1] < camera.height - 0.5)
    )
    index, pixels = index[inside], pixels[inside]
    return index[~_occluded(pixels, points[index, 2], camera)] if checks_occlusion else index


def from_depth_image(
    depth: np.ndarray,
    depth_camera: Camera,
    camera: Camera,
    to_camera: Transform,
    sigma: float = 0.02,
    time: float = 0.0,
    source: str = "depth_image",
    stride: int = 4,
) -> References:
    """Return references from the depth image of another camera, or of the same one.

    Args:
        depth: (H, W), meters; not finite or 0 where unknown.
        depth_camera: the camera of ``depth``.
        camera: the camera of the depth map that is to be scaled.
        to_camera: from the optical frame of ``depth_camera`` to that of ``camera``.
        sigma: relative standard deviation.
        time: seconds.
        source: the source's name.
        stride: every ``stride``-th row and column is used.
    """
    if depth_camera == camera and CELL % stride == 0 and _is_identity(to_camera):
        pixels, z = _surface_of_each_square(np.asarray(depth[::stride, ::stride], np.float64), CELL // stride)
        return references(stride * pixels, z, sigma, False, 0.0, time, source)
    rows, columns = np.mgrid[0 : depth.shape[0] : stride, 0 : depth.shape[1] : stride]
    z = np.asarray(depth[::stride, ::stride], np.float64).reshape(-1)
    known = np.isfinite(z) & (z > 0)
    pixels = np.stack([columns.reshape(-1)[known], rows.reshape(-1)[known]], axis=1)
    points = to_camera.apply(depth_camera.back_project(pixels, z[known]))
    checks_occlusion = bool(np.linalg.norm(to_camera.translation) > SAME_PLACE)
    return from_points(points, camera, sigma, 0.0, time, source, checks_occlusion=checks_occlusion)


def from_scan(
    ranges: np.ndarray,
    first_angle: float,
    angle_step: float,
    to_camera: Transform,
    camera: Camera,
    limits: tuple[float, float] = (0.0, math.inf),
    sigma: float = 0.02,
    time: float = 0.0,
    source: str = "laser_scan",
) -> References:
    """Return references from a planar laser scan (`sensor_msgs/LaserScan`).

    Args:
        ranges: (N,), meters.
        first_angle: Angle of the first beam, radians from x toward y.
        angle_step: between beams, radians.
        to_camera: from the scanner's frame (x forward, y left) to the camera's optical frame.
        camera: the camera of the depth map.
        limits: smallest and largest valid range.
        sigma: relative standard deviation.
        time: seconds.
        source: the source's name.
    """
    ranges = np.asarray(ranges, np.float64).reshape(-1)
    angles = first_angle + angle_step * np.arange(len(ranges))
    valid = np.isfinite(ranges) & (ranges >= limits[0]) & (ranges <= limits[1]) & (ranges > 0)
    points = np.zeros((int(valid.sum()), 3))
    points[:, 0] = ranges[valid] * np.cos(angles[valid])
    points[:, 1] = ranges[valid] * np.sin(angles[valid])
    return from_points(to_camera.apply(points), camera, sigma, 0.0, time, source, cell=CELL // 2)


def deskew(points: np.ndarray, times: np.ndarray, motion: Transform, duration: float) -> np.ndarray:
    """Return the points of a scan as if all were measured at time 0.

    Args:
        points: (N, 3), meters in the sensor's frame at the time of each point.
        times: (N,), seconds of each point.
        motion: from the sensor's frame at ``duration`` to that at time 0; velocities are constant in between.
        duration: seconds.

    Raises:
        ValueError: the duration is not positive.
    """
    if not duration > 0:
        raise ValueError(f"duration is {duration} s, must be positive")
    return motion.apply_fraction(np.asarray(times) / duration, points)


def _occluded(pixels: np.ndarray, z: np.ndarray, camera: Camera) -> np.ndarray:
    """Return which points lie behind a nearer one in the 3x3 cells around them, bool (N,)."""
    columns, rows = camera.width // NEIGHBORHOOD + 3, camera.height // NEIGHBORHOOD + 3
    column = np.floor((pixels[:, 0] + 0.5) / NEIGHBORHOOD).astype(np.intp) + 1
    row = np.floor((pixels[:, 1] + 0.5) / NEIGHBORHOOD).astype(np.intp) + 1
    nearest = np.full((rows, columns), np.inf)
    np.minimum.at(nearest, (row, column), z)
    across = np.minimum(np.minimum(nearest[:, :-2], nearest[:, 1:-1]), nearest[:, 2:])
    around = np.minimum(np.minimum(across[:-2], across[1:-1]), across[2:])
    return z * (1 - OCCLUSION) > around[row - 1, column - 1]


def _surface_of_each_cell(pixels: np.ndarray, z: np.ndarray, cell: int) -> np.ndarray:
    """Return the index of one point for each cell: the median of those on the nearest surface.

    The nearest point itself would be nearer than the surface by the noise of many.
    """
    if not len(z):
        return np.zeros(0, np.intp)
    keys = cells_of(pixels + 0.5, cell)
    order = np.lexsort((z, keys))
    keys, sorted_z = keys[order], z[order]
    first = np.flatnonzero(np.concatenate([[True], keys[1:] != keys[:-1]]))
    nearest = np.repeat(sorted_z[first], np.diff(np.append(first, len(keys))))
    on_surface = np.add.reduceat((sorted_z < nearest * (1 + OCCLUSION)).astype(np.intp), first)
    return order[first + (on_surface - 1) // 2]


def _is_identity(transform: Transform) -> bool:
    return not transform.translation.any() and np.array_equal(transform.rotation, np.eye(3))


def _surface_of_each_square(depth: np.ndarray, side: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the points that `_surface_of_each_cell` chooses from a depth image of the camera itself, much faster.

    Args:
        depth: float64 (H, W), meters; not finite or 0 where unknown.
        side: Side of the squares in pixels of this image.

    Returns:
        Pixels float64 (N, 2), u and v in this image, and depths float64 (N,).
    """
    height, width = depth.shape
    rows, columns = -(-height // side), -(-width // side)
    padded = np.full((rows * side, columns * side), np.inf)
    np.copyto(padded[:height, :width], depth, where=depth > NEAREST)
    squares = padded.reshape(rows, side, columns, side).swapaxes(1, 2).reshape(rows * columns, -1)
    order = np.argsort(squares, axis=1, kind="stable")
    ranked = np.take_along_axis(squares, order, axis=1)
    on_surface = np.count_nonzero(ranked < ranked[:, :1] * (1 + OCCLUSION), axis=1)
    square = np.flatnonzero(np.isfinite(ranked[:, 0]))
    rank = (on_surface[square] - 1) // 2
    row, column = np.divmod(order[square, rank], side)
    row += square // columns * side
    column += square % columns * side
    return np.stack([column, row], axis=1).astype(np.float64), ranked[square, rank]
