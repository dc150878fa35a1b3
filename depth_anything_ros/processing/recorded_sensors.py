"""Where sensors and camera were during a recording: TF and odometry of its messages. Needs no ROS."""

from __future__ import annotations

from typing import Any

from depth_anything_ros.geometry.frame_tree import FrameTree
from depth_anything_ros.geometry.transform import Transform
from depth_anything_ros.processing.poses import TransformError, interpolate, pose_of, with_pose
from depth_anything_ros.processing.scale_measurements import SensorFrames
from depth_anything_ros.scale.sensor_messages import FrameHeader, seconds_of


class RecordedFrames:
    """Where a sensor is, as seen from the camera.

    Args:
        tree: the transforms of the recording.
        extrinsics: from the sensor's frame to the optical frame; None: the tree.
    """

    def __init__(self, tree: FrameTree, extrinsics: Transform | None) -> None:
        self._tree, self._fixed = tree, extrinsics

    def to_camera(self, sensor: Any, camera: Any) -> Transform:
        """Return the transform of a measurement into the optical frame; see `SensorFrames`."""
        if self._fixed is not None:
            return self._fixed
        return self._tree.transform(sensor.frame_id, camera.frame_id, seconds_of(sensor))


class TreePoses:
    """The camera's poses in the transforms of a recording.

    Args:
        tree: the transforms.
        frame: the fixed frame, usually odom.
    """

    def __init__(self, tree: FrameTree, frame: str) -> None:
        self._tree, self._frame = tree, frame

    def pose(self, camera: Any) -> Transform:
        """Return the camera's pose; see `CameraPoses`."""
        return self._tree.transform(camera.frame_id, self._frame, seconds_of(camera))


class RecordedOdometry:
    """The camera's poses from nav_msgs/Odometry, interpolated.

    Args:
        topic: of the messages, for errors.
        frames: where the odometry's child frame is.
    """

    def __init__(self, topic: str, frames: SensorFrames) -> None:
        self._topic, self._frames = topic, frames
        self._child = ""
        self._poses: list[tuple[float, Transform]] = []

    def add(self, message: Any) -> None:
        """Take a nav_msgs/Odometry."""
        pose = pose_of(message)
        if pose is not None:
            self._child = message.child_frame_id
            self._poses = with_pose(self._poses, seconds_of(message.header), pose)

    def pose(self, camera: Any) -> Transform:
        """Return the camera's pose; see `CameraPoses`."""
        if not self._poses:
            raise TransformError(f"no message on {self._topic}")
        child = interpolate(self._poses, seconds_of(camera))
        return child @ self._frames.to_camera(FrameHeader(camera.stamp, self._child), camera).inverse()
