"""The depth node's own services: enable, reload_model and reset_scale."""

from __future__ import annotations

import threading
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("rclpy", reason="ROS 2 is not installed")
pytest.importorskip("onnx", reason="the test models are written with onnx")

from depth_node_graph import (
    ERROR,
    WARN,
    Client,
    floats,
    node_and_client,  # noqa: F401 - the fixture `graph`
    private_context,  # noqa: F401 - the fixture `context`
)
from encoded_images import image_message
from known_models import write_constant_model
from node_services import call, set_parameter
from rclpy.lifecycle import TransitionCallbackReturn
from sensor_msgs.msg import Image
from std_srvs.srv import SetBool, Trigger

RELATIVE, DEPTH = "inverse_depth/image", "depth/image_rect"


def small(value: int = 0) -> Image:
    return image_message(np.full((4, 6, 3), value, np.uint8), "rgb8")


def relative(tmp_path: Path, value: float = 2.0, **options: object) -> Path:
    options.setdefault("nominal_scale", (1.0, 0.0))
    return write_constant_model(tmp_path / f"relative_{value}.onnx", np.full((4, 6), value), **options)


def metric(tmp_path: Path, value: float = 3.0) -> Path:
    return write_constant_model(tmp_path / "metric.onnx", np.full((4, 6), value), "depth")


def trigger(client: Client, name: str) -> tuple[bool, str]:
    answer = call(client, Trigger, name, Trigger.Request())
    return answer.success, answer.message


def enable(client: Client, data: bool) -> None:
    assert call(client, SetBool, "enable", SetBool.Request(data=data)).success


# Enabling


def test_disable_ends_subscription_and_enable_restores_it(graph, tmp_path):
    node, client = graph(relative(tmp_path), (DEPTH,))
    for _ in range(3):
        enable(client, False)
        client.spin_until(lambda: not client.count_subscribers("image"), "the end of the subscription")
        assert client.count_publishers(DEPTH) == 1
        enable(client, True)
        client.wait_for_node()
        client.wait_for(DEPTH, client.publish_image(small()))
    assert node.statistics.published == node.statistics.received == 3


def test_disabled_node_stays_disabled_through_transitions(graph, tmp_path):
    node, client = graph(relative(tmp_path), (DEPTH,))
    enable(client, False)
    node.trigger_deactivate()
    enable(client, False)
    node.trigger_activate()
    client.listen(RELATIVE)
    client.spin_until(lambda: client.count_subscribers(RELATIVE), "the listener")
    assert client.count_subscribers("image") == 0
    enable(client, True)
    client.wait_for_node()
    client.wait_for(RELATIVE, client.publish_image(small()))


# Another model


def test_reload_model_applies_from_next_frame(graph, tmp_path):
    node, client = graph(relative(tmp_path, 2.0), (RELATIVE,))
    assert np.all(floats(client.wait_for(RELATIVE, client.publish_image(small()))) == 2.0)
    assert set_parameter(client, "model", str(relative(tmp_path, 4.0)))[0]
    success, message = trigger(client, "reload_model")
    assert success
    assert "relative_4.0.onnx" in message
    assert np.all(floats(client.wait_for(RELATIVE, client.publish_image(small()))) == 4.0)
    assert node.is_active


def test_reload_of_unloadable_model_keeps_old_model(graph, tmp_path):
    damaged = relative(tmp_path, 7.0)
    damaged.write_bytes(damaged.read_bytes()[:300])
    _, client = graph(relative(tmp_path), (DEPTH,))
    for bad in (tmp_path / "absent.onnx", damaged):
        assert set_parameter(client, "model", str(bad))[0]
        success, message = trigger(client, "reload_model")
        assert not success
        assert bad.name in message
        client.wait_for_line(ERROR, "the model stays as it was")
        assert np.all(floats(client.wait_for(DEPTH, client.publish_image(small()))) == 0.5)


@pytest.mark.parametrize("fails", ["once", "always"])
def test_reload_failure_after_worker_stop_leaves_usable_node(graph, tmp_path, monkeypatch, fails):
    """What fails once the worker has been stopped: the old model goes on; if it cannot, the node is unconfigured."""
    node, client = graph(relative(tmp_path, 2.0), (DEPTH,))
    client.wait_for(DEPTH, client.publish_image(small()))
    (stream,) = node.streams.values()
    take, before = stream.set_model, node._estimator

    def break_down(estimator: object) -> None:
        if fails == "always" or estimator is not before:
            raise RuntimeError("no topic can be made")
        take(estimator)

    monkeypatch.setattr(stream, "set_model", break_down)
    assert set_parameter(client, "model", str(relative(tmp_path, 4.0)))[0]
    assert trigger(client, "reload_model") == (False, "no topic can be made")
    client.wait_for_line(ERROR, "no topic can be made")
    if fails == "once":
        assert np.all(floats(client.wait_for(DEPTH, client.publish_image(small()))) == 0.5)
        return
    assert node._state_machine.current_state[1] == "unconfigured"
    monkeypatch.undo()
    for transition in (node.trigger_configure, node.trigger_activate):
        assert transition() == TransitionCallbackReturn.SUCCESS
    client.wait_for_node()
    assert np.all(floats(client.wait_for(DEPTH, client.publish_image(small()))) == 0.25)


def test_reload_switches_topics_between_relative_and_metric(graph, tmp_path):
    _, client = graph(relative(tmp_path), (RELATIVE, DEPTH))
    client.wait_for(RELATIVE, client.publish_image(small()))
    assert set_parameter(client, "model", str(metric(tmp_path)))[0]
    assert trigger(client, "reload_model")[0]
    client.spin_until(lambda: not client.count_publishers(RELATIVE), "the end of the topic")
    client.wait_for_node()
    assert np.all(floats(client.wait_for(DEPTH, client.publish_image(small()))) == 3.0)
    assert set_parameter(client, "model", str(relative(tmp_path)))[0]
    assert trigger(client, "reload_model")[0]
    client.spin_until(lambda: client.count_publishers(RELATIVE), "the topic")
    image = client.publish_image(small())
    client.wait_for(RELATIVE, image)
    assert np.all(floats(client.wait_for(DEPTH, image)) == 0.5)


def test_reload_without_matching_subscribers_ends_subscription(graph, tmp_path):
    _, client = graph(relative(tmp_path), (RELATIVE,))
    assert set_parameter(client, "model", str(metric(tmp_path)))[0]
    assert trigger(client, "reload_model")[0]
    client.spin_until(lambda: not client.count_subscribers("image"), "the end of the subscription")


def test_reload_under_load_mixes_no_frames(graph, tmp_path):
    node, client = graph(relative(tmp_path, 2.0), (RELATIVE,))
    values, stop = [2.0, 4.0], threading.Event()

    def flood() -> None:
        while not stop.wait(0.003):
            client.publish_image(small())

    thread = threading.Thread(target=flood)
    thread.start()
    try:
        for turn in range(4):
            assert set_parameter(client, "model", str(relative(tmp_path, values[(turn + 1) % 2])))[0]
            assert trigger(client, "reload_model")[0]
    finally:
        stop.set()
        thread.join()
    client.wait_for(RELATIVE, client.publish_image(small()))
    seen = [set(floats(message).ravel().tolist()) for message in client.received[RELATIVE]]
    assert all(values in ({2.0}, {4.0}) for values in seen)
    assert {2.0} in seen
    assert node.statistics.dropped.keys() <= {"newer came"}


def test_reload_keeps_lifecycle_state(graph, tmp_path):
    node, client = graph(relative(tmp_path), (DEPTH,))
    assert set_parameter(client, "model", str(relative(tmp_path, 4.0)))[0]
    node.trigger_deactivate()
    assert trigger(client, "reload_model")[0]
    assert not node.is_active
    assert client.count_subscribers("image") == 0
    node.trigger_cleanup()
    assert trigger(client, "reload_model") == (False, "the node has no model yet: configure it")


# The scale


def test_reset_scale_restores_start_values(graph, tmp_path):
    _, client = graph(relative(tmp_path), (DEPTH,), scale__a=2.0, scale__b=0.5)
    for name, value in (("scale.a", 7.0), ("scale.b", 0.25)):
        assert set_parameter(client, name, value)[0]
    assert trigger(client, "reset_scale") == (True, "scale set: a = 2, b = 0.5")
    assert floats(client.wait_for(DEPTH, client.publish_image(small()))) == pytest.approx(1 / 4.5)


def test_reset_scale_without_start_values_restores_nominal(graph, tmp_path):
    _, client = graph(relative(tmp_path), (DEPTH,))
    for name, value in (("scale.a", 7.0), ("scale.b", 0.25)):
        assert set_parameter(client, name, value)[0]
    client.wait_for_line(WARN, "scale.a and scale.b belong together")  # while there was but one
    client.log.clear()
    success, message = trigger(client, "reset_scale")
    assert success
    assert "NOMINAL" in message
    assert floats(client.wait_for(DEPTH, client.publish_image(small()))) == pytest.approx(0.5)
    assert [line for line in client.lines(WARN) if not line.startswith("scale is NOMINAL")] == []  # of no half
