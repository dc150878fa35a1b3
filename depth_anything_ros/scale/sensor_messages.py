"""Sensor messages as references of the scale. One conversion for topics and bags, which needs no ROS.

A message is any object with the fields of its type in sensor_msgs, from rclpy or rosbags.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from depth_anything_ros.geometry.camera import Camera
from depth_anything_ros.geometry.transform import Transform
from depth_anything_ros.scale.range_cone import from_range
from depth_anything_ros.scale.references import References
from depth_anything_ros.scale.sensor_points import from_depth_image, from_points, from_scan

_FLOATS = {7: "f4", 8: "f8"}
"""By PointField.FLOAT32 and FLOAT64."""


class SensorMessageError(ValueError):
    """A sensor message cannot be used as reference; the message says why."""


@dataclass(frozen=True)
class View:
    """What a measurement is compared with: a frame of the camera.

    Attributes:
        camera: its intrinsics, at the size of ``values``.
        values: float32 (H, W), the network's output.
        nearest_is_largest: whether the output is inverse depth.
    """

    camera: Camera
    values: np.ndarray
    nearest_is_largest: bool


def seconds_of(header: Any) -> float:
    """Return the stamp of a header (std_msgs/Header) in seconds."""
    return header.stamp.sec + 1e-9 * header.stamp.nanosec


def cloud_references(cloud: Any, transform: Transform, view: View) -> References:
    """Return references from a sensor_msgs/PointCloud2.

    Args:
        cloud: the message.
        transform: from its frame to the camera's optical frame.
        view: the camera's frame.

    Raises:
        SensorMessageError: the message cannot be used.
    """
    return from_points(transform.apply(points_of(cloud)), view.camera, time=seconds_of(cloud.header))


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
    order = ">" if cloud.is_bigendian else "<"
    fields = {field.name: field for field in cloud.fields}
    try:
        formats = [order + _FLOATS[fields[name].datatype] for name in "xyz"]
        offsets = [fields[name].offset for name in "xyz"]
    except KeyError as error:
        raise SensorMessageError(f"the cloud has no field x, y and z of floats, but {', '.join(fields)}") from error
    if len(cloud.data) < cloud.height * cloud.row_step or cloud.row_step < cloud.width * cloud.point_step:
        raise SensorMessageError(f"the cloud has {len(cloud.data)} bytes, fewer than its size says")
    layout = np.dtype({"names": list("xyz"), "formats": formats, "offsets": offsets, "itemsize": cloud.point_step})
    rows = np.ndarray((cloud.height, cloud.width), layout, cloud.data, 0, (cloud.row_step, cloud.point_step))
    return np.stack([rows[name].astype(np.float64).ravel() for name in "xyz"], axis=1)


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
    if layout.kind == "f":
        return raw.astype(np.float32)
    return np.where(raw > 0, raw.astype(np.float32) / 1000, np.float32(np.nan))


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
