"""Organised coloured point clouds, written straight into the bytes of a message.

A point takes 16 bytes: x, y, z, rgb, each float32 in the machine's order; rgb holds the bytes B, G, R, 0, as PCL and
RViz read it. The fourth byte is 0 and not 255 because 255 would make the float of every reddish point a NaN, which
readers that skip NaN then drop.
"""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np

POINT_STEP = 16
"""Bytes a point takes."""

_TILE_ROWS = 64  # planes of this many rows stay in the cache between the passes; measured, flat from 32 to 64
_WITHOUT_ALPHA = np.frombuffer(b"\xff\xff\xff\x00", np.uint32)[0]


def organised_size(height: int, width: int, stride: int = 1) -> tuple[int, int]:
    """The (height, width) of the cloud of a depth map of which every ``stride``-th row and column is taken."""
    return -(-height // stride), -(-width // stride)


def write_point_cloud(
    depth: np.ndarray,
    rays_x: np.ndarray,
    rays_y: np.ndarray,
    rgb: np.ndarray | None,
    out: np.ndarray,
    stride: int = 1,
    minimum: float = 0.0,
    maximum: float = np.inf,
    flying: np.ndarray | None = None,
) -> None:
    """Back-projects a depth map into ``out``, row by row, one point a pixel.

    ``depth`` float32 (H, W) in metres, ``rays_x`` float32 (W,) and ``rays_y`` float32 (H,) as `Camera.rays` gives
    them, ``rgb`` uint8 (H, W, 3) of any strides, or None for points of x, y, z alone, ``out`` contiguous uint8 of
    H' * W' * 16 (or 12) bytes with (H', W') from `organised_size`. Points are metres in the optical frame. Where the
    depth is not finite or not within ``minimum`` … ``maximum``, or ``flying`` (H, W) is not zero, x, y and z are NaN,
    and the colour stays. Raises `ValueError` when the shapes do not fit each other.
    """
    height, width = depth.shape
    if rays_x.shape != (width,) or rays_y.shape != (height,) or (rgb is not None and rgb.shape != (height, width, 3)):
        raise ValueError(
            f"depth is {width}x{height}, but the rays are for {rays_x.size}x{rays_y.size} pixels "
            f"and the colours have shape {None if rgb is None else rgb.shape}"
        )
    rows, columns = organised_size(height, width, stride)
    channels = 3 if rgb is None else 4
    if out.nbytes != rows * columns * channels * 4:
        raise ValueError(
            f"cloud of {columns}x{rows} points needs {rows * columns * channels * 4} bytes, got {out.nbytes}"
        )
    if stride > 1:
        depth, rays_x, rays_y = depth[::stride, ::stride], rays_x[::stride], rays_y[::stride]
        rgb = None if rgb is None else rgb[::stride, ::stride]
        flying = None if flying is None else flying[::stride, ::stride]
    points = out.view(np.float32).reshape(rows, columns, channels)
    planes = np.empty((3, min(_TILE_ROWS, rows), columns), np.float32)
    colour = None if rgb is None else np.empty((min(_TILE_ROWS, rows), columns, 4), np.uint8)
    is_limited = minimum > 0 or np.isfinite(maximum)
    for top in range(0, rows, _TILE_ROWS):
        tile = slice(top, min(top + _TILE_ROWS, rows))
        x, y, z = planes[:, : tile.stop - top]
        with np.errstate(invalid="ignore"):
            np.subtract(depth[tile], depth[tile], out=z)  # 0 where finite, NaN elsewhere
        z += depth[tile]
        if is_limited:
            with np.errstate(invalid="ignore"):
                np.copyto(z, np.nan, where=(z < minimum) | (z > maximum))
        if flying is not None:
            np.copyto(z, np.nan, where=flying[tile].astype(bool))
        np.multiply(z, rays_x, out=x)
        np.multiply(z, rays_y[tile, np.newaxis], out=y)
        if rgb is None:
            cv2.merge([x, y, z], dst=points[tile])
            continue
        tile_colour = colour[: tile.stop - top]
        _write_bgr(rgb[tile], tile_colour)
        packed = tile_colour.view(np.uint32)
        packed &= _WITHOUT_ALPHA
        cv2.merge([x, y, z, tile_colour.view(np.float32)[..., 0]], dst=points[tile])


def point_cloud_writer() -> Callable[..., None]:
    """`write_point_cloud`, or its compiled twin where Numba is installed: three times as fast, and the same bytes."""
    try:
        from depth_anything_ros.geometry.point_cloud_numba import write_point_cloud as compiled
    except ImportError:
        return write_point_cloud
    return compiled


def _write_bgr(rgb: np.ndarray, out: np.ndarray) -> None:
    """Writes RGB uint8 (h, w, 3) of any strides as B, G, R, 255 into ``out`` uint8 (h, w, 4)."""
    conversion = cv2.COLOR_RGB2BGRA
    if rgb.strides[2] == -1:  # an image in BGR order, seen as RGB
        rgb, conversion = rgb[..., ::-1], cv2.COLOR_BGR2BGRA
    if rgb.strides[1:] != (3, 1):  # OpenCV reads padded rows in place, but not padded pixels
        rgb = np.ascontiguousarray(rgb)
    cv2.cvtColor(rgb, conversion, dst=out)


def finite_points(cloud: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The points of a cloud's bytes that are finite: positions float32 (N, 3) in metres, RGB colours uint8 (N, 3).

    ``cloud`` is uint8 of any number of 16-byte points, as `write_point_cloud` fills it.
    """
    points = cloud.view(np.float32).reshape(-1, 4)
    kept = points[np.isfinite(points[:, 2])]
    return kept[:, :3].copy(), np.ascontiguousarray(kept[:, 3]).view(np.uint8).reshape(-1, 4)[:, 2::-1].copy()
