"""Colored points as a PLY file, which MeshLab, CloudCompare, Open3D and Blender open."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from depth_anything_ros.system.atomic_file import atomic_write

_VERTEX = np.dtype(
    [("x", "<f4"), ("y", "<f4"), ("z", "<f4"), ("red", "u1"), ("green", "u1"), ("blue", "u1")],
)


def write_ply(path: str | Path, points: np.ndarray, colors: np.ndarray) -> int:
    """Writes a binary little-endian PLY file and returns how many points it holds.

    ``points`` (N, 3) float32 in meters, ``colors`` (N, 3) uint8 RGB. Points that are not finite are left out, since
    viewers lose their bounding box over them. The file appears whole or not at all. Raises `ValueError` when the
    shapes differ, `OSError` when the folder cannot be written.
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
