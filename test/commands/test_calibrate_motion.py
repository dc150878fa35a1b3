"""`calibrate --odometry`: the camera's own motion as a source, from a bag of a camera that moves beside a plane."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

pytest.importorskip("rosbags", reason="needs rosbags")
pytest.importorskip("onnx", reason="the test model is written with onnx")

from bag_files import TYPES, put_bag
from calibration_bags import FRAME, START, A, B, every, info_message, stamped
from known_models import write_constant_model
from sloped_plane import CAMERA, HEIGHT, STEP, WIDTH, picture, slope

from depth_anything_ros.cli import main

RATE, SECONDS = 10, 2.5
IMAGE, INFO, ODOMETRY = "/camera/image_rect", "/camera/camera_info", "/wheels/odom"


def topics(speed: float) -> dict[str, Any]:
    """A camera that moves to the right by some steps from image to image, and its odometry between the images."""

    def image(time: float) -> Any:
        pixels = picture(speed * STEP * RATE * time)
        return stamped("Image", time, FRAME, HEIGHT, WIDTH, "rgb8", 0, 3 * WIDTH, pixels.ravel())

    return {
        INFO: [(START, info_message(0, CAMERA))],
        IMAGE: every(SECONDS, RATE, image),
        ODOMETRY: every(SECONDS + 0.1, 25, lambda time: odometry(time, speed * STEP * RATE * time)),
    }


def odometry(time: float, position: float) -> Any:
    """The pose of the camera itself, in a frame with x to the right."""
    made = {name.rpartition("/")[2]: kind for name, kind in TYPES.types.items()}
    pose = made["Pose"](made["Point"](position, 0.0, 0.0), made["Quaternion"](0.0, 0.0, 0.0, 1.0))
    twist = made["Twist"](made["Vector3"](0.0, 0.0, 0.0), made["Vector3"](0.0, 0.0, 0.0))
    header = stamped("Range", time, "odom", 0, 0.0, 0.0, 0.0, 0.0).header
    return made["Odometry"](
        header,
        FRAME,
        made["PoseWithCovariance"](pose, np.zeros(36)),
        made["TwistWithCovariance"](twist, np.zeros(36)),
    )


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    values = ((1 / slope() - B) / A).astype(np.float32)
    return write_constant_model(tmp_path_factory.mktemp("model") / "plane.onnx", values)


def calibrate(*arguments: object) -> int:
    return main(["calibrate", *map(str, arguments)])


def test_motion_tells_the_pair_and_is_set_up(model: Path, tmp_path: Path) -> None:
    put_bag(tmp_path / "bag", topics(1.0))
    options = ("--odometry", ODOMETRY, "--model", model, "--frames", 5, "--output", tmp_path / "out")
    assert calibrate(tmp_path / "bag", *options) == 0
    found = json.loads((tmp_path / "out" / "calibration.json").read_text())["sources"]["motion"]
    assert 2 <= found["frames_with_scale"] <= 5
    assert (found["topic"], found["clock"]["is_seen"], found["extrinsics"]["is_seen"]) == (ODOMETRY, False, False)
    depth = 1 / (found["pair"]["a"] * (1 / slope() - B) / A + found["pair"]["b"])
    assert np.median(np.abs(depth / slope() - 1)) < 0.1
    text = (tmp_path / "out" / "calibration.yaml").read_text()
    assert yaml.safe_load(text)["/**"]["ros__parameters"]["scale"] == {"source": ["motion"], "odometry": "topic"}
    assert f"scale:=motion odom:={ODOMETRY} params_file:=" in text


def test_camera_that_stands_gives_the_reason(model: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    put_bag(tmp_path / "bag", topics(0.0))
    options = ("--odometry", ODOMETRY, "--model", model, "--output", tmp_path / "out")
    assert calibrate(tmp_path / "bag", *options) == 1
    assert "motion: the camera has moved 0.0 cm, which is too little" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            ("--odometry", "/odom"),
            f"has no messages on /odom of nav_msgs/msg/Odometry: choose one with --odometry ({ODOMETRY})",
        ),
        (("--odometry", ODOMETRY, "--live", "1"), "--odometry needs every image: record a bag"),
    ],
)
def test_unusable_odometry_names_the_fix(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture, options: tuple[str, ...], message: str
) -> None:
    put_bag(tmp_path / "bag", topics(1.0))
    assert calibrate(tmp_path / "bag", *options, "--model", model, "--output", tmp_path / "out") != 0
    assert message in " ".join(capsys.readouterr().err.split())
