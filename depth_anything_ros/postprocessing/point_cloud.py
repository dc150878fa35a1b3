"""Organized point clouds, with colors or without, written straight into the bytes of a message.

A colored point takes 16 bytes: x, y, z, rgb, each float32 in the machine's order; rgb holds the bytes B, G, R, 0, as
PCL and RViz read it. The fourth byte is 0 and not 255 because 255 would make the float of every reddish point a NaN,
which readers that skip NaN then drop. A point without color takes 12 bytes: x, y, z.
"""

from __future__ import annotations

import cv2
import numpy as np

from depth_anything_ros.images.pixel_layout import TO_BGRA, convert, stored

POINT_STEP = 16
"""Bytes a colored point takes."""
POSITION_STEP = 12
"""Bytes a point without color takes."""

_TILE_PIXELS = 80_000  # planes of so many stay in the cache between the passes; fewer cost more calls than they save
_WITHOUT_ALPHA = np.frombuffer(b"\xff\xff\xff\x00", np.uint32)[0]


def organized_size(height: int, width: int, stride: int = 1) -> tuple[int, int]:
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

    A loop compiled by Numba was measured beside it (640x480, colored, one core): 0.7 ms against 0.6, for OpenCV's
    passes use the processor's vectors where the compiled loop does not. Only with a stride above 1 is it faster.

    ``depth`` float32 (H, W) in meters, ``rays_x`` float32 (W,) and ``rays_y`` float32 (H,) as `Camera.rays` gives
    them, ``rgb`` uint8 (H, W, 3) of any strides, or None for points without color, ``out`` contiguous uint8 of
    H' * W' * 16 bytes (12 without color) with (H', W') from `organized_size`. Points are meters in the optical frame.
    x, y and z are NaN, and the color stays, where the depth is not finite, lies outside ``minimum`` … ``maximum``
    (meters, of Z), or ``flying``, bool or uint8 (H, W), is not zero. Raises `ValueError` when the shapes do not fit
    each other.
    """
    rows, columns = _checked_size(depth, rays_x, rays_y, rgb, out, stride, flying)
    if stride > 1:
        depth, rays_x, rays_y = depth[::stride, ::stride], rays_x[::stride], rays_y[::stride]
        rgb = None if rgb is None else rgb[::stride, ::stride]
        flying = None if flying is None else flying[::stride, ::stride]
    lowest, highest = _closed_limits(minimum, maximum)
    points = out.view(np.float32).reshape(rows, columns, -1)
    tile_rows = min(max(_TILE_PIXELS // columns, 1), rows)
    tile_shape = tile_rows, columns
    planes, masks = np.empty((3, *tile_shape), np.float32), np.empty((2, *tile_shape), bool)
    color = None if rgb is None else np.empty((*tile_shape, 4), np.uint8)
    for top in range(0, rows, tile_rows):
        tile = slice(top, min(top + tile_rows, rows))
        x, y, z = planes[:, : tile.stop - top]
        kept, other = masks[:, : tile.stop - top]
        _keep(depth[tile], lowest, highest, None if flying is None else flying[tile], kept, other)
        z.fill(np.nan)
        cv2.copyTo(depth[tile], kept.view(np.uint8), dst=z)
        np.multiply(z, rays_x, out=x)
        np.multiply(z, rays_y[tile, np.newaxis], out=y)
        if color is None or rgb is None:
            cv2.merge([x, y, z], dst=points[tile])
        else:
            tile_color = color[: tile.stop - top]
            _write_bgr(rgb[tile], tile_color)
            packed = tile_color.view(np.uint32)
            packed &= _WITHOUT_ALPHA
            cv2.merge([x, y, z, tile_color.view(np.float32)[..., 0]], dst=points[tile])


def _checked_size(
    depth: np.ndarray,
    rays_x: np.ndarray,
    rays_y: np.ndarray,
    rgb: np.ndarray | None,
    out: np.ndarray,
    stride: int,
    flying: np.ndarray | None,
) -> tuple[int, int]:
    """The (height, width) of the cloud that `write_point_cloud` writes; raises `ValueError` for its reasons."""
    height, width = depth.shape
    color_shape = (height, width, 3) if rgb is None else rgb.shape
    if rays_x.shape != (width,) or rays_y.shape != (height,) or color_shape != (height, width, 3):
        raise ValueError(
            f"depth is {width}x{height}, but the rays are for {rays_x.size}x{rays_y.size} pixels "
            f"and the colors have shape {color_shape}"
        )
    if flying is not None and flying.shape != depth.shape:
        raise ValueError(f"depth has shape {depth.shape}, but the mask of flying pixels {flying.shape}")
    rows, columns = organized_size(height, width, stride)
    needed = rows * columns * (POSITION_STEP if rgb is None else POINT_STEP)
    if out.nbytes != needed:
        raise ValueError(f"cloud of {columns}x{rows} points needs {needed} bytes, got {out.nbytes}")
    return rows, columns


def _closed_limits(minimum: float, maximum: float) -> tuple[np.float32, np.float32]:
    """The limits as float32 that every finite depth may be compared with: infinities lie outside."""
    lowest, highest = float(np.finfo(np.float32).min), float(np.finfo(np.float32).max)
    return np.float32(max(minimum, lowest)), np.float32(min(maximum, highest))


def _keep(
    depth: np.ndarray,
    minimum: np.float32,
    maximum: np.float32,
    flying: np.ndarray | None,
    out: np.ndarray,
    scratch: np.ndarray,
) -> None:
    """Writes into bool ``out`` (h, w) which depths lie within the limits and do not fly; ``scratch`` is another."""
    with np.errstate(invalid="ignore"):  # NaN is not within
        np.greater_equal(depth, minimum, out=out)
        out &= np.less_equal(depth, maximum, out=scratch)
    if flying is not None:
        kept = out.view(np.uint8)
        cv2.subtract(kept, flying.view(np.uint8), dst=kept)  # saturates at 0


def _write_bgr(rgb: np.ndarray, out: np.ndarray) -> None:
    """Writes RGB uint8 (h, w, 3) of any strides as B, G, R and any fourth byte into ``out`` uint8 (h, w, 4)."""
    convert(stored(rgb), TO_BGRA, out)


def finite_points(cloud: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The points of a cloud's bytes that are finite: positions float32 (N, 3) in meters, RGB colors uint8 (N, 3).

    ``cloud`` is uint8 of any number of 16-byte points, as `write_point_cloud` fills it.
    """
    points = cloud.view(np.float32).reshape(-1, 4)
    kept = points[np.isfinite(points[:, 2])]
    return kept[:, :3].copy(), np.ascontiguousarray(kept[:, 3]).view(np.uint8).reshape(-1, 4)[:, 2::-1].copy()
