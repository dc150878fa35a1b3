"""Where a sensor is, as seen from the camera: fixed extrinsics, or TF if tf2_ros is installed."""

from __future__ import annotations

from typing import Any

from rclpy.clock import ClockType
from rclpy.node import Node
from rclpy.time import Time

from depth_anything_ros.geometry.transform import Transform
from depth_anything_ros.processing.poses import TransformError


class SensorTransforms:
    """Finds the transform from a sensor's frame to the camera's optical frame.

    Args:
        node: the node that subscribes to TF.
        extrinsics: from the sensor's frame to the optical frame; None: TF, or the identity if both frames have the same
            name.

    """

    def __init__(self, node: Node, extrinsics: Transform | None = None) -> None:
        self._node, self._fixed = node, extrinsics
        self._buffer: Any = None
        self._missing = ""

    def to_camera(self, sensor: Any, camera: Any) -> Transform:
        """Return the transform of a measurement into the camera's optical frame, at the time of the measurement.

        Args:
            sensor: header of the measurement.
            camera: header of the image.

        Raises:
            TransformError: it is unknown.
        """
        if self._fixed is not None:
            return self._fixed
        if sensor.frame_id == camera.frame_id:
            return Transform.identity()
        return self.lookup(camera.frame_id, sensor.frame_id, time_of(sensor.stamp))[1]

    def lookup(self, target: str, source: str, time: Time) -> tuple[float, Transform]:
        """Return a transform of TF, and its time in seconds.

        Args:
            target: the frame of the transformed points.
            source: the frame of the points.
            time: of the transform; 0 for the latest one.

        Raises:
            TransformError: TF does not have it.
        """
        buffer = self.listen()
        try:
            found = buffer.lookup_transform(target, source, time)
        except Exception as error:  # tf2_py's errors have no base class in Python
            if type(error).__module__.partition(".")[0] not in ("tf2", "tf2_py", "tf2_ros", "_tf2_py"):
                raise
            raise TransformError(f"TF has no transform from {source} to {target}: {error}") from error
        rotation, translation = found.transform.rotation, found.transform.translation
        quaternion = (rotation.x, rotation.y, rotation.z, rotation.w)
        transform = Transform.from_quaternion(quaternion, (translation.x, translation.y, translation.z))
        return found.header.stamp.sec + 1e-9 * found.header.stamp.nanosec, transform

    def reset(self) -> None:
        """Forget the transforms so far, because time has jumped."""
        if self._buffer is not None:
            self._buffer.clear()

    def listen(self) -> Any:
        """Subscribe to TF, once, and return its buffer.

        Raises:
            TransformError: tf2_ros is not installed.
        """
        if self._buffer is None and not self._missing:
            try:
                from tf2_ros import Buffer, TransformListener  # type: ignore[import-not-found,unused-ignore]
            except ImportError:
                self._missing = "tf2_ros is not installed: install it, or set scale.extrinsics"
            else:
                self._buffer = Buffer()
                self._listener = TransformListener(self._buffer, self._node)
        if self._missing:
            raise TransformError(self._missing)
        return self._buffer


def time_of(stamp: Any) -> Time:
    """Return the time of a builtin_interfaces/Time, or of an object with its fields."""
    return Time(seconds=stamp.sec, nanoseconds=stamp.nanosec, clock_type=ClockType.ROS_TIME)
