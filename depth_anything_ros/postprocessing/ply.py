"""Colored points as a PLY file for MeshLab, CloudCompare, Open3D and Blender."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from depth_anything_ros.system.atomic_file import atomic_write

_VERTEX = np.dtype(
    [("x", "<f4"), ("y", "<f4"), ("z", "<f4"), ("red", "u1"), ("green", "u1"), ("blue", "u1")],
)


def write_ply(path: str | Path, points: np.ndarray, colors: np.ndarray) -> int:
    """Write a binary little-endian PLY file atomically, and return its number of points.

    Args:
        path: the file; its folder must exist.
        points: float32 (N, 3) in meters. Points that are not finite are left out, since they break the bounding box
            of viewers.
        colors: uint8 (N, 3) RGB.

    Raises:
        ValueError: the shapes differ.
        OSError: the file cannot be written.
    """
    points, colors = np.asarray(points), np.asarray(colors)
    if points.ndim != 2 or points.shape[1] != 3 or colors.shape != points.shape:
        raise ValueError(f"points and colors must both be (N, 3), got {points.shape} and {colors.shape}")
    finite = np.isfinite(points).all(axis=1)
    vertices = np.empty(int(finite.sum()), _VERTEX)
    for axis, name in enumerate("xyz"):
        vertices[name] = points[finite, axis]
    for channel, name in enumerate(("red", "green", "blue")):
        vertices[name] = colors[finite, channel]
    properties = "".join(
        f"property {'uchar' if name in ('red', 'green', 'blue') else 'float'} {name}\n" for name in _VERTEX.names or ()
    )
    header = f"ply\nformat binary_little_endian 1.0\nelement vertex {vertices.size}\n{properties}end_header\n"
    atomic_write(path, header.encode("ascii") + vertices.tobytes())
    return vertices.size
