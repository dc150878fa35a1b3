"""The camera's pose over time, from a topic with odometry or from TF."""

from __future__ import annotations

from typing import Any, Protocol

from rclpy.node import Node
from rclpy.qos import qos_profile_sensor_data
from rclpy.subscription import Subscription
from rclpy.time import Time

from depth_anything_ros.geometry.transform import Transform
from depth_anything_ros.processing.poses import EXTRAPOLATION, TransformError, interpolate, pose_of, with_pose
from depth_anything_ros.processing.scale_measurements import CameraPoses
from depth_anything_ros.ros.io.transforms import SensorTransforms, time_of
from depth_anything_ros.scale.sensor_messages import FrameHeader, seconds_of

TOPIC = "scale/odometry"


class Odometry(CameraPoses, Protocol):
    """Tells the camera's pose from a source that can be opened and closed."""

    def set_open(self, is_open: bool) -> None:
        """Subscribe, or unsubscribe."""

    def reset(self) -> None:
        """Forget the poses so far, because time has jumped."""


class TopicOdometry:
    """Poses of nav_msgs/Odometry messages, interpolated.

    Args:
        node: the node that subscribes.
        prefix: prefix of the topic: "" or "NAME/".
        transforms: where the odometry's child frame is, as seen from the camera.

    Raises:
        ImportError: nav_msgs is not installed.
    """

    def __init__(self, node: Node, prefix: str, transforms: SensorTransforms) -> None:
        from nav_msgs.msg import Odometry as OdometryMessage  # optional: not every installation has it

        self._node, self._topic, self._transforms = node, prefix + TOPIC, transforms
        self._type = OdometryMessage
        self._subscription: Subscription | None = None
        self._child = ""
        self._poses: list[tuple[float, Transform]] = []

    def set_open(self, is_open: bool) -> None:
        """Subscribe, or unsubscribe."""
        if is_open and self._subscription is None:
            self._subscription = self._node.create_subscription(
                self._type, self._topic, self._receive, qos_profile_sensor_data
            )
        elif not is_open and self._subscription is not None:
            self._node.destroy_subscription(self._subscription)
            self._subscription = None

    def reset(self) -> None:
        """Forget the poses so far."""
        self._poses = []

    def pose(self, camera: Any) -> Transform:
        """Return the camera's pose; see `CameraPoses`."""
        if not self._poses:
            raise TransformError(f"no message on {self._node.resolve_topic_name(self._topic)}")
        child = interpolate(self._poses, seconds_of(camera))
        return child @ self._transforms.to_camera(FrameHeader(camera.stamp, self._child), camera).inverse()

    def _receive(self, message: Any) -> None:
        pose = pose_of(message)
        if pose is None:
            return  # an odometry that has not started yet
        self._child = message.child_frame_id
        # A new list, because the worker may be reading the present one.
        self._poses = with_pose(self._poses, seconds_of(message.header), pose)


class TfOdometry:
    """Poses of TF.

    Args:
        transforms: TF.
        frame: the fixed frame, usually odom.
    """

    def __init__(self, transforms: SensorTransforms, frame: str) -> None:
        self._transforms, self._frame = transforms, frame

    def set_open(self, is_open: bool) -> None:
        """Listen to TF, if it is installed; the error is that of `pose` otherwise."""
        if is_open:
            try:
                self._transforms.listen()
            except TransformError:
                return

    def reset(self) -> None:
        """Do nothing: the transforms are reset by themselves."""

    def pose(self, camera: Any) -> Transform:
        """Return the camera's pose; see `CameraPoses`."""
        try:
            return self._transforms.lookup(self._frame, camera.frame_id, time_of(camera.stamp))[1]
        except TransformError:  # the odometry of the image's time may arrive later
            latest, pose = self._transforms.lookup(self._frame, camera.frame_id, Time())
            early = Time(nanoseconds=max(round(1e9 * (latest - EXTRAPOLATION)), 1))
            before = self._transforms.lookup(self._frame, camera.frame_id, early)
            return interpolate([before, (latest, pose)], seconds_of(camera))
