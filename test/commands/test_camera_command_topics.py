"""`depth_anything_ros camera` logs the names of its outputs at start."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from waiting import limit

pytest.importorskip("rclpy", reason="needs ROS 2")
pytest.importorskip("onnx", reason="the test writes a model with the onnx package")

from known_models import write_red_model


def test_camera_command_logs_resolved_topics(tmp_path: Path) -> None:
    picture, model = tmp_path / "picture.png", tmp_path / "red.onnx"
    cv2.imwrite(str(picture), np.zeros((42, 56, 3), np.uint8))
    write_red_model(model, (42, 56), nominal_scale=(1.0, 0.1))
    namespace = f"/topics_{os.getpid()}"
    command = [sys.executable, "-m", "depth_anything_ros", "camera", "--no-loop", "--namespace", namespace]
    command += ["--source", str(picture), "--model", str(model), "--ros-args", "-r", "points:=/everywhere/points"]
    result = subprocess.run(command, capture_output=True, text=True, timeout=limit(120))
    assert result.returncode == 0, result.stderr
    (line,) = [line for line in result.stderr.splitlines() if ": publishes " in line]
    names = (
        "camera_info",
        "image_raw",
        *(f"depth/{name}" for name in ("camera_info", "image_color", "image_raw", "image_rect")),
    )
    expected = {"/everywhere/points", *(f"{namespace}/{name}" for name in (*names, "inverse_depth/image"))}
    assert set(line.partition(": publishes ")[2].split(", ")) == expected
