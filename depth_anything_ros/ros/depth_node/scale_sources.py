"""Subscriptions to the sensors that tell the scale: each message becomes a measurement of the camera's metric scale."""

from __future__ import annotations

import functools
import math
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from rclpy.node import Node
from rclpy.qos import qos_profile_sensor_data
from rclpy.subscription import Subscription
from sensor_msgs.msg import CameraInfo, Image, Imu, LaserScan, PointCloud2, Range
from std_msgs.msg import Header

from depth_anything_ros.geometry.camera import Camera
from depth_anything_ros.geometry.transform import Transform
from depth_anything_ros.ros.depth_node.parameters import StreamParameters
from depth_anything_ros.ros.io.camera_info import GeometryCache
from depth_anything_ros.ros.io.transforms import SensorTransforms
from depth_anything_ros.scale.ground import from_ground
from depth_anything_ros.scale.metric_scale import MetricScale
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
class _Frame:
    """What a measurement needs to know of the frame that it is used for."""

    header: Header
    nearest_is_largest: bool


class ScaleSources:
    """The sensors that tell one camera's scale.

    Args:
        node: the node that subscribes.
        prefix: prefix of the topics: "" or "NAME/".
        names: the sources; keys of `TOPICS`.
        transforms: finds where a sensor is.
        parameters: returns the camera's parameters.
    """

    def __init__(
        self,
        node: Node,
        prefix: str,
        names: tuple[str, ...],
        transforms: SensorTransforms,
        parameters: Callable[[], StreamParameters],
    ) -> None:
        self.names = names
        self._node, self._prefix, self._transforms, self._parameters = node, prefix, transforms, parameters
        self._subscriptions: list[Subscription] = []
        self._metric: MetricScale | None = None
        self._frame: _Frame | None = None
        self._depth_info: CameraInfo | None = None
        self._depth_geometry = GeometryCache()
        self._imus: deque[Imu] = deque(maxlen=IMUS)

    def set_open(self, is_open: bool) -> None:
        """Subscribe while depth is requested; unsubscribe otherwise."""
        if is_open and self._metric is not None and not self._subscriptions:
            self._subscribe()
        elif not is_open:
            self._unsubscribe()

    def connect(self, metric: MetricScale) -> None:
        """Give measurements to a metric scale, as soon as `set_open` subscribes."""
        self._metric = metric

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
        self._unsubscribe()
        self._metric = self._frame = None
        self._imus.clear()

    def _unsubscribe(self) -> None:
        while self._subscriptions:
            self._node.destroy_subscription(self._subscriptions.pop())

    def begin_frame(self, header: Header, nearest_is_largest: bool) -> None:
        """Prepare for a frame. For the worker's thread, before the metric scale is updated.

        Args:
            header: of the image.
            nearest_is_largest: whether the model predicts inverse depth.
        """
        self._frame = _Frame(header, nearest_is_largest)
        if "ground_plane" in self.names and self._metric is not None:
            time = seconds_of(header)
            self._metric.add("ground_plane", time, lambda camera, values: self._ground(camera, time))

    def _add(self, source: str, header: Header, convert: Callable[[Transform, View], References]) -> None:
        if self._metric is None:
            return

        def in_camera(camera: Camera, values: np.ndarray) -> References:
            frame = self._frame
            assert frame is not None  # the worker has begun a frame
            transform = self._transforms.to_camera(header, frame.header)
            return convert(transform, View(camera, values, frame.nearest_is_largest))

        self._metric.add(source, seconds_of(header), in_camera)

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
        self._add("point_cloud", cloud.header, functools.partial(cloud_references, cloud))

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
