"""Quality of service of the depth node's inputs: it follows the cameras unless the user overrides it."""

from __future__ import annotations

import itertools
import os

import numpy as np
import pytest

pytest.importorskip("rclpy", reason="ROS 2 is not installed")
pytest.importorskip("onnx", reason="the test models are written with onnx")

from depth_node_graph import (
    ERROR,
    INFO,
    WARN,
    Client,
    node_and_client,  # noqa: F401 - the fixture `graph`
    node_of_another_participant,  # noqa: F401 - the fixture `other_participant`
    private_context,  # noqa: F401 - the fixture `context`
)
from diagnostic_msgs.msg import DiagnosticArray
from encoded_images import image_message
from known_models import write_constant_model
from rclpy.lifecycle import TransitionCallbackReturn
from rclpy.parameter import Parameter
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from ros_messages import camera_info
from sensor_msgs.msg import CameraInfo, Image

from depth_anything_ros.ros.depth_node.node import DepthNode
from depth_anything_ros.ros.process import graph_watch
from depth_anything_ros.runtime.estimator import Estimator

DEPTH = "depth/image_rect"
EYE = ("image:={namespace}/eye/image_raw",)
RELIABLE, BEST_EFFORT = ReliabilityPolicy.RELIABLE, ReliabilityPolicy.BEST_EFFORT
LATCHED, VOLATILE = DurabilityPolicy.TRANSIENT_LOCAL, DurabilityPolicy.VOLATILE
_names = itertools.count()


@pytest.fixture
def quick(tmp_path):
    return write_constant_model(tmp_path / "quick.onnx", np.full((4, 6), 2.0), nominal_scale=(1.0, 0.0))


@pytest.fixture(autouse=True)
def looks_often(monkeypatch):
    monkeypatch.setattr(graph_watch, "PERIOD", 0.1)


def small() -> Image:
    return image_message(np.zeros((4, 6, 3), np.uint8), "rgb8")


def asked(client: Client, topic: str) -> list[tuple[ReliabilityPolicy, DurabilityPolicy]]:
    """Return the quality of service that the depth node requests."""
    endpoints = client.get_subscriptions_info_by_topic(client.resolve_topic_name(topic))
    profiles = [endpoint.qos_profile for endpoint in endpoints if endpoint.node_name == "depth_node"]
    return [(profile.reliability, profile.durability) for profile in profiles]


def wait_until_asked(client: Client, topic: str, *policies: object) -> None:
    client.spin_until(lambda: asked(client, topic) == [policies], f"{topic} to be asked for as {policies}")


def test_input_reliability_follows_all_cameras(graph, quick):
    """Nobody publishes at first; then a reliable camera comes, a best-effort one joins it, and leaves."""
    _, client = graph(quick, (), EYE)
    client.listen(DEPTH)
    topics = {"eye/image_raw": Image, "eye/camera_info": CameraInfo}
    for topic in topics:
        wait_until_asked(client, topic, BEST_EFFORT, VOLATILE)
    reliable = [client.create_publisher(kind, topic, 5) for topic, kind in topics.items()]
    for topic in topics:
        wait_until_asked(client, topic, RELIABLE, VOLATILE)
    client.spin_until(reliable[0].get_subscription_count, "the node's input")
    client.wait_for(DEPTH, client.publish_image(small(), reliable[0]))

    profile = QoSProfile(depth=5, reliability=BEST_EFFORT)
    others = [client.create_publisher(kind, topic, profile) for topic, kind in topics.items()]
    for topic in topics:
        wait_until_asked(client, topic, BEST_EFFORT, VOLATILE)
    for camera in (others[0], reliable[0]):
        client.spin_until(camera.get_subscription_count, "the node's input")
        client.wait_for(DEPTH, client.publish_image(small(), camera))

    for publisher in others:
        client.destroy_publisher(publisher)
    for topic in topics:
        wait_until_asked(client, topic, RELIABLE, VOLATILE)


def test_publisher_of_other_type_does_not_affect_qos(graph, quick, other_participant):
    _, client = graph(quick, (), EYE)
    other_participant(client).create_publisher(
        CameraInfo, "eye/image_raw", QoSProfile(depth=5, reliability=BEST_EFFORT)
    )
    client.spin_until(lambda: client.count_publishers("eye/image_raw"), "the other publisher")
    client.create_publisher(Image, "eye/image_raw", 5)
    client.listen(DEPTH)
    wait_until_asked(client, "eye/image_raw", RELIABLE, VOLATILE)


@pytest.mark.parametrize("comes_first", [True, False])
def test_latched_camera_info_serves_every_image(graph, quick, comes_first):
    _, client = graph(quick, (), EYE)
    if not comes_first:
        client.listen("points")
        wait_until_asked(client, "eye/camera_info", BEST_EFFORT, VOLATILE)
    infos = client.create_publisher(CameraInfo, "eye/camera_info", QoSProfile(depth=1, durability=LATCHED))
    infos.publish(camera_info(6, 4))
    if comes_first:
        client.listen("points")
    images = client.create_publisher(Image, "eye/image_raw", 5)

    def gives_cloud() -> bool:
        client.publish_image(small(), images)
        return client.spin_for(lambda: client.received["points"], 0.3)

    client.spin_until(gives_cloud, "a cloud")
    wait_until_asked(client, "eye/camera_info", RELIABLE, LATCHED)
    wait_until_asked(client, "eye/image_raw", RELIABLE, VOLATILE)  # an image of before is worth nothing


def test_qos_overrides_win_over_publishers(graph, quick):
    prefix = "qos_overrides.{namespace}/eye"
    overrides = {
        f"{prefix}/image_raw.subscription.reliability": "best_effort",
        f"{prefix}/image_raw.subscription.durability": "transient_local",
        f"{prefix}/camera_info.subscription.durability": "volatile",
    }
    node, client = graph(quick, (), EYE, **overrides)
    latched = QoSProfile(depth=5, durability=LATCHED)
    client.create_publisher(Image, "eye/image_raw", latched)
    client.create_publisher(CameraInfo, "eye/camera_info", latched)
    client.listen(DEPTH)
    wait_until_asked(client, "eye/image_raw", BEST_EFFORT, LATCHED)
    wait_until_asked(client, "eye/camera_info", RELIABLE, VOLATILE)
    parameter = f"qos_overrides.{node.get_namespace()}/eye/camera_info.subscription.reliability"
    assert node.get_parameter(parameter).value == "automatic"
    assert [line for line in client.lines(WARN) if "qos_overrides" in line] == []


@pytest.mark.parametrize(
    ("name", "value", "complaint"),
    [
        ("/image.subscription.reliability", "relyable", "must be one of system_default, reliable, best_effort"),
        ("/camera_info.subscription.durability", "latched", "must be one of system_default, transient_local, volatile"),
        ("/image.subscription.history", "all", "must be one of system_default, keep_last, keep_all"),
        ("/image.subscription.depth", "one", "depth"),
        ("/image.subscription.depth", 0, "is 0, must be 1 or more"),
        ("/depth/image_rect.publisher.reliability", "reliabel", "must be one of system_default, reliable"),
        ("/confidence/image.publisher.reliability", "automatic", "must be one of system_default, reliable"),
    ],
)
def test_invalid_qos_override_ends_node_with_choices(context, quick, name, value, complaint):
    """And not when somebody listens for the first time; the model of this test gives no confidence."""
    namespace = f"/overrides_{os.getpid()}_{next(_names)}"
    parameter = Parameter(f"qos_overrides.{namespace}{name}", value=value)
    node = DepthNode(Estimator(quick, threads=1), context=context, namespace=namespace, parameter_overrides=[parameter])
    client = Client((), context=context, namespace=namespace)
    try:
        for _ in range(2):
            assert node.trigger_configure() == TransitionCallbackReturn.FAILURE
        line = client.wait_for_line(ERROR, complaint)
        assert parameter.name in line
        assert "Traceback" not in line
    finally:
        client.destroy_node()
        node.destroy_node()


def test_unknown_qos_override_warns_with_suggestion(graph, quick):
    overrides = {
        "qos_overrides.{namespace}/image.subscription.relyability": "reliable",
        "qos_overrides.{namespace}/depth/image_rekt.publisher.depth": 7,
    }
    node, client = graph(quick, (DEPTH,), **overrides)
    prefix = f"qos_overrides.{node.get_namespace()}"
    for given, meant in (
        ("/image.subscription.relyability", "/image.subscription.reliability"),
        ("/depth/image_rekt.publisher.depth", "/depth/image_rect.publisher.depth"),
    ):
        fault = f"parameter {prefix}{given} matches no topic and policy of this node"
        client.wait_for_line(WARN, f"{fault}, ignored; did you mean {prefix}{meant}")
    client.wait_for_line(INFO, "images from")


def test_incompatible_subscriber_warns_with_policy(graph, quick, other_participant):
    _, client = graph(quick, (DEPTH,))
    latched = QoSProfile(depth=1, durability=LATCHED)
    other_participant(client).create_subscription(Image, DEPTH, lambda _: None, latched)
    topic = client.resolve_topic_name(DEPTH)
    line = client.wait_for_line(WARN, f"a subscriber of {topic} requests an incompatible durability")
    assert line.endswith(f"qos_overrides.{topic}.publisher.durability")
    other_participant(client).create_subscription(DiagnosticArray, "/diagnostics", lambda _: None, latched)
    line = client.wait_for_line(WARN, "a subscriber of /diagnostics requests an incompatible durability")
    assert line.endswith("change it there")  # this topic has no overrides


def test_executor_waits_for_no_unused_event(graph, quick):
    """Each costs a few microseconds a turn, and a frame takes three turns."""
    node, client = graph(quick, (DEPTH,))
    client.wait_for(DEPTH, client.publish_image(small()))
    publishers = len(list(node.publishers))
    assert len(list(node.waitables)) <= publishers
