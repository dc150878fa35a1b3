"""`bag` writes bit for bit what the live depth node publishes for the same messages, over real DDS."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("rclpy", reason="ROS 2 is not installed")
pytest.importorskip("onnx", reason="the test models are written with onnx")
pytest.importorskip("rosbags", reason="rosbags is not installed")

import yaml
from bag_files import TYPES, put_bag
from depth_node_graph import (
    node_and_client,  # noqa: F401 - the fixture `graph`
    private_context,  # noqa: F401 - the fixture `context`
)
from encoded_images import image_message
from known_models import write_constant_model
from rclpy.serialization import serialize_message
from ros_messages import camera_info
from rosbags.highlevel import AnyReader
from scale_rig import CAMERA, FRAME, HEIGHT, WIDTH, Rig, cloud_of, points_of_room, relative, room
from sensor_msgs.msg import PointCloud2

from depth_anything_ros.cli import main

FRAMES = 4
OUTPUTS = ("depth/camera_info", "depth/image_rect", "points")
PARAMETERS = {"max_depth": 9.0, "points.stride": 2, "flying_pixels.in_depth": True, "scale.source": ["point_cloud"]}


def distorted_info() -> Any:
    k = CAMERA.matrix.ravel()
    p = np.column_stack([CAMERA.matrix, np.zeros(3)]).ravel()
    return camera_info(WIDTH, HEIGHT, d=[-0.2, 0.05, 0.001, -0.001, 0.0], k=k, p=p)


def as_recorded(message: Any, kind: str) -> Any:
    """A live message as rosbags reads it."""
    return TYPES.deserialize_cdr(serialize_message(message), kind)


def received_at(message: Any) -> float:
    return message.header.stamp.sec + 1e-9 * message.header.stamp.nanosec


def fields(message: Any) -> dict[str, Any]:
    """All fields of a message from rclpy or rosbags, with arrays as bytes."""
    if hasattr(message, "get_fields_and_field_types"):
        message = TYPES.deserialize_cdr(serialize_message(message), KINDS[type(message).__name__])
    return {name: value.tobytes() if isinstance(value, np.ndarray) else value for name, value in vars(message).items()}


KINDS = {name: f"sensor_msgs/msg/{name}" for name in ("Image", "CameraInfo", "PointCloud2")} | {
    "DiagnosticArray": "diagnostic_msgs/msg/DiagnosticArray"
}


def test_recording_gives_what_the_live_node_publishes(graph, tmp_path: Path) -> None:
    """Raw images of a lens that distorts, a lidar's clouds, and parameters that differ from the defaults."""
    depth = room()
    model = write_constant_model(tmp_path / "model.onnx", relative(depth)[::2, ::2])  # resized, so pixels fly
    given = {name.replace(".", "__"): value for name, value in PARAMETERS.items()}
    node, client = graph(model, OUTPUTS, rectified=False, **given)
    rig = Rig(client, {"scale/points": PointCloud2}, distorted_info())
    rig.depth(lambda: {"scale/points": cloud_of(points_of_room(depth, seed=99))})
    rng = np.random.default_rng(0)
    recorded: dict[str, list] = {"/camera/image_raw": [], "/camera/camera_info": [], "/lidar/points": []}
    live = []
    node.streams[""].reset_scale()  # at the next frame, which forgets its own cloud too
    forgetting = rig.shoot({})
    client.spin_until(lambda: rig.scales[-1].header.stamp == forgetting.header.stamp, "the reset")
    assert rig.scales[-1].status[0].message == "no measurement has arrived"
    for number in range(FRAMES):
        cloud = cloud_of(points_of_room(depth, seed=number))
        picture = rng.integers(0, 256, (HEIGHT, WIDTH, 3), np.uint8)
        image = rig.shoot({"scale/points": cloud}, picture=picture)
        live.append({topic: client.wait_for(topic, image) for topic in OUTPUTS})
        info = distorted_info()
        info.header = image.header
        for topic, message, kind in (
            ("/lidar/points", cloud, "PointCloud2"),
            ("/camera/camera_info", info, "CameraInfo"),
            ("/camera/image_raw", image_message(picture, "rgb8"), "Image"),
        ):
            message.header = image.header
            recorded[topic].append((received_at(image), as_recorded(message, KINDS[kind])))
    client.spin_until(lambda: rig.scales[-1].header.stamp == image.header.stamp, "the last scale")
    put_bag(tmp_path / "in", recorded)
    parameters = tmp_path / "node.yaml"
    parameters.write_text(yaml.safe_dump({"/**/depth_node": {"ros__parameters": {**PARAMETERS, "rectified": False}}}))
    command = ["bag", str(tmp_path / "in"), str(tmp_path / "out"), "--model", str(model), "--params", str(parameters)]
    running = node._estimator
    same = ["--backend", running.backend_name, "--precision", running.precision, "--threads", "1"]
    assert main([*command, *same, "--save", "info", "depth", "points", "scale"]) == 0
    with AnyReader([tmp_path / "out"]) as reader:
        written: dict[str, list] = {}
        for connection, time, content in reader.messages():
            message = reader.deserialize(content, connection.msgtype)
            written.setdefault(connection.topic, []).append((time, message))
    for topic in OUTPUTS:
        assert len(written[f"/{topic}"]) == FRAMES
        for (time, offline), published in zip(written[f"/{topic}"], (one[topic] for one in live), strict=True):
            assert offline.header.frame_id == FRAME
            assert time == round(1e9 * received_at(published))
            ours, theirs = fields(offline), fields(published)
            assert str(ours.pop("header")) == str(theirs.pop("header"))
            assert str(ours.pop("fields", None)) == str(theirs.pop("fields", None))
            assert str(ours.pop("roi", None)) == str(theirs.pop("roi", None))
            assert ours == theirs
    assert [str(vars(one)["status"]) for _, one in written["/scale"]] == [
        str(vars(TYPES.deserialize_cdr(serialize_message(one), KINDS["DiagnosticArray"]))["status"])
        for one in rig.scales[-FRAMES:]
    ]
