"""`depth_anything_ros camera` logs the names of its outputs at start."""

from __future__ import annotations

import os
import re
import signal
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


def test_camera_command_logs_the_topic_scale_where_sensors_tell_it(tmp_path: Path) -> None:
    picture, model = tmp_path / "picture.png", tmp_path / "red.onnx"
    cv2.imwrite(str(picture), np.zeros((42, 56, 3), np.uint8))
    write_red_model(model, (42, 56))
    namespace = f"/topics_{os.getpid()}"
    command = [sys.executable, "-m", "depth_anything_ros", "camera", "--no-loop", "--namespace", namespace]
    command += ["--source", str(picture), "--model", str(model), "--ros-args", "-p", "scale.nominal:=false"]
    command += ["-p", "scale.source:=depth_image"]
    result = subprocess.run(command, capture_output=True, text=True, timeout=limit(120))
    (line,) = [line for line in result.stderr.splitlines() if ": publishes " in line]
    topics = line.partition(": publishes ")[2].split(", ")
    assert {f"{namespace}/scale", f"{namespace}/depth/sigma"} <= set(topics)
    assert "/diagnostics" not in topics


def test_camera_command_ends_its_start_with_the_address_of_the_page(tmp_path: Path) -> None:
    """On a terminal, where lines have neither time nor logger."""
    pytest.importorskip("aiohttp", reason="the page needs the extra `view`")
    pty = pytest.importorskip("pty", reason="there are no pseudo-terminals")
    picture, model = tmp_path / "picture.png", tmp_path / "red.onnx"
    cv2.imwrite(str(picture), np.zeros((42, 56, 3), np.uint8))
    write_red_model(model, (42, 56), nominal_scale=(1.0, 0.1))
    command = [sys.executable, "-m", "depth_anything_ros", "camera", "--namespace", f"/page_{os.getpid()}"]
    command += ["--source", str(picture), "--model", str(model), "--view", "--view-port", "0"]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("RCUTILS_")}
    ours, theirs = pty.openpty()
    process = subprocess.Popen(command, stdout=theirs, stderr=theirs, env=environment)
    os.close(theirs)
    lines = []
    with os.fdopen(ours, errors="replace") as terminal:
        for line in terminal:
            lines.append(re.sub(r"\x1b\[\d*m", "", line).rstrip())
            if "in a browser" in line:
                break
        process.send_signal(signal.SIGINT)
        process.wait(timeout=limit(20))
    assert re.fullmatch(r"\[INFO\] open http://127\.0\.0\.1:\d+/ in a browser", lines[-1]), lines
    assert any(line.startswith("[INFO] publishes /page_") for line in lines), lines
