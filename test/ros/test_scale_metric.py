"""Sensors correct the meters of a metric model, over real DDS: from the model's own meters, and back to them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("rclpy", reason="ROS 2 is not installed")
pytest.importorskip("onnx", reason="the test models are written with onnx")

from depth_node_graph import (
    floats,
    node_and_client,  # noqa: F401 - the fixture `graph`
    private_context,  # noqa: F401 - the fixture `context`
)
from diagnostic_reports import Reports
from known_models import write_constant_model
from scale_rig import CAMERA, DEPTH, Rig, cloud_of, error, points_of_room, room
from sensor_msgs.msg import PointCloud2
from std_srvs.srv import Trigger

from depth_anything_ros.processing.measured_scale import METRIC_SIGMA
from depth_anything_ros.ros.depth_node import diagnostics

BIAS = 1.3
"""The model's depth over the true one."""


@pytest.fixture
def metric_model(tmp_path: Path) -> Path:
    """A model whose meters are those of a lens of twice the focal length, and too large by `BIAS`."""
    return write_constant_model(tmp_path / "model.onnx", 2 * BIAS * room(), "depth", training_focal=2 * CAMERA.fx)


def cloud() -> dict[str, object]:
    return {"scale/points": cloud_of(points_of_room(room()))}


def test_sensor_corrects_meters_which_return_to_the_model_s_without_it(graph, metric_model: Path) -> None:
    node, client = graph(metric_model, (DEPTH,), scale__source=["point_cloud"], scale__hold=0.5)
    rig = Rig(client, {"scale/points": PointCloud2})
    own = floats(client.wait_for(DEPTH, rig.shoot({})))
    assert error(own, BIAS * room()) < 1e-3
    values = rig.values()
    assert (values["state"], values["a"], values["source"]) == ("metric", "1", "model")
    assert float(values["sigma"]) == METRIC_SIGMA
    client.spin_until(lambda: rig.sigmas, "the error")
    assert np.nanmedian(floats(rig.sigmas[-1]) / own) == pytest.approx(METRIC_SIGMA, rel=0.1)
    refused = node.scale_services.set_scale(Trigger.Request(), Trigger.Response())
    assert (refused.success, "no scale has been measured: point_cloud: no message" in refused.message) == (False, True)

    measured = floats(client.wait_for(DEPTH, rig.shoot(cloud())))
    assert error(measured, room()) < 0.02
    client.spin_until(lambda: rig.values()["state"] == "measured", "the measured scale")
    assert float(rig.values()["a"]) == pytest.approx(1 / BIAS, rel=0.02)

    held = floats(client.wait_for(DEPTH, rig.shoot({}, step=0.3)))
    assert error(held, room()) < 0.02
    client.spin_until(lambda: rig.values()["state"] == "held", "the held scale")
    client.wait_for(DEPTH, rig.shoot({}, step=0.3))
    client.spin_until(lambda: rig.values()["state"] == "metric", "the model's own meters")
    late = floats(client.wait_for(DEPTH, rig.shoot({}, step=100.0)))
    assert error(late, BIAS * room()) < 0.01


def test_corrected_meters_are_kept_and_reset_by_the_services(graph, metric_model: Path) -> None:
    node, client = graph(metric_model, (DEPTH,), scale__source=["point_cloud"], scale__hold=0.5)
    rig = Rig(client, {"scale/points": PointCloud2})
    client.wait_for(DEPTH, rig.shoot(cloud()))
    assert node.scale_services.set_scale(Trigger.Request(), Trigger.Response()).success
    assert error(floats(client.wait_for(DEPTH, rig.shoot({}, step=100.0))), room()) < 0.02
    assert node.scale_services.reset_scale(Trigger.Request(), Trigger.Response()).success
    assert error(floats(client.wait_for(DEPTH, rig.shoot({}))), BIAS * room()) < 0.01


def test_diagnostics_warn_while_no_sensor_corrects(graph, metric_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(diagnostics, "PERIOD", 0.2)
    node, client = graph(metric_model, (DEPTH,), scale__source=["point_cloud"])
    reports, rig = Reports(node, client), Rig(client, {"scale/points": PointCloud2})
    rig.shoot({})
    reports.wait_for(
        "camera",
        lambda status, values: values.get("scale") == "metric" and "the model's own meters" in status.message,
    )


def test_metric_model_without_a_sensor_has_no_scale_to_keep(graph, metric_model: Path) -> None:
    node, client = graph(metric_model, (DEPTH,))
    response = node.scale_services.set_scale(Trigger.Request(), Trigger.Response())
    assert (response.success, "no scale to keep" in response.message) == (False, True)
    assert not client.count_subscribers("scale/points")
