"""The measurements of the sensors that tell one camera's scale: each message becomes references for a frame.

Messages and headers are objects with the fields of their types, from rclpy or rosbags. Needs no ROS.
"""

from __future__ import annotations

import functools
import math
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from depth_anything_ros.geometry.camera import Camera
from depth_anything_ros.geometry.output_geometry import GeometryCache
from depth_anything_ros.geometry.transform import Transform
from depth_anything_ros.processing.parameters import StreamParameters
from depth_anything_ros.scale.fit import Refusal
from depth_anything_ros.scale.ground import ASSUMED_TILT_SIGMA, TILT_SIGMA, from_ground
from depth_anything_ros.scale.metric_scale import MOTION, MetricScale
from depth_anything_ros.scale.references import References
from depth_anything_ros.scale.sensor_messages import (
    FrameHeader,
    SensorMessageError,
    View,
    cloud_references,
    depth_references,
    later_stamp,
    range_references,
    scan_references,
    seconds_of,
    up_of,
)
from depth_anything_ros.scale.two_view import MotionReferences

IMU_AGE = 0.1
"""Seconds around an image whose messages of the IMU, on average, tell the direction of gravity."""
IMUS = 1000
"""Messages of the IMU that are kept."""
IMU_SPACING = 0.005
"""Seconds between two of them, at least: the frames of a slow model are seconds old."""
MOTION_GAP = 10.0
"""Seconds between two images, above which no feature is followed from one to the other."""


class SensorFrames(Protocol):
    """Tells where a sensor is."""

    def to_camera(self, sensor: Any, camera: Any) -> Transform:
        """Return the transform of a measurement into the camera's optical frame, at the time of the measurement.

        Args:
            sensor: header of the measurement.
            camera: header of the image.

        Raises:
            LookupError: it is unknown.
        """


class CameraPoses(Protocol):
    """Tells the camera's pose."""

    def pose(self, camera: Any) -> Transform:
        """Return the transform from the camera's optical frame to a fixed frame, at the time of an image.

        Args:
            camera: header of the image.

        Raises:
            LookupError: it is unknown.
        """


@dataclass(frozen=True)
class SourceFrame:
    """What measurements need to know of the frame that they are used for.

    Attributes:
        header: of the image.
        nearest_is_largest: whether the model predicts inverse depth.
        pose: from the camera's optical frame to the fixed frame of the odometry; None if it is unknown.
        gray: uint8 (H, W), the image at the size of the depth; None if no source needs it.
    """

    header: Any
    nearest_is_largest: bool
    pose: Transform | None = None
    gray: np.ndarray | None = None


class ScaleMeasurements:
    """The measurements of the sensors that tell one camera's scale.

    The methods ``on_...`` may be called from any thread, `pose` and `begin_frame` from the one that computes.

    Args:
        names: the sources, of `SCALE_SOURCES`.
        frames: finds where a sensor is.
        parameters: returns the camera's parameters.
        odometry: tells the camera's pose; None without odometry.
        has_imu: returns whether an IMU is there, even if it has sent nothing.
        depth_info_topic: the topic of the depth image's camera_info, for errors.
        topics: the topic of each source, for errors.

    Attributes:
        advice: why a source sends nothing, with the fix, by its name. The node keeps it up to date.
        problem: why the pose of the latest frame is unknown; "" if it is known.
    """

    def __init__(
        self,
        names: tuple[str, ...],
        frames: SensorFrames,
        parameters: Callable[[], StreamParameters],
        odometry: CameraPoses | None,
        has_imu: Callable[[], bool],
        depth_info_topic: str,
        topics: Mapping[str, str] | None = None,
    ) -> None:
        self.names, self.problem = names, ""
        self.advice: Mapping[str, str] = {}
        self._transforms, self._parameters, self._odometry = frames, parameters, odometry
        self._has_imu, self._depth_info_topic, self._topics = has_imu, depth_info_topic, topics or {}
        self._arrived: set[str] = {"ground_plane", MOTION}  # these need no message
        self._metric: MetricScale | None = None
        self._motion: MotionReferences | None = None
        self._motion_camera: Camera | None = None
        self._motion_time = 0.0
        self._frame: SourceFrame | None = None
        self._depth_info: Any = None
        self._depth_geometry = GeometryCache()
        self._imus: deque[Any] = deque(maxlen=IMUS)

    @property
    def is_connected(self) -> bool:
        """Whether measurements go to a metric scale."""
        return self._metric is not None

    @property
    def silence(self) -> str:
        """Which source has sent nothing and why, in words; "" if all have."""
        silent = next(iter(self.silent), "")
        if not silent:
            return ""
        fix = self.advice.get(silent, "")
        return f"{silent}: no message on {self._topics.get(silent, 'its topic')}" + (f": {fix}" if fix else "")

    @property
    def silent(self) -> tuple[str, ...]:
        """The sources that have sent nothing."""
        return tuple(name for name in self.names if name not in self._arrived)

    @property
    def lacks_depth_info(self) -> bool:
        """Whether a depth image has come, and no camera_info for it."""
        return "depth_image" in self._arrived and self._depth_info is None

    def connect(self, metric: MetricScale) -> None:
        """Give measurements to a metric scale."""
        self._metric = metric

    def disconnect(self) -> None:
        """Forget the metric scale and all messages."""
        self._metric = self._frame = self._motion = None
        self._imus.clear()

    def forget_past(self) -> None:
        """Forget messages of the past, because time has jumped."""
        self._motion = None
        self._imus.clear()

    def discard_waiting(self) -> None:
        """Forget the messages that wait for an image. They may be many large clouds."""
        if self._metric is not None:
            self._metric.discard_waiting()

    def pose(self, header: Any) -> Transform | None:
        """Return the camera's pose at the time of an image; None if it is unknown. For the worker's thread.

        Args:
            header: of the image.
        """
        self.problem = ""
        if self._odometry is None:
            return None
        try:
            return self._odometry.pose(header)
        except LookupError as error:
            self.problem = f"odometry: {error}"
            return None

    def begin_frame(self, frame: SourceFrame) -> None:
        """Prepare for a frame. For the worker's thread, before the metric scale is updated.

        Args:
            frame: the frame.
        """
        self._frame, time = frame, seconds_of(frame.header)
        if self._metric is None:
            return
        if "ground_plane" in self.names:
            self._metric.add("ground_plane", time, lambda camera, values: self._ground(camera, time))
        if MOTION in self.names:
            self._metric.add(MOTION, time, lambda camera, values: self._from_motion(camera, frame, time))

    def _from_motion(self, camera: Camera, frame: SourceFrame, time: float) -> References | Refusal:
        """Return references of features that are tracked between the camera's images."""
        if frame.pose is None or frame.gray is None:
            raise SensorMessageError(self.problem or "there is no odometry")
        motion, gap = self._motion, time - self._motion_time
        if motion is None or self._motion_camera != camera or not 0 <= gap <= MOTION_GAP:
            motion = self._motion = MotionReferences(camera)
        self._motion_camera, self._motion_time = camera, time
        return motion.add(frame.gray, frame.pose, time)

    def _add(self, source: str, header: Any, convert: Callable[[Transform, View], References]) -> None:
        if self._metric is None:
            return
        self._arrived.add(source)

        def in_camera(camera: Camera, values: np.ndarray) -> References:
            frame = self._frame
            assert frame is not None  # the worker has begun a frame
            transform = self._motion_since(header, frame) @ self._transforms.to_camera(header, frame.header)
            return convert(transform, View(camera, values, frame.nearest_is_largest))

        self._metric.add(source, seconds_of(header), in_camera)

    def _motion_since(self, sensor: Any, frame: SourceFrame) -> Transform:
        """Return the camera's motion from the time of a measurement to that of the image, as far as it is known."""
        if self._odometry is None or frame.pose is None or sensor.stamp == frame.header.stamp:
            return Transform.identity()
        try:
            then = self._odometry.pose(FrameHeader(sensor.stamp, frame.header.frame_id))
        except LookupError:
            return Transform.identity()
        return frame.pose.inverse() @ then

    def _sensor_motion(self, sensor: Any, seconds: float) -> Transform | None:
        """Return the motion of a sensor, from its frame some seconds after a message to that at the message."""
        frame = self._frame
        if self._odometry is None or frame is None:
            return None
        end = later_stamp(sensor.stamp, seconds)
        try:
            start = self._odometry.pose(FrameHeader(sensor.stamp, frame.header.frame_id))
            later = self._odometry.pose(FrameHeader(end, frame.header.frame_id))
            to_camera = self._transforms.to_camera(sensor, frame.header)
        except LookupError:
            return None
        return to_camera.inverse() @ start.inverse() @ later @ to_camera

    def on_depth_info(self, info: Any) -> None:
        """Take a sensor_msgs/CameraInfo."""
        self._depth_info = info

    def on_depth(self, image: Any) -> None:
        """Take a sensor_msgs/Image."""

        def convert(transform: Transform, view: View) -> References:
            if self._depth_info is None:
                fix = self.advice.get("depth_image", "")
                raise SensorMessageError(f"no message on {self._depth_info_topic}" + (f": {fix}" if fix else ""))
            size = image.height, image.width
            found = self._depth_geometry.geometry(self._depth_info, size, size, rectified=True, rectify=False)
            return depth_references(image, found.camera, transform, view)

        self._add("depth_image", image.header, convert)

    def on_points(self, cloud: Any) -> None:
        """Take a sensor_msgs/PointCloud2."""

        def convert(transform: Transform, view: View) -> References:
            return cloud_references(cloud, transform, view, functools.partial(self._sensor_motion, cloud.header))

        self._add("point_cloud", cloud.header, convert)

    def on_scan(self, scan: Any) -> None:
        """Take a sensor_msgs/LaserScan."""
        self._add("laser_scan", scan.header, functools.partial(scan_references, scan))

    def on_range(self, measured: Any) -> None:
        """Take a sensor_msgs/Range."""
        self._add("range", measured.header, functools.partial(range_references, measured))

    def on_imu(self, imu: Any) -> None:
        """Take a sensor_msgs/Imu."""
        if not self._imus or abs(seconds_of(imu.header) - seconds_of(self._imus[-1].header)) >= IMU_SPACING:
            self._imus.append(imu)

    def _ground(self, camera: Camera, time: float) -> References:
        """Return references on the ground, with gravity from the IMU, or from the camera's pitch without one."""
        parameters = self._parameters()
        if parameters.scale_camera_height <= 0:
            raise SensorMessageError("set scale.camera_height to the camera's height above the ground")
        pitch = math.radians(parameters.scale_camera_pitch)
        up = np.array([0.0, -math.cos(pitch), -math.sin(pitch)])
        imus, tilt_sigma = list(self._imus), ASSUMED_TILT_SIGMA
        if imus or self._has_imu():
            near = [imu for imu in imus if abs(seconds_of(imu.header) - time) < IMU_AGE]
            if not near:
                raise SensorMessageError(f"the IMU gives no message within {IMU_AGE} s of the image")
            assert self._frame is not None  # the worker has begun a frame
            gravity = np.mean([up_of(imu) for imu in near], axis=0)
            up = self._transforms.to_camera(near[-1].header, self._frame.header).rotation @ gravity
            tilt_sigma = TILT_SIGMA
        return from_ground(camera, up, parameters.scale_camera_height, tilt_sigma=tilt_sigma, time=time)
