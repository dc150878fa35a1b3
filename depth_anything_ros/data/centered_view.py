"""The view of an image whose principal point is the center, at a given size, as MoGe's evaluation makes it.

The camera is turned until it looks at the middle of the image. The view is the largest part of the image with the
requested aspect ratio. See moge/test/dataloader.py.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import cv2
import numpy as np

from depth_anything_ros.data.frame import LabeledImage
from depth_anything_ros.geometry.camera import Camera

FARTHEST_RATIO = 1000.0
"""Depth beyond this multiple of the nearest hundredth of the pixels is unknown."""
_ROUNDING = 1e-6


def centered_view(frame: LabeledImage, size: tuple[int, int], pillow: Any) -> LabeledImage:
    """Return the centered view of a frame, with its camera.

    The image is interpolated; depth is taken from the nearest known pixel. The distance of a point from the camera
    stays, and its depth changes with the direction of the optical axis.

    Args:
        frame: a frame with its camera.
        size: (width, height) of the view, pixels.
        pillow: the module `PIL.Image`, whose Lanczos filter reduces the image.
    """
    width, height = size
    k = _normalized(frame.camera)
    turn = _turn_to_center(k)
    extent = _extent(k, turn, width / height)
    view = np.array([[1 / extent[0], 0, 0.5], [0, 1 / extent[1], 0.5], [0, 0, 1]])
    reduced = _reduced_size(frame.camera, extent, size)
    image = np.asarray(pillow.fromarray(frame.image).resize(reduced, pillow.LANCZOS))
    distance = nearest_known(np.where(frame.valid, frame.depth, np.float32(np.nan)), reduced) * _ray_lengths(k, reduced)
    u, v = np.meshgrid((np.arange(width) + 0.5) / width, (np.arange(height) + 0.5) / height)
    from_view = k @ np.linalg.inv(turn) @ np.linalg.inv(view)
    x, y, z = (row[0] * u + row[1] * v + row[2] for row in from_view)
    columns = (x / z * reduced[0] - 0.5).astype(np.float32)
    rows = (y / z * reduced[1] - 0.5).astype(np.float32)
    seen = cv2.remap(image, columns, rows, cv2.INTER_LINEAR)
    # NaN is also the border: cv2 would take 0 for a depth.
    moved = cv2.remap(distance.astype(np.float32), columns, rows, cv2.INTER_NEAREST, borderValue=float("nan"))
    depth = (moved / _ray_lengths(view, size)).astype(np.float32)
    known = np.isfinite(depth)
    if known.any():
        depth[known & (depth > FARTHEST_RATIO * np.quantile(depth[known], 0.01))] = np.nan
    camera = Camera(width, height, width / extent[0], height / extent[1], (width - 1) / 2, (height - 1) / 2)
    return replace(frame, image=np.ascontiguousarray(seen), depth=depth, camera=camera)


def nearest_known(values: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Return values at another size. Each pixel takes the known value that is nearest within its area, NaN if none is.

    Args:
        values: float32 (H, W); NaN is unknown.
        size: (width, height).
    """
    (height, width), (columns, rows) = values.shape, size
    span_x, span_y = max(1.0, width / columns), max(1.0, height / rows)
    x, y = (np.arange(columns) + 0.5) * width / columns, (np.arange(rows) + 0.5) * height / rows
    left, top = np.rint(x - span_x / 2).astype(int), np.rint(y - span_y / 2).astype(int)
    found = np.full((rows, columns), np.nan, np.float32)
    closest = np.full((rows, columns), np.inf)
    for dy in range(math.ceil(span_y)):
        row = top + dy
        for dx in range(math.ceil(span_x)):
            column = left + dx
            inside = ((row >= 0) & (row < height))[:, None] & ((column >= 0) & (column < width))
            picked = values[np.clip(row, 0, height - 1)[:, None], np.clip(column, 0, width - 1)]
            away = ((column + 0.5 - x) ** 2)[None] + ((row + 0.5 - y) ** 2)[:, None]
            better = inside & ~np.isnan(picked) & (away < closest)
            found[better], closest[better] = picked[better], away[better]
    return found


def _normalized(camera: Camera) -> np.ndarray:
    """Return the intrinsics (3, 3) in shares of width and height, with edges at 0 and 1."""
    return np.array(
        [
            [camera.fx / camera.width, 0.0, (camera.cx + 0.5) / camera.width],
            [0.0, camera.fy / camera.height, (camera.cy + 0.5) / camera.height],
            [0.0, 0.0, 1.0],
        ]
    )


def _turn_to_center(k: np.ndarray) -> np.ndarray:
    """Return the rotation (3, 3) that turns the ray of the image center into the optical axis."""
    ray = np.linalg.inv(k) @ (0.5, 0.5, 1.0)
    x, y, z = ray / np.linalg.norm(ray)
    cross = np.array([[0.0, 0.0, -x], [0.0, 0.0, -y], [x, y, 0.0]])
    return np.eye(3) + cross + cross @ cross / (1 + z)


def _extent(k: np.ndarray, turn: np.ndarray, aspect: float) -> tuple[float, float]:
    """Return width and height of the view on the plane at distance 1: the largest inside the image."""
    corners = (
        np.array([[0.0, 0.0, 1.0], [0.0, 1.0, 1.0], [1.0, 1.0, 1.0], [1.0, 0.0, 1.0]]) @ np.linalg.inv(k).T @ turn.T
    )
    corners = corners[:, :2] / corners[:, 2:]
    image_width, image_height = 1 / k[0, 0], 1 / k[1, 1]
    width = min(image_width, image_height * aspect)
    height = width / aspect
    for number in range(4):
        start, edge = corners[number - 1], corners[number] - corners[number - 1]
        for diagonal in ((aspect, 1.0), (aspect, -1.0)):
            crossing = diagonal[0] * edge[1] - diagonal[1] * edge[0]
            if crossing:
                along = abs((start[0] * edge[1] - start[1] * edge[0]) / crossing)
                width, height = min(width, 2 * along * aspect), min(height, 2 * along)
    return width, height


def _reduced_size(camera: Camera, extent: tuple[float, float], size: tuple[int, int]) -> tuple[int, int]:
    """Return (width, height) of the image at which its pixels are as large as those of the view."""
    width = camera.width / camera.fx * size[0] / extent[0]
    height = camera.height / camera.fy * size[1] / extent[1]
    return max(1, int(width * (1 + _ROUNDING))), max(1, int(height * (1 + _ROUNDING)))


def _ray_lengths(k: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Return the length of each pixel's ray to the plane at distance 1, float64 (H, W)."""
    x = ((np.arange(size[0]) + 0.5) / size[0] - k[0, 2]) / k[0, 0]
    y = ((np.arange(size[1]) + 0.5) / size[1] - k[1, 2]) / k[1, 1]
    return np.sqrt(x[None] ** 2 + y[:, None] ** 2 + 1)
