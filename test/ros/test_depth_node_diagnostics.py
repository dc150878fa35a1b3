"""The depth node's reports on /diagnostics, in every state."""

from __future__ import annotations

import itertools
import re
import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from diagnostic_reports import Reports

pytest.importorskip("rclpy", reason="ROS 2 is not installed")
pytest.importorskip("onnx", reason="the test models are written with onnx")

from depth_node_graph import (
    node_and_client,  # noqa: F401 - the fixture `graph`
    private_context,  # noqa: F401 - the fixture `context`
)
from diagnostic_msgs.msg import DiagnosticStatus
from encoded_images import image_message
from known_models import write_constant_model, write_fragile_model
from node_services import set_parameter
from rclpy.lifecycle import TransitionCallbackReturn
from rclpy.logging import LoggingSeverity
from ros_messages import ideal_camera_info
from sensor_msgs.msg import Image
from std_srvs.srv import SetBool

from depth_anything_ros.ros.depth_node import diagnostics
from depth_anything_ros.runtime.cuda import driver as cuda_driver
from depth_anything_ros.runtime.cuda import gpu_advice
from depth_anything_ros.system.memory import resident_mebibytes

DEPTH = "depth/image_rect"
PERIOD = 0.2
OK, WARN, ERROR = DiagnosticStatus.OK, DiagnosticStatus.WARN, DiagnosticStatus.ERROR


@pytest.fixture(autouse=True)
def quick_diagnostics(monkeypatch):
    monkeypatch.setattr(diagnostics, "PERIOD", PERIOD)


def small(value: int = 0) -> Image:
    return image_message(np.full((4, 6, 3), value, np.uint8), "rgb8")


def model(tmp_path: Path, **options: object) -> Path:
    options.setdefault("nominal_scale", (1.0, 0.0))
    return write_constant_model(tmp_path / "model.onnx", np.full((4, 6), 2.0), **options)


def test_diagnostics_report_model_and_backend(graph, tmp_path):
    node, client = graph(model(tmp_path), (DEPTH,), backend="onnxruntime")
    texts: list[str] = []
    values = Reports(node, client).wait_for(
        "model", lambda status, _: status.level == OK and not texts.append(status.message)
    )
    assert values["state"] == "active"
    assert texts[-1].startswith(f"active: known on {node._estimator.backend_name} {values['precision']}")  # no path
    assert (values["model"], values["output"]) == ("known", "inverse_depth")
    assert values["backend"] == node._estimator.backend_name
    assert values["precision"] == node._estimator.precision
    assert values["engine"] == "none built"
    assert values["gate"]
    assert "model.onnx" in values["provenance"]
    assert float(values["memory (MiB)"]) == pytest.approx(resident_mebibytes(), rel=0.2)


def test_diagnostics_report_unused_gpu(graph, tmp_path, monkeypatch):
    monkeypatch.setattr(cuda_driver, "DRIVER", "libcuda_that_is_not_there.so.1")
    monkeypatch.setattr(gpu_advice, "DEVICE_FILES", ("null",))
    node, client = graph(model(tmp_path), (DEPTH,))
    Reports(node, client).wait_for(
        "model", lambda status, _: status.level == WARN and "a GPU is there (/dev/null)" in status.message
    )


def test_diagnostics_report_rates_ages_drops_and_scale(graph, tmp_path):
    node, client = graph(write_fragile_model(tmp_path / "fragile.onnx", (4, 6)), ("inverse_depth/image",))
    reports, stop = Reports(node, client), threading.Event()

    def camera() -> None:
        while not stop.wait(0.02):
            client.publish_image(small(), nanoseconds=time.time_ns() - 250_000_000)

    thread = threading.Thread(target=camera)
    thread.start()
    try:
        values = reports.wait_for("camera", lambda _, values: float(values["output rate (Hz)"]) > 25)
    finally:
        stop.set()
        thread.join()
    assert 25 < float(values["input rate (Hz)"]) < 60
    assert 250 <= float(values["age p50 (ms)"]) <= float(values["age p95 (ms)"]) < 1250
    assert values["scale"] == "unknown"
    assert values["images from"] == f"{node.get_namespace()}/image"

    bad = small()
    bad.step = 3
    client.publish_image(bad, nanoseconds=time.time_ns())
    values = reports.wait_for("camera", lambda status, values: status.level == WARN and "dropped: step" in values)
    assert values["dropped: step"] == "1"
    client.publish_image(small(255), nanoseconds=time.time_ns())
    lost = reports.wait_for("camera", lambda status, _: status.level == WARN and "1 model failed" in status.message)
    assert lost["dropped: model failed"] == "1"
    idle = reports.wait_for("camera", lambda status, _: status.level == OK and "idle" in status.message)
    assert not any(key.startswith("age") for key in idle)


def test_diagnostics_report_overload_until_it_ends(graph, tmp_path):
    node, client = graph(model(tmp_path, slowness=3), (DEPTH,), backend="onnxruntime")
    client.publish_info(ideal_camera_info(6, 4))
    reports, stop, warned = Reports(node, client), threading.Event(), []

    def camera() -> None:
        while not stop.wait(0.01):
            client.publish_image(small())

    def overloaded(status: DiagnosticStatus, _: object) -> bool:
        if status.level == WARN and status.message.startswith("overload"):
            warned.append(status.message)
        return len(warned) > 1

    thread = threading.Thread(target=camera)
    thread.start()
    try:
        values = reports.wait_for("camera", overloaded)
        pattern = r"overload: ([\d.]+) Hz in, ([\d.]+) Hz out, (\d+) % of the images replaced by newer ones \(more than"
        rate_in, rate_out, share = map(float, re.match(pattern, warned[-1]).groups())
        assert rate_in == float(values["input rate (Hz)"]) > rate_out == float(values["output rate (Hz)"])
        assert share > 20
        assert int(values["dropped: newer came"]) > 5
        assert set_parameter(client, "overload_share", 1.0)[0]
        reports.wait_for("camera", lambda status, _: status.level == OK)
    finally:
        stop.set()
        thread.join()


def test_diagnostics_report_missing_cloud_until_it_comes(graph, tmp_path):
    node, client = graph(model(tmp_path), (DEPTH, "points"))
    reports = Reports(node, client)

    def complains(status: DiagnosticStatus, _: object) -> bool:
        client.publish_image(small())
        return status.level == WARN and "no cloud: no message on" in status.message

    assert "camera_info" in reports.wait_for("camera", complains)["no cloud because"]
    client.publish_until_cloud(small(), ideal_camera_info(6, 4))
    values = reports.wait_for("camera", lambda status, _: status.level == OK)
    assert "no cloud because" not in values
    assert values["scale"] == "nominal"


def test_diagnostics_report_rectified_choice(graph, tmp_path):
    node, client = graph(model(tmp_path), (DEPTH,))
    reports = Reports(node, client)
    info = ideal_camera_info(6, 4)
    info.d = [0.1, 0.0, 0.0, 0.0, 0.0]

    def told(words: str, level: bytes) -> Callable[[DiagnosticStatus, object], bool]:
        def look(status: DiagnosticStatus, values: dict[str, str]) -> bool:
            client.publish_info(info)
            client.publish_image(small())
            return status.level == level and words in values.get("rectified", "")

        return look

    reports.wait_for("camera", told("has neither raw nor rect in its name, and its camera_info has distortion", WARN))
    assert set_parameter(client, "rectified", False)[0]
    reports.wait_for("camera", told("counts as raw, because of the parameter rectified", OK))


@pytest.mark.parametrize(("frame_id", "words"), [("", "frame_id is empty"), ("/eye", "set it to 'eye'")])
def test_diagnostics_report_invalid_frame_id(graph, tmp_path, frame_id, words):
    node, client = graph(model(tmp_path), (DEPTH,))
    reports = Reports(node, client)
    publisher, seconds = client.create_publisher(Image, "image", 5), itertools.count(1)

    def complains(status: DiagnosticStatus, _: object) -> bool:
        message = small()
        message.header.frame_id, message.header.stamp.sec = frame_id, next(seconds)
        publisher.publish(message)
        return status.level == WARN and words in status.message

    reports.wait_for("camera", complains)
    client.wait_for_line(LoggingSeverity.WARN, words)


def test_diagnostics_report_every_state(graph, tmp_path):
    node, client = graph(model(tmp_path), (DEPTH,))
    reports = Reports(node, client)
    for transition, state in (
        (None, "active"),
        (node.trigger_deactivate, "inactive"),
        (node.trigger_cleanup, "unconfigured"),
        (node.trigger_shutdown, "finalized"),
    ):
        if transition is not None:
            assert transition() == TransitionCallbackReturn.SUCCESS
        values = reports.wait_for("model", lambda _, values: values["state"] == state)  # noqa: B023
        assert ("backend" in values) == (state in ("active", "inactive"))
        text = "idle" if state == "active" else "not active"
        reports.wait_for("camera", lambda status, _: text in status.message)  # noqa: B023


def test_diagnostics_report_model_loading_and_failure(graph, tmp_path):
    node, client = graph(model(tmp_path), (DEPTH,))
    reports = Reports(node, client)
    node.trigger_deactivate()
    node.trigger_cleanup()
    assert set_parameter(client, "model", str(tmp_path / "absent.onnx"))[0]
    assert node.trigger_configure() == TransitionCallbackReturn.FAILURE
    reports.wait_for(
        "model", lambda status, _: status.level == ERROR and "not configured: no such model" in status.message
    )
    slow = write_constant_model(tmp_path / "slow.onnx", np.full((4, 6), 2.0), slowness=20)
    assert set_parameter(client, "model", str(slow))[0]
    thread = threading.Thread(target=node.trigger_configure)
    thread.start()
    values = reports.wait_for("model", lambda status, _: status.level == OK and "loading" in status.message)
    assert values["state"] == "configuring"
    thread.join()
    values = reports.wait_for("model", lambda _, values: values["state"] == "inactive")
    assert values["model"] == "known"


def test_diagnostics_report_silent_camera(graph, tmp_path, monkeypatch):
    monkeypatch.setattr(diagnostics, "SILENCE", 0.5)
    node, client = graph(model(tmp_path), (), ("image:={namespace}/cam",))
    client.listen(DEPTH)
    reports = Reports(node, client)
    topic = f"{node.get_namespace()}/cam"
    reports.wait_for(
        "camera", lambda status, _: status.level == WARN and f"on {topic}, published by 0" in status.message
    )
    reports.wait_for("camera", lambda status, _: "remap image to the camera's topic" in status.message)
    publisher = client.create_publisher(Image, topic, 5)
    reports.wait_for("camera", lambda status, _: "published by 1: the camera sends nothing" in status.message)
    client.spin_until(publisher.get_subscription_count, "the node's input")

    def is_heard(status: DiagnosticStatus, _: object) -> bool:
        client.publish_image(small(), publisher)  # again with every report: the node may not hear us at first
        return "no image" not in status.message

    reports.wait_for("camera", is_heard)


def test_diagnostics_report_disabled_node(graph, tmp_path):
    node, client = graph(model(tmp_path), (DEPTH,))
    reports = Reports(node, client)
    node._on_enable(SetBool.Request(data=False), SetBool.Response())
    reports.wait_for("camera", lambda status, _: status.message == "disabled by ~/enable")
