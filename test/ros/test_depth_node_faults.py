"""The depth node with bad input, and the end of its process: after a signal, or at once with a reason."""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("rclpy", reason="ROS 2 is not installed")
pytest.importorskip("onnx", reason="the test models are written with onnx")

from depth_node_graph import (
    ERROR,
    PATIENCE,
    WARN,
    Client,
    floats,
    node_and_client,  # noqa: F401 - the fixture `graph`
    picture,
    positions,
    private_context,  # noqa: F401 - the fixture `context`
)
from encoded_images import image_message
from known_models import write_constant_model, write_fragile_model
from ros_messages import camera_info
from sensor_msgs.msg import Image
from waiting import limit

from depth_anything_ros.runtime.engines.cache import EngineCache
from depth_anything_ros.zoo.catalog import known_models

# What bad input gets


def test_invalid_images_are_dropped_counted_and_warned_once(graph, tmp_path):
    model = write_constant_model(tmp_path / "model.onnx", np.full((4, 6), 2.0))
    node, client = graph(model, ("inverse_depth/image",))

    def bad(**fields: object) -> Image:
        message = image_message(picture(4, 6), "rgb8")
        for name, value in fields.items():
            setattr(message, name, value)
        return message

    faults = [{"encoding": "abcd8"}, {"step": 17}, {"height": 5}, {"height": 3}, {"width": 0}, {"height": 0}]
    for number, fields in enumerate(faults * 2, start=1):
        client.publish_image(bad(**fields))
        client.spin_until(lambda count=number: node.statistics.dropped.total() == count, f"{fields} to be dropped")
    assert node.statistics.dropped == {"encoding": 2, "step": 2, "data size": 4, "zero size": 4}
    client.wait_for("inverse_depth/image", client.publish_image(image_message(picture(4, 6), "rgb8")))
    for fix in (
        "'abcd8' is unsupported; have the camera publish one of rgb8",
        "fix the driver's step or encoding",
        "fix the driver's height, step or data",
        "check the driver's resolution",
    ):
        client.wait_for_line(WARN, fix)
    assert len([line for line in client.lines(WARN) if line.startswith("frame dropped")]) == 4


@pytest.mark.parametrize(
    ("info", "complaint"),
    [
        (None, "no message on"),
        (camera_info(6, 4, k=[0.0] * 9), "K of camera_info is zero"),
        (camera_info(12, 8), "for 12x8 pixels, but the image has 6x4"),
    ],
    ids=["missing", "uncalibrated", "another size"],
)
def test_missing_or_invalid_camera_info_warns_once(graph, tmp_path, info, complaint):
    model = write_constant_model(tmp_path / "model.onnx", np.full((4, 6), 2.0), nominal_scale=(1.0, 0.0))
    _, client = graph(model)
    if info is not None:
        client.publish_info(info)
    for _ in range(10):
        image = client.publish_image(image_message(picture(4, 6), "rgb8"))
        client.wait_for("depth/image_rect", image)
    assert client.received["points"] == client.received["depth/camera_info"] == []
    client.wait_for_line(WARN, complaint)
    assert len([line for line in client.lines(WARN) if complaint in line]) == 1

    client.publish_until_cloud(image_message(picture(4, 6), "rgb8"), camera_info(6, 4))


def test_failed_inference_drops_only_that_frame(graph, tmp_path):
    node, client = graph(write_fragile_model(tmp_path / "model.onnx", (4, 6)), ("inverse_depth/image",))
    for number in (1, 2):
        client.publish_image(image_message(np.full((4, 6, 3), 255, np.uint8), "rgb8"))
        client.spin_until(lambda count=number: node.statistics.dropped["model failed"] == count, "the failure")
    image = client.publish_image(image_message(np.zeros((4, 6, 3), np.uint8), "rgb8"))
    assert np.all(floats(client.wait_for("inverse_depth/image", image)) == 1.0)
    client.wait_for_line(ERROR, "frame lost")
    assert len(client.lines(ERROR)) == 1


# The process


def run_node(*parameters: str, **environment: str) -> subprocess.Popen:
    options = [word for parameter in parameters for word in ("-p", parameter)]
    return subprocess.Popen(
        [sys.executable, "-m", "depth_anything_ros.ros.depth_node", "--ros-args", *options],
        env={**os.environ, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["SIGINT", "SIGTERM"])
def test_signal_ends_node_process_in_order(context, tmp_path, number):
    model = write_constant_model(tmp_path / "model.onnx", np.full((480, 640), 2.0), nominal_scale=(1.0, 0.0))
    process = run_node(f"model:={model}", "threads:=1", "scale.nominal:=true")
    client = Client(("depth/image_rect", "points"), context=context)
    try:
        client.wait_for_node()
        cloud = client.publish_until_cloud(image_message(picture(480, 640), "rgb8"), camera_info())
        assert positions(cloud)[..., 2] == pytest.approx(0.5)
        assert floats(client.received["depth/image_rect"][-1]) == pytest.approx(0.5)
        process.send_signal(number)
        output, _ = process.communicate(timeout=limit(PATIENCE))
    finally:
        process.kill()
        process.wait()
        client.destroy_node()
    assert process.returncode == 0, output
    assert "Traceback" not in output
    assert re.search(r"\d+ images in, \d+ published", output)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signal_interrupts_wait_for_engine_lock(tmp_path, monkeypatch, number, with_built_engine):
    """Another process holds the lock of the engine that the node wants, as one does that builds it for minutes."""
    monkeypatch.setenv("DEPTH_ANYTHING_ROS_CACHE", str(tmp_path))
    if not known_models()["tiny"].files:
        pytest.skip("no bundled model")
    with_built_engine("onnxruntime")
    (engine,) = EngineCache().engines()
    shutil.rmtree(engine.folder)
    with (tmp_path / "engines" / "locks" / engine.folder.name).open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        process = run_node("backend:=onnxruntime", "precision:=int8", DEPTH_ANYTHING_ROS_CACHE=str(tmp_path))
        try:
            output = ""
            while "waiting for it" not in output:
                line = process.stdout.readline()
                assert line, output
                output += line
            process.send_signal(number)
            rest, _ = process.communicate(timeout=limit(PATIENCE))
        finally:
            process.kill()
            process.wait()
    assert process.returncode == 0, output + rest
    assert "frame lost" not in rest
    assert "Traceback" not in rest


def test_unwritable_log_folder_warns_and_node_runs(context, tmp_path):
    model = write_constant_model(tmp_path / "model.onnx", np.full((4, 6), 2.0), nominal_scale=(1.0, 0.0))
    (tmp_path / "file").touch()
    process = run_node(
        f"model:={model}", "threads:=1", "scale.nominal:=true", ROS_LOG_DIR=str(tmp_path / "file" / "log")
    )
    client = Client(("depth/image_rect",), context=context)
    try:
        client.wait_for_node()
        client.wait_for("depth/image_rect", client.publish_image(image_message(picture(4, 6), "rgb8")))
        process.send_signal(signal.SIGINT)
        output, _ = process.communicate(timeout=PATIENCE)
    finally:
        process.kill()
        process.wait()
        client.destroy_node()
    assert process.returncode == 0, output
    assert f"no log can be written to {tmp_path / 'file' / 'log'} (Not a directory)" in output
    assert "set ROS_LOG_DIR" in output
    assert re.search(r"\d+ images in, \d+ published", output)


def truncated(path: Path) -> Path:
    write_constant_model(path, np.ones((40, 60)))
    path.write_bytes(path.read_bytes()[:3000])
    return path


@pytest.mark.parametrize(
    ("make", "complaint"),
    [
        (lambda path: path, "no such model file"),
        (truncated, "model.onnx"),
    ],
    ids=["absent", "truncated"],
)
def test_invalid_model_ends_process_with_one_line(tmp_path, make, complaint):
    process = run_node(f"model:={make(tmp_path / 'model.onnx')}")
    output, _ = process.communicate(timeout=limit(PATIENCE))
    assert process.returncode == 1
    lines = [line for line in output.splitlines() if "FATAL" in line]
    assert len(lines) == 1
    assert complaint in lines[0]
    assert "Traceback" not in output


def test_out_of_range_parameter_ends_process_with_one_line():
    process = run_node("max_depth:=-3.0")
    output, _ = process.communicate(timeout=limit(PATIENCE))
    assert process.returncode == 1
    assert len([line for line in output.splitlines() if "FATAL" in line and "max_depth" in line]) == 1
    assert "Traceback" not in output
