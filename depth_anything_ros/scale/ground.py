"""References from the ground: a camera at a known height, and the direction of gravity."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from depth_anything_ros.geometry.camera import Camera
from depth_anything_ros.scale.references import CELL, References, pixel_grid, references

FLATNESS = 0.01
"""Relative standard deviation of the ground's depth in one cell."""
MAX_SPREAD = 0.2
"""Relative standard deviation from the network's depth above which the view is not a floor."""
FLOOR_SIGMA = 0.1
"""Relative error of the assumption of a flat floor, which nothing measures."""
TILT_SIGMA, ASSUMED_TILT_SIGMA = math.radians(0.5), math.radians(2)
"""Standard deviation of the direction of gravity: by an IMU, and if the camera's pitch is only assumed."""
MIN_ANGLE = math.radians(4)
"""Below the horizon; nearer to it, a small error of gravity is a large error of distance."""


def from_ground(
    camera: Camera,
    up: np.ndarray,
    height: float,
    height_sigma: float = 0.01,
    tilt_sigma: float = TILT_SIGMA,
    max_distance: float = 10.0,
    time: float = 0.0,
    source: str = "ground_plane",
) -> References:
    """Return references on a flat ground: one for each cell below the horizon.

    Cells with an obstacle are nearer than the ground. The robust fit rejects them if they are less than half of the
    cells. With gravity known, the ground fixes scale and shift, because it spans depths.

    Args:
        camera: the camera of the depth map.
        up: (3,), opposite to gravity, in the camera's optical frame; of any length but 0.
        height: Height of the camera above the ground, meters.
        height_sigma: relative standard deviation of the height; an error that all references share.
        tilt_sigma: standard deviation of the direction of gravity, radians.
        max_distance: meters along the optical axis.
        time: seconds.
        source: the source's name.

    Raises:
        ValueError: the height is not positive, or ``up`` has no direction.
    """
    up = np.asarray(up, np.float64)
    length = float(np.linalg.norm(up))
    if not height > 0 or not (math.isfinite(length) and length > 0):
        raise ValueError(f"height is {height} m and up {up.tolist()}: the height must be positive, up not zero")
    pixels = pixel_grid(camera.width, camera.height, CELL)
    rays = camera.back_project(pixels, np.ones(len(pixels)))
    descent = -(rays @ up) / length
    angle = np.arcsin(np.clip(descent / np.linalg.norm(rays, axis=1), -1, 1))
    below = angle > MIN_ANGLE
    z = height / descent[below]
    near = z < max_distance
    tilt = tilt_sigma / np.tan(angle[below][near])  # moves all of the ground the same way
    common_sigma = math.hypot(FLOOR_SIGMA, height_sigma, float(np.median(tilt)) if len(tilt) else 0.0)
    known = references(pixels[below][near], z[near], FLATNESS, False, common_sigma, time, source)
    return replace(known, max_spread=MAX_SPREAD)
