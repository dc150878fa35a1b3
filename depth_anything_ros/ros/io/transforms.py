"""Where a sensor is, as seen from the camera: fixed extrinsics, or TF if tf2_ros is installed."""

from __future__ import annotations

import re
import threading
from typing import Any

from rclpy.clock import ClockType
from rclpy.node import Node
from rclpy.time import Time

from depth_anything_ros.geometry.frame_tree import known_frames, missing_link
from depth_anything_ros.geometry.transform import Transform
from depth_anything_ros.processing.poses import TransformError

_NOT_CONNECTED = ("LookupException", "ConnectivityException")
"""tf2's errors if a frame is unknown, or no chain of transforms connects two frames."""
_FRAME = re.compile(r"^Frame (.+) exists with parent (.+)\.$", re.MULTILINE)
"""A line of tf2's `all_frames_as_string`."""
_NO_PARENT = {"", "NO_PARENT"}
"""The parents of a root in these lines."""


class SensorTransforms:
    """Finds the transform from a sensor's frame to the camera's optical frame.

    Args:
        node: the node that subscribes to TF.
        extrinsics: from the sensor's frame to the optical frame; None: TF, or the identity if both frames have the same
            name.
    """

    def __init__(self, node: Node, extrinsics: Transform | None = None) -> None:
        self._node, self._fixed = node, extrinsics
        self._lock = threading.Lock()  # the worker listens, the executor stops
        self._users: set[str] = set()
        self._buffer: Any = None
        self._listener: Any = None
        self._is_needed, self._is_missing = False, False

    def set_used(self, user: str, is_used: bool) -> None:
        """Allow TF to be subscribed to, while there are users; unsubscribe after the last one.

        Args:
            user: a camera's name.
            is_used: whether it needs transforms.
        """
        with self._lock:
            self._users.discard(user)
            if is_used:
                self._users.add(user)
                if self._is_needed:  # as before the last user left
                    self._subscribe()
            elif not self._users and self._listener is not None:
                self._listener.unregister()
                self._listener = self._buffer = None

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
        if not sensor.frame_id:
            raise TransformError(
                "a message has no frame_id (odometry: no child_frame_id): set it in the driver, or set scale.extrinsics"
            )
        try:
            return self.lookup(camera.frame_id, sensor.frame_id, time_of(sensor.stamp))[1]
        except TransformError as error:
            if type(error.__cause__).__name__ not in _NOT_CONNECTED:
                raise
            parent, child = missing_link(_parents_of(self.listen()), camera.frame_id, sensor.frame_id)
            raise TransformError(
                f"{str(error).rstrip()}; start the robot's robot_state_publisher, or `ros2 run tf2_ros "
                f"static_transform_publisher --frame-id {parent} --child-frame-id {child}` with the position (--x) and "
                f"rotation (--qx) of {child}, or set scale.extrinsics"
            ) from error.__cause__

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
            raise TransformError(
                f"TF has no transform from {source} to {target}; {_frames_of(buffer)}: {error}"
            ) from error
        rotation, translation = found.transform.rotation, found.transform.translation
        quaternion = (rotation.x, rotation.y, rotation.z, rotation.w)
        transform = Transform.from_quaternion(quaternion, (translation.x, translation.y, translation.z))
        return found.header.stamp.sec + 1e-9 * found.header.stamp.nanosec, transform

    def reset(self) -> None:
        """Forget the transforms so far, because time has jumped. Static ones stay."""
        buffer = self._buffer
        if buffer is not None:
            buffer.clear()

    def listen(self) -> Any:
        """Subscribe to TF, once, and return its buffer.

        Raises:
            TransformError: tf2_ros is not installed, or nothing needs transforms any more.
        """
        with self._lock:
            self._is_needed = True
            if self._users:
                self._subscribe()
            if self._is_missing:
                raise TransformError("tf2_ros is not installed: install it, or set scale.extrinsics")
            if self._buffer is None:
                raise TransformError("depth has no subscriber any more")
            return self._buffer

    def _subscribe(self) -> None:
        if self._buffer is not None or self._is_missing:
            return
        try:
            from tf2_ros import Buffer, TransformListener  # type: ignore[import-not-found,unused-ignore]
        except ImportError:
            self._is_missing = True
            return
        buffer = Buffer()
        self._listener = TransformListener(buffer, self._node)
        self._buffer = buffer


def time_of(stamp: Any) -> Time:
    """Return the time of a builtin_interfaces/Time, or of an object with its fields."""
    return Time(seconds=stamp.sec, nanoseconds=stamp.nanosec, clock_type=ClockType.ROS_TIME)


def _frames_of(buffer: Any) -> str:
    """Return which frames tf2's buffer has, in words."""
    return known_frames({name for pair in _pairs(buffer) for name in pair} - _NO_PARENT)


def _parents_of(buffer: Any) -> dict[str, str]:
    """Return the parent of each frame in tf2's buffer that has one."""
    return {child: parent for child, parent in _pairs(buffer) if parent not in _NO_PARENT}


def _pairs(buffer: Any) -> list[tuple[str, str]]:
    # Not `all_frames_as_yaml`, which does not escape names.
    return _FRAME.findall(buffer.all_frames_as_string())
