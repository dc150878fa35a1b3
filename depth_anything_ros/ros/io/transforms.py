"""Where a sensor is, as seen from the camera: fixed extrinsics, or TF if tf2_ros is installed."""

from __future__ import annotations

from typing import Any

from rclpy.node import Node
from rclpy.time import Time
from std_msgs.msg import Header

from depth_anything_ros.geometry.transform import Transform


class TransformError(LookupError):
    """The transform between two frames is unknown; the message says why, and what to do."""


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

    def to_camera(self, sensor: Header, camera: Header) -> Transform:
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
        buffer = self._listen()
        try:
            found = buffer.lookup_transform(camera.frame_id, sensor.frame_id, Time.from_msg(sensor.stamp))
        except Exception as error:  # tf2_py's errors have no base class in Python
            if type(error).__module__.partition(".")[0] not in ("tf2", "tf2_py", "tf2_ros", "_tf2_py"):
                raise
            raise TransformError(f"TF has no transform from {sensor.frame_id} to {camera.frame_id}: {error}") from error
        rotation, translation = found.transform.rotation, found.transform.translation
        return Transform.from_quaternion(
            (rotation.x, rotation.y, rotation.z, rotation.w), (translation.x, translation.y, translation.z)
        )

    def _listen(self) -> Any:
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
