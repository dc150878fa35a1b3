"""A wheeled robot's launch, end to end: its camera, pitched for real in the rendering, and its IMU, over DDS."""

from __future__ import annotations

import math
from pathlib import Path

import cv2
import numpy as np
import pytest

pytest.importorskip("rclpy", reason="needs ROS 2")
pytest.importorskip("launch_ros", reason="needs the launch system of ROS 2")
pytest.importorskip("onnx", reason="the test model is written with onnx")
pytest.importorskip("rosbags", reason="the rendered room is that of the tests of bags")

from calibration_bags import CAMERA, FRAME, ROOM, depth_seen, picture, write_network
from client_node import client_node  # noqa: F401 - the fixture `node`
from depth_node_graph import floats
from encoded_images import image_message
from launched import answer, end, needs_installation, start, wait_for
from rclpy.duration import Duration
from rclpy.node import Node
from ros_messages import ideal_camera_info
from sensor_msgs.msg import CameraInfo, Image, Imu
from std_srvs.srv import Trigger

from depth_anything_ros.geometry.transform import Transform
from depth_anything_ros.processing.scale_measurements import IMU_AGE

HEIGHT = 0.3
STANDS = 2.5 * IMU_AGE
"""Seconds from the start of a slope to its first image, so that no measurement of the slope before is averaged."""


def place(pitch: float) -> Transform:
    """From the camera's optical frame to the room: 30 cm above the floor, looking down by some degrees."""
    rotation = cv2.Rodrigues(np.array([-math.radians(pitch), 0.0, 0.0]))[0]
    return Transform(rotation, np.array([0.0, ROOM[1, 1] - HEIGHT, 0.0]))


def floor_seen(camera: Transform, depth: np.ndarray) -> np.ndarray:
    """The pixels that show the floor, bool (H, W)."""
    pixels = np.stack(np.meshgrid(np.arange(CAMERA.width), np.arange(CAMERA.height)), -1).reshape(-1, 2)
    points = camera.apply(CAMERA.back_project(pixels, depth.ravel()))
    return (np.abs(points[:, 1] - ROOM[1, 1]) < 1e-6).reshape(depth.shape)


class Robot:
    """Publishes image, camera_info and Imu of one stamp, and takes the depth."""

    def __init__(self, node: Node) -> None:
        self.node = node
        topics = {"front/image_rect": Image, "front/camera_info": CameraInfo, "imu/data": Imu}
        self._publishers = {topic: node.create_publisher(kind, topic, 5) for topic, kind in topics.items()}
        self._stamps: list[tuple[int, int]] = []
        self._received: list[Image] = []
        node.create_subscription(Image, "depth/image_rect", self._received.append, 5)
        self._info = ideal_camera_info(CAMERA.width, CAMERA.height)
        self._info.k = CAMERA.matrix.ravel()
        self._info.p = np.column_stack([CAMERA.matrix, np.zeros(3)]).ravel()

    def stand(self, pitch: float) -> None:
        """Forget the depth so far, and stand on a slope."""
        self._stamps.clear()
        self._first_image = self.node.get_clock().now() + Duration(seconds=STANDS)
        self._image = image_message(picture(place(pitch)), "rgb8")
        self._imu = Imu()
        self._imu.orientation_covariance[0] = -1.0  # no orientation: the acceleration tells
        gravity = 9.81 * place(pitch).rotation.T @ (0.0, -1.0, 0.0)
        self._imu.linear_acceleration.x, self._imu.linear_acceleration.y, self._imu.linear_acceleration.z = gravity

    def has_depth(self) -> bool:
        """Publish a frame; return whether the depth of one of this slope has come, and keep it."""
        now = self.node.get_clock().now()
        stamp, messages = now.to_msg(), {"imu/data": self._imu}
        if now >= self._first_image:
            messages |= {"front/camera_info": self._info, "front/image_rect": self._image}
        for topic, message in messages.items():
            message.header.stamp, message.header.frame_id = stamp, FRAME
            self._publishers[topic].publish(message)
        self._stamps.append((stamp.sec, stamp.nanosec))
        own = [one for one in self._received if (one.header.stamp.sec, one.header.stamp.nanosec) in self._stamps]
        if own:
            self.depth = floats(own[-1])
        return bool(own)


@needs_installation
def test_wheeled_robot_gets_meters_on_the_floor_at_any_pitch(node: Node, tmp_path: Path) -> None:
    """`scale:=ground_plane camera_height:=0.3 imu:=...` gives depth within 3 % at 5° down, level, and 5° up."""
    model, namespace = write_network(tmp_path / "exact.onnx"), node.get_namespace().strip("/")
    topics = ("image:=front/image_rect", "imu:=imu/data")
    process = start(
        f"model:={model}", f"namespace:={namespace}", *topics, "scale:=ground_plane", "camera_height:=0.3", name="depth"
    )
    robot, reset = Robot(node), node.create_client(Trigger, "depth_node/reset_scale")
    errors = {}
    try:
        for pitch in (5.0, 0.0, -5.0):
            robot.stand(pitch)
            wait_for(node, process, robot.has_depth)
            truth = depth_seen(place(pitch))
            floor = floor_seen(place(pitch), truth)
            assert floor.sum() > 5000
            errors[pitch] = np.abs(robot.depth / truth - 1)[floor]
            assert answer(node, process, reset, Trigger.Request()).success  # each slope tells its own scale
    finally:
        output = end(process)
    assert process.returncode == 0, output
    for pitch, values in errors.items():
        assert np.isfinite(values).mean() > 0.95, pitch
        assert np.nanmedian(values) < 0.03, pitch
        assert np.nanquantile(values, 0.9) < 0.03, pitch
