"""The depth node as a managed node: repeated transitions through its services, and recovery from errors."""

from __future__ import annotations

import contextlib
import gc
import os
import subprocess
import sys
import threading
import weakref
from pathlib import Path

import numpy as np
import pytest
from lifecycle import change, reach, state

pytest.importorskip("rclpy", reason="ROS 2 is not installed")
pytest.importorskip("onnx", reason="the test models are written with onnx")

from depth_node_graph import (
    ERROR,
    PATIENCE,
    Client,
    node_and_client,  # noqa: F401 - the fixture `graph`
    picture,
    private_context,  # noqa: F401 - the fixture `context`
)
from encoded_images import image_message
from known_models import write_constant_model
from lifecycle_msgs.msg import State, Transition
from node_services import set_parameter
from rclpy.lifecycle import TransitionCallbackReturn
from rclpy.parameter import Parameter
from ros_messages import camera_info
from waiting import limit

from depth_anything_ros.ros.depth_node.node import DepthNode
from depth_anything_ros.runtime.estimator import Estimator
from depth_anything_ros.system.memory import resident_mebibytes

ROUNDS, WARM_UP, HALF = 100, 20, 60
MAX_GROWTH = 2.5
"""MiB over each half of the rounds after the warm-up. A leak grows in both; other threads' memory may grow once."""


def model(tmp_path: Path) -> Path:
    return write_constant_model(tmp_path / "model.onnx", np.full((4, 6), 2.0), nominal_scale=(1.0, 0.0))


def entities(node: DepthNode) -> tuple[int, ...]:
    # DDS opens files in shared memory for other processes as they come and go, which is not the node's doing.
    descriptors = 0
    for name in os.listdir("/proc/self/fd"):
        with contextlib.suppress(FileNotFoundError):  # closed meanwhile: what the list was read from, or one of those
            descriptors += not os.readlink(f"/proc/self/fd/{name}").startswith("/dev/shm/")
    kinds = (node.publishers, node.subscriptions, node.services, node.timers)
    return (threading.active_count(), descriptors, *(len(list(kind)) for kind in kinds))


def test_hundred_lifecycle_rounds_leak_nothing(context, tmp_path):
    path = model(tmp_path)
    nominal = Parameter("scale.nominal", value=True)
    node = DepthNode(context=context, namespace=f"/rounds_{os.getpid()}", parameter_overrides=[nominal])
    client = Client(("depth/image_rect",), context=context, namespace=node.get_namespace())
    estimator = Estimator(path, "onnxruntime", threads=1)
    counts, memory = None, []
    try:
        for number in range(ROUNDS):
            node._given = estimator  # what loading a library's session leaks is not this test's business
            for trigger in (node.trigger_configure, node.trigger_activate):
                assert trigger() == TransitionCallbackReturn.SUCCESS
            if number % 10 == 0:
                client.spin_until(lambda: node.count_subscribers("image"), "the subscription")
            for trigger in (node.trigger_deactivate, node.trigger_cleanup):
                assert trigger() == TransitionCallbackReturn.SUCCESS
            if number in (WARM_UP, HALF, ROUNDS - 1):
                gc.collect()
                memory.append(resident_mebibytes())
                counts = counts or entities(node)
        assert entities(node) == counts
        assert min(np.diff(memory)) < MAX_GROWTH
    finally:
        client.destroy_node()
        node.destroy_node()


def test_services_reach_every_lifecycle_state(graph, tmp_path):
    node, client = graph(model(tmp_path), ("depth/image_rect",))
    assert state(client) == State.PRIMARY_STATE_ACTIVE
    client.wait_for("depth/image_rect", client.publish_image(image_message(picture(4, 6), "rgb8")))

    assert change(client, Transition.TRANSITION_DEACTIVATE)
    assert state(client) == State.PRIMARY_STATE_INACTIVE
    client.spin_until(lambda: not client.count_subscribers("image"), "the end of the subscription")
    assert client.count_publishers("depth/image_rect") == 1
    provenance = node._estimator.provenance

    assert change(client, Transition.TRANSITION_ACTIVATE)
    client.wait_for_node()
    client.wait_for("depth/image_rect", client.publish_image(image_message(picture(4, 6), "rgb8")))
    assert node._estimator.provenance == provenance

    assert change(client, Transition.TRANSITION_DEACTIVATE)
    assert change(client, Transition.TRANSITION_CLEANUP)
    assert state(client) == State.PRIMARY_STATE_UNCONFIGURED
    client.spin_until(lambda: not client.count_publishers("depth/image_rect"), "the end of the topics")
    assert change(client, Transition.TRANSITION_UNCONFIGURED_SHUTDOWN)
    assert state(client) == State.PRIMARY_STATE_FINALIZED


def test_impossible_transition_is_rejected_and_node_runs_on(graph, tmp_path):
    _, client = graph(model(tmp_path), ("depth/image_rect",))
    for impossible in (Transition.TRANSITION_CONFIGURE, Transition.TRANSITION_CLEANUP, 77, "no_such_transition"):
        assert not change(client, impossible)
        client.wait_for_line(ERROR, f"transition refused: {impossible} ")
    assert state(client) == State.PRIMARY_STATE_ACTIVE
    client.wait_for("depth/image_rect", client.publish_image(image_message(picture(4, 6), "rgb8")))


def test_unloadable_model_leaves_node_unconfigured_until_replaced(graph, tmp_path):
    _, client = graph(model(tmp_path), ("depth/image_rect",))
    assert change(client, Transition.TRANSITION_DEACTIVATE)
    assert change(client, Transition.TRANSITION_CLEANUP)
    assert set_parameter(client, "model", str(tmp_path / "absent.onnx"))[0]
    assert not change(client, Transition.TRANSITION_CONFIGURE)
    client.wait_for_line(ERROR, "absent.onnx")
    assert state(client) == State.PRIMARY_STATE_UNCONFIGURED
    assert set_parameter(client, "model", str(model(tmp_path)))[0]
    assert change(client, Transition.TRANSITION_CONFIGURE)
    assert change(client, Transition.TRANSITION_ACTIVATE)
    client.publish_info(camera_info(6, 4))
    client.wait_for_node()
    client.wait_for("depth/image_rect", client.publish_image(image_message(picture(4, 6), "rgb8")))


def test_deactivate_keeps_model_and_cleanup_frees_it(graph, tmp_path):
    path = model(tmp_path)
    node, _ = graph(path, ("depth/image_rect",), backend="onnxruntime")
    node.set_parameters([Parameter("model", value=str(path))])
    for trigger in (node.trigger_deactivate, node.trigger_cleanup, node.trigger_configure, node.trigger_activate):
        assert trigger() == TransitionCallbackReturn.SUCCESS
    estimator = weakref.ref(node._estimator)
    node.trigger_deactivate()
    node.trigger_activate()
    assert node._estimator is estimator()
    node.trigger_deactivate()
    node.trigger_cleanup()
    gc.collect()
    assert estimator() is None


def test_autostart_false_waits_for_transitions(context, tmp_path):
    namespace = f"/told_{os.getpid()}"
    command = [sys.executable, "-m", "depth_anything_ros.ros.depth_node", "--ros-args", "-r", f"__ns:={namespace}"]
    process = subprocess.Popen(
        [*command, "-p", f"model:={model(tmp_path)}", "-p", "autostart:=false", "-p", "scale.nominal:=true"]
    )
    client = Client(("depth/image_rect",), context=context, namespace=namespace)
    try:
        assert state(client) == State.PRIMARY_STATE_UNCONFIGURED
        assert client.count_publishers("depth/image_rect") == 0
        reach(client, Transition.TRANSITION_CONFIGURE, State.PRIMARY_STATE_INACTIVE)
        assert client.count_subscribers("image") == 0
        reach(client, Transition.TRANSITION_ACTIVATE, State.PRIMARY_STATE_ACTIVE)
        client.publish_until("depth/image_rect", image_message(picture(4, 6), "rgb8"))
    finally:
        process.terminate()
        assert process.wait(limit(PATIENCE)) == 0
        client.destroy_node()


def test_error_in_transition_returns_to_unconfigured(graph, tmp_path, monkeypatch):
    node, client = graph(model(tmp_path), ("depth/image_rect",))
    assert change(client, Transition.TRANSITION_DEACTIVATE)

    def fail() -> None:
        raise KeyError("out of order")

    monkeypatch.setattr(node, "_begin", fail)
    assert not change(client, Transition.TRANSITION_ACTIVATE)
    client.wait_for_line(ERROR, "out of order")
    assert state(client) == State.PRIMARY_STATE_UNCONFIGURED
    monkeypatch.undo()
    assert set_parameter(client, "model", str(model(tmp_path)))[0]
    assert change(client, Transition.TRANSITION_CONFIGURE)
    assert change(client, Transition.TRANSITION_ACTIVATE)
    client.wait_for_node()
    client.wait_for("depth/image_rect", client.publish_image(image_message(picture(4, 6), "rgb8")))
