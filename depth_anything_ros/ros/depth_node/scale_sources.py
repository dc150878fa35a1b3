"""Subscriptions to the sensors that tell the scale: each message becomes a measurement of the camera's metric scale."""

from __future__ import annotations

import functools
import math
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from rclpy.duration import Duration
from rclpy.node import Node
from rclpy.qos import qos_profile_sensor_data
from rclpy.subscription import Subscription
from rclpy.time import Time
from sensor_msgs.msg import CameraInfo, Image, Imu, LaserScan, PointCloud2, Range
from std_msgs.msg import Header

from depth_anything_ros.geometry.camera import Camera
from depth_anything_ros.geometry.transform import Transform
from depth_anything_ros.ros.depth_node.parameters import StreamParameters
from depth_anything_ros.ros.depth_node.scale_parameters import ScaleMeasuring
from depth_anything_ros.ros.io.camera_info import GeometryCache
from depth_anything_ros.ros.io.odometry import Odometry, TfOdometry, TopicOdometry
from depth_anything_ros.ros.io.transforms import SensorTransforms
from depth_anything_ros.scale.fit import Refusal
from depth_anything_ros.scale.ground import from_ground
from depth_anything_ros.scale.metric_scale import MOTION, MetricScale
from depth_anything_ros.scale.references import References
from depth_anything_ros.scale.sensor_messages import (
    SensorMessageError,
    View,
    cloud_references,
    depth_references,
    range_references,
    scan_references,
    seconds_of,
    up_of,
)
from depth_anything_ros.scale.two_view import MotionReferences

DEPTH, DEPTH_INFO = "scale/depth/image_rect", "scale/depth/camera_info"
TOPICS: dict[str, tuple[tuple[str, type], ...]] = {
    "depth_image": ((DEPTH, Image), (DEPTH_INFO, CameraInfo)),
    "point_cloud": (("scale/points", PointCloud2),),
    "laser_scan": (("scale/scan", LaserScan),),
    "range": (("scale/range", Range),),
    "ground_plane": (("scale/imu", Imu),),
}
"""The topics of each source, after the camera's prefix."""
IMU_AGE = 0.1
"""Seconds around an image whose messages of the IMU, on average, tell the direction of gravity."""
IMUS = 1000
"""Messages of the IMU that are kept: the frames of a slow model are seconds old."""


@dataclass(frozen=True)
class SourceFrame:
    """What measurements need to know of the frame that they are used for.

    Attributes:
        header: of the image.
        nearest_is_largest: whether the model predicts inverse depth.
        pose: from the camera's optical frame to the fixed frame of the odometry; None if it is unknown.
        gray: uint8 (H, W), the image at the size of the depth; None if no source needs it.
    """

    header: Header
    nearest_is_largest: bool
    pose: Transform | None = None
    gray: np.ndarray | None = None


class ScaleSources:
    """The sensors that tell one camera's scale.

    Args:
        node: the node that subscribes.
        prefix: prefix of the topics: "" or "NAME/".
        names: the sources; keys of `TOPICS`.
        transforms: finds where a sensor is.
        parameters: returns the camera's parameters.
        odometry: tells the camera's pose; None without odometry.

    Attributes:
        problem: why the pose of the latest frame is unknown; "" if it is known.
    """

    def __init__(
        self,
        node: Node,
        prefix: str,
        names: tuple[str, ...],
        transforms: SensorTransforms,
        parameters: Callable[[], StreamParameters],
        odometry: Odometry | None = None,
    ) -> None:
        self.names, self.problem = names, ""
        self._odometry = odometry
        self._motion: MotionReferences | None = None
        self._motion_camera: Camera | None = None
        self._node, self._prefix, self._transforms, self._parameters = node, prefix, transforms, parameters
        self._subscriptions: list[Subscription] = []
        self._metric: MetricScale | None = None
        self._frame: SourceFrame | None = None
        self._depth_info: CameraInfo | None = None
        self._depth_geometry = GeometryCache()
        self._imus: deque[Imu] = deque(maxlen=IMUS)

    def set_open(self, is_open: bool) -> None:
        """Subscribe while depth is requested; unsubscribe otherwise."""
        is_open = is_open and self._metric is not None
        if is_open and not self._subscriptions:
            self._subscribe()
        elif not is_open:
            self._unsubscribe()
        if self._odometry is not None:
            self._odometry.set_open(is_open)

    def connect(self, metric: MetricScale) -> None:
        """Give measurements to a metric scale, as soon as `set_open` subscribes."""
        self._metric = metric

    def reset(self) -> None:
        """Forget poses and messages of the past, because time has jumped. For the executor's thread."""
        self._imus.clear()
        if self._odometry is not None:
            self._odometry.reset()

    def _subscribe(self) -> None:
        handlers: dict[type, Callable[[Any], None]] = {
            Image: self._on_depth,
            CameraInfo: self._on_depth_info,
            PointCloud2: self._on_points,
            LaserScan: self._on_scan,
            Range: self._on_range,
            Imu: self._on_imu,
        }
        for name in self.names:
            for topic, kind in TOPICS.get(name, ()):
                subscription = self._node.create_subscription(
                    kind, self._prefix + topic, handlers[kind], qos_profile_sensor_data
                )
                self._subscriptions.append(subscription)

    def close(self) -> None:
        """Unsubscribe, and forget the metric scale."""
        self.set_open(False)
        self._metric = self._frame = self._motion = None
        self._imus.clear()

    def _unsubscribe(self) -> None:
        while self._subscriptions:
            self._node.destroy_subscription(self._subscriptions.pop())

    def pose(self, header: Header) -> Transform | None:
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
        if self._motion is None or self._motion_camera != camera:
            self._motion, self._motion_camera = MotionReferences(camera), camera
        return self._motion.add(frame.gray, frame.pose, time)

    def _add(self, source: str, header: Header, convert: Callable[[Transform, View], References]) -> None:
        if self._metric is None:
            return

        def in_camera(camera: Camera, values: np.ndarray) -> References:
            frame = self._frame
            assert frame is not None  # the worker has begun a frame
            transform = self._motion_since(header, frame) @ self._transforms.to_camera(header, frame.header)
            return convert(transform, View(camera, values, frame.nearest_is_largest))

        self._metric.add(source, seconds_of(header), in_camera)

    def _motion_since(self, sensor: Header, frame: SourceFrame) -> Transform:
        """Return the camera's motion from the time of a measurement to that of the image, as far as it is known."""
        if self._odometry is None or frame.pose is None or sensor.stamp == frame.header.stamp:
            return Transform.identity()
        try:
            then = self._odometry.pose(Header(stamp=sensor.stamp, frame_id=frame.header.frame_id))
        except LookupError:
            return Transform.identity()
        return frame.pose.inverse() @ then

    def _sensor_motion(self, sensor: Header, seconds: float) -> Transform | None:
        """Return the motion of a sensor, from its frame some seconds after a message to that at the message."""
        frame = self._frame
        if self._odometry is None or frame is None:
            return None
        end = Time.from_msg(sensor.stamp) + Duration(seconds=seconds)
        try:
            start = self._odometry.pose(Header(stamp=sensor.stamp, frame_id=frame.header.frame_id))
            later = self._odometry.pose(Header(stamp=end.to_msg(), frame_id=frame.header.frame_id))
            to_camera = self._transforms.to_camera(sensor, frame.header)
        except LookupError:
            return None
        return to_camera.inverse() @ start.inverse() @ later @ to_camera

    def _on_depth_info(self, info: CameraInfo) -> None:
        self._depth_info = info

    def _on_depth(self, image: Image) -> None:
        def convert(transform: Transform, view: View) -> References:
            if self._depth_info is None:
                raise SensorMessageError(f"no message on {self._node.resolve_topic_name(self._prefix + DEPTH_INFO)}")
            size = image.height, image.width
            found = self._depth_geometry.geometry(self._depth_info, size, size, rectified=True, rectify=False)
            return depth_references(image, found.camera, transform, view)

        self._add("depth_image", image.header, convert)

    def _on_points(self, cloud: PointCloud2) -> None:
        def convert(transform: Transform, view: View) -> References:
            return cloud_references(cloud, transform, view, functools.partial(self._sensor_motion, cloud.header))

        self._add("point_cloud", cloud.header, convert)

    def _on_scan(self, scan: LaserScan) -> None:
        self._add("laser_scan", scan.header, functools.partial(scan_references, scan))

    def _on_range(self, measured: Range) -> None:
        self._add("range", measured.header, functools.partial(range_references, measured))

    def _on_imu(self, imu: Imu) -> None:
        self._imus.append(imu)

    def _ground(self, camera: Camera, time: float) -> References:
        """Return references on the ground, with gravity from the IMU, or from the camera's pitch without one."""
        parameters = self._parameters()
        if parameters.scale_camera_height <= 0:
            raise SensorMessageError("set scale.camera_height to the camera's height above the ground")
        pitch = math.radians(parameters.scale_camera_pitch)
        up = np.array([0.0, -math.cos(pitch), -math.sin(pitch)])
        imus = list(self._imus)
        if imus or self._node.count_publishers(self._node.resolve_topic_name(self._prefix + "scale/imu")):
            near = [imu for imu in imus if abs(seconds_of(imu.header) - time) < IMU_AGE]
            if not near:
                raise SensorMessageError(f"the IMU gives no message within {IMU_AGE} s of the image")
            assert self._frame is not None  # the worker has begun a frame
            gravity = np.mean([up_of(imu) for imu in near], axis=0)
            up = self._transforms.to_camera(near[-1].header, self._frame.header).rotation @ gravity
        return from_ground(camera, up, parameters.scale_camera_height, time=time)


def odometry_of(measuring: ScaleMeasuring, node: Node, prefix: str, transforms: SensorTransforms) -> Odometry | None:
    """Return what tells one camera's pose; None for nothing.

    Args:
        measuring: how sensors tell the scale.
        node: the node that subscribes.
        prefix: prefix of the topics: "" or "NAME/".
        transforms: where the sensors are.

    Raises:
        ValueError: nav_msgs is not installed.
    """
    if measuring.odometry == "tf":
        return TfOdometry(transforms, measuring.odom_frame)
    if measuring.odometry != "topic":
        return None
    try:
        return TopicOdometry(node, prefix, transforms)
    except ImportError as error:
        raise ValueError("scale.odometry is topic, which needs nav_msgs: install it, or use tf") from error
