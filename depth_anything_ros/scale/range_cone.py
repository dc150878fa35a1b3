"""References from a sonar, infrared or time-of-flight range sensor: the nearest distance within a cone."""

from __future__ import annotations

import math

import numpy as np

from depth_anything_ros.geometry.camera import Camera
from depth_anything_ros.geometry.transform import Transform
from depth_anything_ros.scale.references import CELL, References, pixel_grid, references

MIN_FIELD_OF_VIEW = 0.02
"""Radians: a laser ranger's beam is at least as wide as the search for its pixel."""


def from_range(
    distance: float,
    field_of_view: float,
    to_camera: Transform,
    camera: Camera,
    values: np.ndarray,
    nearest_is_largest: bool,
    limits: tuple[float, float] = (0.0, math.inf),
    sigma: float = 0.03,
    time: float = 0.0,
    source: str = "range",
) -> References:
    """Return references of one measurement (`sensor_msgs/Range`).

    The sensor measures the nearest surface in its cone. The network's nearest pixels get the
    measured distance as depth. All other pixels of the cone are at least that far away. Without
    an echo (a distance beyond the limits) only that bound remains.

    Args:
        distance: meters along the beam; infinite or above the limit for no echo.
        field_of_view: full angle of the cone, radians.
        to_camera: from the sensor's frame (x forward) to the camera's optical frame.
        camera: the camera of the depth map.
        values: float32 (H, W), the network's output.
        nearest_is_largest: whether that is inverse depth.
        limits: smallest and largest range of the sensor, meters.
        sigma: relative standard deviation.
        time: seconds.
        source: the source's name.
    """
    none = references(np.zeros((0, 2)), np.zeros(0), sigma, False, 0.0, time, source)
    if math.isnan(distance) or distance < limits[0] or distance <= 0:
        return none
    has_echo = distance < limits[1] and math.isfinite(distance)  # at the limit, many drivers report no echo
    reach = distance if has_echo else limits[1]
    if not math.isfinite(reach):
        return none
    pixels = pixel_grid(camera.width, camera.height, CELL / 2)
    origin, axis = to_camera.translation, to_camera.rotation[:, 0]
    if (center := origin + reach * axis)[2] > 0:  # a narrow beam may miss all others
        aimed = camera.project(center[np.newaxis])
        if (aimed >= 0).all() and (aimed <= (camera.width - 1, camera.height - 1)).all():
            pixels = np.concatenate([np.rint(aimed), pixels])
    rays = camera.back_project(pixels, np.ones(len(pixels)))
    z = _depth_at(rays, origin, reach)
    with np.errstate(invalid="ignore"):
        directions = (rays * z[:, np.newaxis] - origin) / reach
        inside = np.isfinite(z) & (directions @ axis > math.cos(max(field_of_view, MIN_FIELD_OF_VIEW) / 2))
    x = values[pixels[:, 1].astype(int), pixels[:, 0].astype(int)].astype(np.float64)
    inside &= np.isfinite(x)
    pixels, z, x = pixels[inside], z[inside], x[inside]
    if not len(pixels):
        return none
    nearness = x if nearest_is_largest else -x
    is_nearest = has_echo & (nearness >= np.sort(nearness)[math.ceil(0.98 * (len(nearness) - 1))])
    # One echo is one measurement, however many pixels it may belong to.
    shared = sigma * math.sqrt(max(int(is_nearest.sum()), 1))
    return references(pixels, z, np.where(is_nearest, shared, 2 * sigma), ~is_nearest, sigma, time, source)


def _depth_at(rays: np.ndarray, origin: np.ndarray, reach: float) -> np.ndarray:
    """Return the depth Z at which each ray is ``reach`` away from ``origin``; NaN where it never is."""
    squared, along = np.einsum("ni,ni->n", rays, rays), rays @ origin
    discriminant = along**2 - squared * (origin @ origin - reach**2)
    with np.errstate(invalid="ignore"):
        z = (along + np.sqrt(discriminant)) / squared
    return np.where(z > 0, z, np.nan)
