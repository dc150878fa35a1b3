"""Sparse points of known depth, the same for every model, machine and release.

Drawn points follow from the name of the frame, the pattern and the truth alone. They do not depend on a random number
generator, whose numbers change between releases of a library. "stored" points come with the set.
"""

from __future__ import annotations

import hashlib

import numpy as np

from depth_anything_ros.geometry.camera import Camera

STORED = "stored"
"""The pattern of the points that the set gives, with their own depth."""
LINES = 64
LOWEST, HIGHEST = np.radians(-24.8), np.radians(2.0)
"""Elevations of the 64 lines of KITTI's Velodyne HDL-64E."""


def check_pattern(pattern: str) -> tuple[str, int]:
    """Return kind and number of a pattern: "points 500", "lines 16", or "stored" with 0. Raises `ValueError`."""
    if pattern == STORED:
        return STORED, 0
    kind, _, number = pattern.partition(" ")
    if kind not in ("points", "lines") or not number.isdigit() or int(number) < 1:
        raise ValueError(f"pattern is {pattern!r}, must be 'points N', 'lines N' or {STORED!r}")
    if kind == "lines" and LINES % int(number):
        raise ValueError(f"pattern is {pattern!r}; the number of lines must divide {LINES}")
    return kind, int(number)


def sparse_points(pattern: str, name: str, known: np.ndarray, camera: Camera | None = None) -> np.ndarray:
    """Return the pixels of a drawn pattern, int64 (N, 2) as u and v.

    "points 500" are as many pixels of known depth, chosen by a hash; all if there are fewer. "lines 16" are every
    fourth of the 64 lines of a lidar at the camera: for each line and column the known pixel that is closest in
    elevation, within half of the spacing of the 64 lines.

    Args:
        pattern: the pattern.
        name: the name of the frame.
        known: bool (H, W), the pixels with known depth.
        camera: the intrinsics; needed for lines.

    Raises:
        ValueError: the pattern is invalid, or lines have no camera.
    """
    kind, number = check_pattern(pattern)
    rows, columns = np.nonzero(known)
    pixels = np.stack([columns, rows], axis=1)
    if kind == "points":
        flat = rows.astype(np.uint64) * np.uint64(known.shape[1]) + columns.astype(np.uint64)
        order = np.argsort(_hashed(flat, f"{name} {pattern}"), kind="stable")
        return pixels[np.sort(order[:number])]
    if camera is None:
        raise ValueError(f"{pattern!r} needs the intrinsics of the camera, and {name} has none")
    return pixels[_on_lines(pixels, camera, LINES // number)]


def _hashed(values: np.ndarray, seed: str) -> np.ndarray:
    """Return uint64 (N,) that look random: SplitMix64 of the values and the seed."""
    start = np.uint64(int.from_bytes(hashlib.sha256(seed.encode()).digest()[:8], "little"))
    with np.errstate(over="ignore"):
        z = values * np.uint64(0x9E3779B97F4A7C15) + start
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return z ^ (z >> np.uint64(31))


def _on_lines(pixels: np.ndarray, camera: Camera, every: int) -> np.ndarray:
    """Return the indices of the pixels on every n-th line, one for each line and column, sorted."""
    x, y = (pixels[:, 0] - camera.cx) / camera.fx, (pixels[:, 1] - camera.cy) / camera.fy
    position = (np.arctan2(-y, np.hypot(x, 1.0)) - LOWEST) / (HIGHEST - LOWEST) * (LINES - 1)
    line = np.rint(position).astype(np.int64)
    usable = np.flatnonzero((line >= 0) & (line < LINES) & (line % every == 0))
    away = np.abs(position[usable] - line[usable])
    group = line[usable] * camera.width + pixels[usable, 0]
    order = np.lexsort((usable, away, group))
    first = np.ones(len(order), bool)
    first[1:] = group[order][1:] != group[order][:-1]
    return np.sort(usable[order[first]])
