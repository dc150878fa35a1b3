"""`depth_anything_ros camera`: both nodes in one process, observed through their topics."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import urlopen

import cv2
import numpy as np
import pytest
from waiting import limit, wait_until

pytest.importorskip("rclpy", reason="needs ROS 2")
pytest.importorskip("onnx", reason="the tests write a model with the onnx package")

import rclpy
from client_node import (
    client_node,  # noqa: F401 - the fixture `node`
    namespaces,
)
from known_models import write_red_model
from rclpy.node import Node
from rclpy.qos import QoSProfile
from sensor_msgs.msg import Image, PointCloud2

RUN = "import sys; from depth_anything_ros.cli import main; sys.exit(main())"
HEIGHT, WIDTH = 42, 56


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    """One image, all red 102: inverse depth 0.4, depth 2 m by the model's nominal scale."""
    path = tmp_path / "picture.png"
    cv2.imwrite(str(path), np.full((HEIGHT, WIDTH, 3), (10, 20, 102), np.uint8))
    return path


@pytest.fixture
def model(tmp_path: Path) -> Path:
    path = tmp_path / "red.onnx"
    write_red_model(path, (HEIGHT, WIDTH), nominal_scale=(1.0, 0.1))
    return path


def start(*arguments: object) -> subprocess.Popen:
    command = [sys.executable, "-c", RUN, "camera", *map(str, arguments)]
    return subprocess.Popen(command, stderr=subprocess.PIPE, text=True)


def test_camera_command_publishes_until_signal(node: Node, picture: Path, model: Path) -> None:
    """Each node is given all parameters of the process; only those that neither has are named."""
    received: dict[str, list] = {"image_raw": [], "depth/image_rect": [], "points": []}
    for topic, messages in received.items():
        message_type = PointCloud2 if topic == "points" else Image
        node.create_subscription(message_type, topic, messages.append, QoSProfile(depth=10))
    qos = f"qos_overrides.{node.get_namespace()}"
    parameters = (
        *("points.stride:=2", "horizontal_field_of_view:=70.0", "strid:=2", f"{qos}/image_raw.publisher.depth:=3"),
        *(f"{qos}/points.publisher.depth:=3", f"{qos}/pints.publisher.depth:=3"),
    )
    process = start(
        *("--source", picture, "--model", model, "--namespace", node.get_namespace(), "--rate", 40.0),
        *("--ros-args", *(word for parameter in parameters for word in ("-p", parameter))),
    )
    try:

        def spin() -> None:
            assert process.poll() is None, process.stderr.read()
            rclpy.spin_once(node, timeout_sec=0.1)

        wait_until(lambda: min(map(len, received.values())) >= 3, "three messages of each topic", step=spin)
    finally:
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=limit(20))
    assert process.returncode == 0, errors
    assert "Traceback" not in errors
    ignored = [line for line in errors.splitlines() if ", ignored" in line]
    assert len([line for line in ignored if "this node has no parameter strid" in line]) == 2  # by either node
    (misspelled,) = [line for line in ignored if "parameter strid" not in line]
    assert f"parameter {qos}/pints.publisher.depth matches no topic and policy" in misspelled
    assert f"did you mean {qos}/points.publisher.depth?" in misspelled
    depth, cloud = received["depth/image_rect"][-1], received["points"][-1]
    np.testing.assert_allclose(np.frombuffer(depth.data, np.float32), 2.0, rtol=1e-6)
    assert (depth.header.frame_id, depth.height, depth.width) == ("camera_optical_frame", HEIGHT, WIDTH)
    assert (cloud.height, cloud.width) == (HEIGHT // 2, WIDTH // 2)


def test_camera_command_without_loop_ends_with_file(picture: Path, model: Path) -> None:
    process = start("--source", picture, "--model", model, "--no-loop", "--namespace", f"/{next(namespaces)}")
    _, errors = process.communicate(timeout=limit(30))
    assert process.returncode == 0, errors
    assert "the source has ended" in errors


def test_page_for_other_machines_needs_the_token_of_the_terminal(picture: Path, model: Path) -> None:
    pytest.importorskip("aiohttp", reason="the page needs the extra `view`")
    process = start(
        *("--source", picture, "--model", model, "--namespace", f"/{next(namespaces)}"),
        *("--view", "--view-host", "0.0.0.0", "--view-port", "0"),
    )
    try:
        line = next(line for line in process.stderr if "in a browser" in line)
        assert "with this machine's name or address instead of 0.0.0.0" in line
        address = re.search(r"http://0\.0\.0\.0:(\d+)/\?token=(\S+)", line)
        base = f"http://127.0.0.1:{address[1]}/"
        with urlopen(f"{base}?token={address[2]}", timeout=limit(10)) as answer:
            assert answer.status == 200
        with pytest.raises(HTTPError, match="403"):
            urlopen(base, timeout=limit(10))
    finally:
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=limit(20))
    assert process.returncode == 0, errors


def test_missing_camera_ends_before_model_load_with_advice(model: Path) -> None:
    process = start("--source", "999", "--model", model, "--namespace", f"/{next(namespaces)}")
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "camera 999" in errors
    assert "a video or a picture as source; `depth_anything_ros demo` needs no camera" in errors
    assert "model: " not in errors  # what is logged once it is loaded
    assert "Traceback" not in errors


@pytest.mark.parametrize(
    ("option", "value", "named"),
    [
        ("--source", "nowhere.mp4", "nowhere.mp4"),
        ("--model", "no_such_model", "no_such_model"),
        ("--calibration", "nowhere.yaml", "nowhere.yaml"),
        ("--ros-args", "-p", "-p"),
    ],
)
def test_camera_command_with_invalid_option_ends_with_one_line(
    picture: Path, model: Path, option: str, value: str, named: str
) -> None:
    process = start("--source", picture, "--model", model, "--namespace", f"/{next(namespaces)}", option, value)
    _, errors = process.communicate(timeout=limit(30))
    assert process.returncode == 1
    fatal = [line for line in errors.splitlines() if "FATAL" in line]
    assert len(fatal) == 1
    assert named in fatal[0]
    assert "Traceback" not in errors
