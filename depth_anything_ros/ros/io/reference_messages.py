"""Sensor messages to arrays that the scale sources use."""

from __future__ import annotations

import numpy as np
from sensor_msgs.msg import Image, Imu, PointCloud2, PointField

_FLOATS = {PointField.FLOAT32: "f4", PointField.FLOAT64: "f8"}


class ReferenceMessageError(ValueError):
    """A sensor message cannot be used as reference; the message says why."""


def points_of(cloud: PointCloud2) -> np.ndarray:
    """Return the points of a cloud, float64 (N, 3), meters in its frame.

    Raises:
        ReferenceMessageError: it has no x, y and z as floats, or too few bytes.
    """
    order = ">" if cloud.is_bigendian else "<"
    fields = {field.name: field for field in cloud.fields}
    try:
        formats = [order + _FLOATS[fields[name].datatype] for name in "xyz"]
        offsets = [fields[name].offset for name in "xyz"]
    except KeyError as error:
        raise ReferenceMessageError(f"the cloud has no field x, y and z of floats, but {', '.join(fields)}") from error
    if len(cloud.data) < cloud.height * cloud.row_step or cloud.row_step < cloud.width * cloud.point_step:
        raise ReferenceMessageError(f"the cloud has {len(cloud.data)} bytes, fewer than its size says")
    layout = np.dtype({"names": list("xyz"), "formats": formats, "offsets": offsets, "itemsize": cloud.point_step})
    rows = np.ndarray((cloud.height, cloud.width), layout, cloud.data, 0, (cloud.row_step, cloud.point_step))
    return np.stack([rows[name].astype(np.float64).ravel() for name in "xyz"], axis=1)


def depth_of(image: Image) -> np.ndarray:
    """Return a depth image in meters, float32 (H, W), NaN where unknown (REP 118).

    Raises:
        ReferenceMessageError: the encoding is neither 32FC1 nor 16UC1, or bytes are missing.
    """
    kinds = {"32FC1": "f4", "16UC1": "u2", "mono16": "u2"}
    if image.encoding not in kinds:
        raise ReferenceMessageError(f"the depth image has encoding {image.encoding}, must be 32FC1 or 16UC1")
    layout = np.dtype((">" if image.is_bigendian else "<") + kinds[image.encoding])
    if image.step < image.width * layout.itemsize or len(image.data) < image.height * image.step:
        raise ReferenceMessageError(f"the depth image has {len(image.data)} bytes, fewer than its size says")
    raw = np.ndarray((image.height, image.width), layout, image.data, 0, (image.step, layout.itemsize))
    if layout.kind == "f":
        return raw.astype(np.float32)
    return np.where(raw > 0, raw.astype(np.float32) / 1000, np.float32(np.nan))


def up_of(imu: Imu) -> np.ndarray:
    """Return the direction opposite to gravity, float64 (3,), in the IMU's frame.

    It comes from the orientation (REP 145: of the IMU in a world with z up). If the IMU gives none, it comes from the
    acceleration at rest.

    Raises:
        ReferenceMessageError: the message has neither.
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
        raise ReferenceMessageError("the IMU gives no orientation, and its acceleration is not that of gravity")
    return acceleration / length
