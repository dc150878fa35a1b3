"""`calibrate --live`, with real topics over DDS."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("rclpy", reason="needs ROS 2")
pytest.importorskip("onnx", reason="the tests write a model with the onnx package")
pytest.importorskip("rosbags", reason="the scene's messages are made with rosbags")

import rclpy
from calibration_bags import A, depth_seen, picture, pose, write_network
from encoded_images import image_message
from rclpy.context import Context
from rclpy.node import Node
from rclpy.signals import SignalHandlerOptions
from ros_messages import ideal_camera_info
from sensor_msgs.msg import CameraInfo, Image

from depth_anything_ros.cli import main
from depth_anything_ros.ros import recorder

NAMES = {"image": "/calibrated/image_rect", "info": "/calibrated/camera_info", "depth": "/calibrated/depth/image_rect"}


class Robot(Node):
    """A still camera with an aligned depth camera, at 20 Hz."""

    def __init__(self, context: Context) -> None:
        super().__init__("robot", context=context)
        place = pose(0.5)
        pixels, depth = picture(place), depth_seen(place).astype(np.float32)
        height, width = depth.shape
        self._image, self._info = image_message(pixels, "rgb8"), ideal_camera_info(width, height)
        self._depth = Image(height=height, width=width, encoding="32FC1", step=4 * width, data=depth.tobytes())
        self._outputs: list[tuple[Any, Any]] = [
            (self.create_publisher(CameraInfo, NAMES["info"], 5), self._info),
            (self.create_publisher(CameraInfo, "/calibrated/depth/camera_info", 5), self._info),
            (self.create_publisher(Image, NAMES["depth"], 5), self._depth),
            (self.create_publisher(Image, NAMES["image"], 5), self._image),
        ]
        self.create_timer(0.05, self._publish)

    def _publish(self) -> None:
        stamp = self.get_clock().now().to_msg()
        for publisher, message in self._outputs:
            message.header.stamp, message.header.frame_id = stamp, "camera"
            publisher.publish(message)


@pytest.fixture
def robot() -> Iterator[None]:
    context = Context()
    rclpy.init(context=context, args=[], signal_handler_options=SignalHandlerOptions.NO)
    node = Robot(context)
    executor = rclpy.executors.SingleThreadedExecutor(context=context)
    executor.add_node(node)
    thread = threading.Thread(target=executor.spin)
    thread.start()
    yield
    executor.shutdown()
    thread.join()
    node.destroy_node()
    rclpy.shutdown(context=context)


@pytest.mark.usefixtures("robot")
def test_live_topics_are_recorded_and_compared(tmp_path: Path) -> None:
    network = write_network(tmp_path / "exact.onnx")
    options = (
        "--image",
        NAMES["image"],
        "--depth",
        NAMES["depth"],
        "--model",
        str(network),
        "--backend",
        "onnxruntime",
    )
    assert main(["calibrate", "--live", "1.2", *options, "--output", str(tmp_path / "out")]) == 0
    result = json.loads((tmp_path / "out" / "calibration.json").read_text())
    depth = result["sources"]["depth_image"]
    assert 2 <= depth["frames"] <= 4  # two pictures a second
    assert depth["pair"]["a"] == pytest.approx(A, rel=0.02)
    assert result["recording"] == "1.2 s of live topics"


def test_live_without_pictures_is_an_error(tmp_path: Path, monkeypatch, capsys) -> None:
    monkeypatch.setattr(recorder, "PATIENCE", 0.3)
    assert main(["calibrate", "--live", "5", "--output", str(tmp_path / "out")]) == 1
    assert "5 s of live topics has no topic with pictures" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_pictures_of_a_bag_that_starts_again_are_recorded() -> None:
    context = Context()
    rclpy.init(context=context, args=[], signal_handler_options=SignalHandlerOptions.NO)
    recording = recorder._Recorder(context, (), (), ())
    recording._picture_topics.add("/image")
    receive = recording._receiver("/image")
    for tenths in (100, 101, 106, 20, 21, 26):
        message = Image()
        message.header.stamp.sec, message.header.stamp.nanosec = tenths // 10, tenths % 10 * 10**8
        receive(message)
    assert [round(10 * one.time) for one in recording.recording(1.0).held] == [100, 106, 20, 26]
    recording._executor.shutdown()
    recording._node.destroy_node()
    rclpy.shutdown(context=context)
