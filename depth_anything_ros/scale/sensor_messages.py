"""Sensor messages as references of the scale. One conversion for topics and bags, which needs no ROS.

A message is any object with the fields of its type in sensor_msgs, from rclpy or rosbags.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from depth_anything_ros.geometry.camera import Camera
from depth_anything_ros.geometry.transform import Transform
from depth_anything_ros.scale.range_cone import from_range
from depth_anything_ros.scale.references import References
from depth_anything_ros.scale.sensor_points import deskew, from_depth_image, from_points, from_scan

_FORMATS = {1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 8: "f8"}
"""By the datatypes of PointField."""
TIME_FIELDS = ("t", "time", "timestamp", "time_stamp", "offset_time")
"""Fields with the time of a point."""
LONGEST_SCAN = 1.0
"""Seconds; longer times are no time within a scan."""


class SensorMessageError(ValueError):
    """A sensor message cannot be used as reference; the message says why."""


@dataclass(frozen=True)
class View:
    """A frame of the camera, with which a measurement is compared.

    Attributes:
        camera: its intrinsics, at the size of ``values``.
        values: float32 (H, W), the network's output.
        nearest_is_largest: whether the output is inverse depth.
    """

    camera: Camera
    values: np.ndarray
    nearest_is_largest: bool


@dataclass(frozen=True)
class Stamp:
    """A builtin_interfaces/Time."""

    sec: int
    nanosec: int


@dataclass(frozen=True)
class FrameHeader:
    """A std_msgs/Header: the moment (a `Stamp` or a message) at which a frame's transform is requested."""

    stamp: Any
    frame_id: str


def later_stamp(stamp: Any, seconds: float) -> Stamp:
    """Return the stamp some seconds after another.

    Args:
        stamp: builtin_interfaces/Time.
        seconds: may be negative.
    """
    return Stamp(*divmod(stamp.sec * 10**9 + stamp.nanosec + int(seconds * 10**9), 10**9))


def seconds_of(header: Any) -> float:
    """Return the stamp of a header (std_msgs/Header) in seconds."""
    return header.stamp.sec + 1e-9 * header.stamp.nanosec


def cloud_references(
    cloud: Any, transform: Transform, view: View, motion: Callable[[float], Transform | None] | None = None
) -> References:
    """Return references from a sensor_msgs/PointCloud2.

    Args:
        cloud: the message.
        transform: from its frame, at the time of its stamp, to the camera's optical frame.
        view: the camera's frame.
        motion: returns the sensor's motion, from its frame some seconds after the stamp to that at the stamp; None if
            it is unknown. With it, a cloud with a time for each point is corrected for the motion during the scan.

    Raises:
        SensorMessageError: the message cannot be used.
    """
    points, times = points_of(cloud), None if motion is None else times_of(cloud)
    if motion is not None and times is not None:
        last = times[np.argmax(np.abs(times))]
        moved = motion(float(last))
        if moved is not None:
            points = deskew(points, times / last, moved, 1.0)
    return from_points(transform.apply(points), view.camera, time=seconds_of(cloud.header))


def depth_references(image: Any, depth_camera: Camera, transform: Transform, view: View) -> References:
    """Return references from the depth image of another camera, a sensor_msgs/Image; see `cloud_references`.

    Args:
        image: the message.
        depth_camera: intrinsics of that camera.
        transform: from its optical frame to that of the camera.
        view: the camera's frame.

    Raises:
        SensorMessageError: the message cannot be used.
    """
    return from_depth_image(depth_of(image), depth_camera, view.camera, transform, time=seconds_of(image.header))


def scan_references(scan: Any, transform: Transform, view: View) -> References:
    """Return references from a sensor_msgs/LaserScan; arguments as in `cloud_references`."""
    limits = (scan.range_min, scan.range_max)
    ranges, time = np.asarray(scan.ranges), seconds_of(scan.header)
    return from_scan(ranges, scan.angle_min, scan.angle_increment, transform, view.camera, limits, time=time)


def range_references(measured: Any, transform: Transform, view: View) -> References:
    """Return references from a sensor_msgs/Range; arguments as in `cloud_references`."""
    return from_range(
        measured.range,
        measured.field_of_view,
        transform,
        view.camera,
        view.values,
        view.nearest_is_largest,
        (measured.min_range, measured.max_range),
        time=seconds_of(measured.header),
    )


def points_of(cloud: Any) -> np.ndarray:
    """Return the points of a cloud, float64 (N, 3), meters in its frame.

    Raises:
        SensorMessageError: it has no x, y and z as floats, or too few bytes.
    """
    kinds = {field.name: field.datatype for field in cloud.fields}
    if any(_FORMATS.get(kinds.get(name, 0), "")[:1] != "f" for name in "xyz"):
        raise SensorMessageError(f"the cloud has no field x, y and z of floats, but {', '.join(kinds)}")
    return np.stack([_field(cloud, name) for name in "xyz"], axis=1)


def times_of(cloud: Any) -> np.ndarray | None:
    """Return the time of each point in seconds after the cloud's stamp, float64 (N,); None if the cloud has no times.

    Integers are nanoseconds, floats are seconds, as drivers of Ouster, Velodyne, Hesai, Livox and RoboSense write them.
    They may also be counted from the same zero as the stamp.
    """
    kinds = {field.name: field.datatype for field in cloud.fields}
    name = next((name for name in TIME_FIELDS if kinds.get(name) in _FORMATS), None)
    if name is None:
        return None
    times = _field(cloud, name)
    if _FORMATS[kinds[name]][0] != "f" or np.abs(times).max(initial=0.0) > 1e12:
        times = times * 1e-9
    if np.abs(times).max(initial=0.0) > LONGEST_SCAN:
        times = times - seconds_of(cloud.header)
    longest = np.abs(times).max(initial=0.0)
    return times if np.isfinite(longest) and 0 < longest <= LONGEST_SCAN else None


def _field(cloud: Any, name: str) -> np.ndarray:
    """Return one field of all points, float64 (N,)."""
    if len(cloud.data) < cloud.height * cloud.row_step or cloud.row_step < cloud.width * cloud.point_step:
        raise SensorMessageError(f"the cloud has {len(cloud.data)} bytes, fewer than its size says")
    if not cloud.width * cloud.height:
        return np.zeros(0)
    field = next(field for field in cloud.fields if field.name == name)
    kind = np.dtype((">" if cloud.is_bigendian else "<") + _FORMATS[field.datatype])
    if field.offset + kind.itemsize > cloud.point_step:
        raise SensorMessageError(f"the cloud's field {name} lies outside of its points")
    steps = (cloud.row_step, cloud.point_step)
    return np.ndarray((cloud.height, cloud.width), kind, cloud.data, field.offset, steps).astype(np.float64).ravel()


def depth_of(image: Any) -> np.ndarray:
    """Return a depth image in meters, float32 (H, W), NaN where unknown (REP 118).

    Raises:
        SensorMessageError: the encoding is neither 32FC1 nor 16UC1, or bytes are missing.
    """
    kinds = {"32FC1": "f4", "16UC1": "u2", "mono16": "u2"}
    if image.encoding not in kinds:
        raise SensorMessageError(f"the depth image has encoding {image.encoding}, must be 32FC1 or 16UC1")
    layout = np.dtype((">" if image.is_bigendian else "<") + kinds[image.encoding])
    if image.step < image.width * layout.itemsize or len(image.data) < image.height * image.step:
        raise SensorMessageError(f"the depth image has {len(image.data)} bytes, fewer than its size says")
    raw = np.ndarray((image.height, image.width), layout, image.data, 0, (image.step, layout.itemsize))
    depth = raw.astype(np.float32)
    if layout.kind == "u":
        depth /= 1000
        np.copyto(depth, np.float32(np.nan), where=raw == 0)
    return depth


def up_of(imu: Any) -> np.ndarray:
    """Return the direction opposite to gravity, float64 (3,), in the IMU's frame.

    It comes from the orientation (REP 145: of the IMU in a world with z up). If the IMU gives none, it comes from the
    acceleration at rest.

    Raises:
        SensorMessageError: the message has neither.
    """
    if imu.orientation_covariance[0] != -1:
        q = imu.orientation
        norm = q.x * q.x + q.y * q.y + q.z * q.z + q.w * q.w
        if norm > 0.5:
            # The third row of the rotation matrix: the world's z in the IMU's frame.
            x, y, z, w = q.x, q.y, q.z, q.w
            return np.array([2 * (x * z - y * w), 2 * (y * z + x * w), norm - 2 * (x * x + y * y)]) / norm
    acceleration = np.array([imu.linear_acceleration.x, imu.linear_acceleration.y, imu.linear_acceleration.z])
    length = float(np.linalg.norm(acceleration))
    if abs(length - 9.81) > 0.5:  # m/s^2; otherwise the robot accelerates
        raise SensorMessageError("the IMU gives no orientation, and its acceleration is not that of gravity")
    return acceleration / length
