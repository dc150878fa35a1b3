"""Subscriptions to the sensors for the scale."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from rclpy.node import Node
from rclpy.qos import qos_profile_sensor_data
from rclpy.subscription import Subscription
from sensor_msgs.msg import CameraInfo, Image, Imu, LaserScan, PointCloud2, Range

from depth_anything_ros.processing.parameters import StreamParameters
from depth_anything_ros.processing.scale_measurements import ScaleMeasurements
from depth_anything_ros.processing.scale_parameters import ScaleMeasuring
from depth_anything_ros.ros.io.odometry import Odometry, TfOdometry, TopicOdometry
from depth_anything_ros.ros.io.topic_advice import published_topics, why_silent
from depth_anything_ros.ros.io.topic_names import info_topic
from depth_anything_ros.ros.io.transforms import SensorTransforms

DEPTH, DEPTH_INFO, IMU = "scale/depth/image_rect", "scale/depth/camera_info", "scale/imu"
TOPICS: dict[str, tuple[tuple[str, type], ...]] = {
    "depth_image": ((DEPTH, Image), (DEPTH_INFO, CameraInfo)),
    "point_cloud": (("scale/points", PointCloud2),),
    "laser_scan": (("scale/scan", LaserScan),),
    "range": (("scale/range", Range),),
    "ground_plane": ((IMU, Imu),),
}
"""The topics of each source, after the camera's prefix."""


class ScaleSources:
    """The subscriptions to one camera's sensors.

    Args:
        node: the node that subscribes.
        prefix: prefix of the topics: "" or "NAME/".
        names: the sources; keys of `TOPICS`.
        transforms: finds where a sensor is.
        parameters: returns the camera's parameters.
        odometry: Source of the camera's pose; None without odometry.

    Attributes:
        measurements: what the sensors' messages tell.
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
        self._node, self._prefix, self._transforms, self._odometry = node, prefix, transforms, odometry
        self._subscriptions: list[Subscription] = []
        self.measurements = ScaleMeasurements(
            names,
            transforms,
            parameters,
            odometry,
            lambda: bool(node.count_publishers(node.resolve_topic_name(prefix + IMU))),
            self._topic(DEPTH_INFO),
            {name: node.resolve_topic_name(prefix + topics[0][0]) for name, topics in TOPICS.items()},
        )

    def _topic(self, name: str) -> str:
        """Return the resolved name of one of `TOPICS`."""
        if name == DEPTH_INFO:
            return info_topic(self._node, self._prefix + name, self._topic(DEPTH))
        return self._node.resolve_topic_name(self._prefix + name)

    def advise(self) -> None:
        """Find out why sources have sent nothing. Called periodically in the executor's thread."""
        silent = [(name, *TOPICS[name][0]) for name in self.measurements.silent if name in TOPICS]
        if self.measurements.lacks_depth_info:
            silent.append(("depth_image", DEPTH_INFO, CameraInfo))
        if not self._subscriptions or not silent:
            self.measurements.advice = {}
            return
        node, topics = self._node, published_topics(self._node)
        self.measurements.advice = {
            name: why_silent(
                self._prefix + inner,
                self._topic(inner),
                f"sensor_msgs/msg/{kind.__name__}",
                qos_profile_sensor_data,
                node.get_publishers_info_by_topic(self._topic(inner)),
                topics,
                "sensor",
            )
            for name, inner, kind in silent
        }

    def set_open(self, is_open: bool) -> None:
        """Subscribe while depth is requested; unsubscribe otherwise."""
        is_open = is_open and self.measurements.is_connected
        if is_open and not self._subscriptions:
            self._subscribe()
        elif not is_open:
            self._unsubscribe()
        self._transforms.set_used(self._prefix, is_open)
        if self._odometry is not None:
            self._odometry.set_open(is_open)

    def reset(self) -> None:
        """Forget transforms, poses and messages of the past, because time has jumped. For the executor's thread."""
        self._transforms.reset()
        self.measurements.forget_past()
        if self._odometry is not None:
            self._odometry.reset()

    def _subscribe(self) -> None:
        handlers: dict[type, Callable[[Any], None]] = {
            Image: self.measurements.on_depth,
            CameraInfo: self.measurements.on_depth_info,
            PointCloud2: self.measurements.on_points,
            LaserScan: self.measurements.on_scan,
            Range: self.measurements.on_range,
            Imu: self.measurements.on_imu,
        }
        for name in self.measurements.names:
            for topic, kind in TOPICS.get(name, ()):
                subscription = self._node.create_subscription(
                    kind, self._topic(topic), handlers[kind], qos_profile_sensor_data
                )
                self._subscriptions.append(subscription)

    def close(self) -> None:
        """Unsubscribe, and forget the metric scale."""
        self.set_open(False)
        self.measurements.disconnect()

    def _unsubscribe(self) -> None:
        while self._subscriptions:
            self._node.destroy_subscription(self._subscriptions.pop())
        self.measurements.discard_waiting()


def odometry_of(measuring: ScaleMeasuring, node: Node, prefix: str, transforms: SensorTransforms) -> Odometry | None:
    """Return the source of one camera's pose, or None.

    Args:
        measuring: settings for the scale from sensors.
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
