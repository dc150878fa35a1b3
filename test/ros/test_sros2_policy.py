"""config/sros2/policies.xml allows exactly what the nodes create on a real graph."""

from __future__ import annotations

import asyncio
import threading
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

pytest.importorskip("rclpy", reason="ROS 2 is not installed")
pytest.importorskip("onnx", reason="the test models are written with onnx")
pytest.importorskip("aiohttp", reason="the page needs the extra `view`")

import aiohttp
from confidence_models import write_confidence_model
from depth_node_graph import (
    Client,
    node_and_client,  # noqa: F401 - the fixture `graph`
    private_context,  # noqa: F401 - the fixture `context`
)
from known_models import write_constant_model
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.parameter import Parameter
from scale_rig import relative, room
from waiting import limit

from depth_anything_ros.ros.camera_node.node import CameraNode
from depth_anything_ros.ros.depth_node.scale_sources import TOPICS
from depth_anything_ros.ros.view_node.node import ViewNode

Names = dict[str, set[str]]
KINDS = {"publish": "publisher", "subscribe": "subscriber", "reply": "service", "request": "client"}
REMAP = "image:=image_raw"
FOR_SIMULATED_TIME = {"/clock", "/parameter_events"}
ONLY_COMPRESSED = {"image_raw/compressed"}
ONLY_WITH_TF = {"/tf", "/tf_static"}
SINCE_JAZZY = {"~/get_type_description"}


def allowed(repository: Path, node: str) -> Names:
    root = ElementTree.parse(repository / "config" / "sros2" / "policies.xml").getroot()
    (profile,) = (one for one in root.iter("profile") if one.get("node") == node)
    return {rule: {name.text for group in profile if group.get(rule) == "ALLOW" for name in group} for rule in KINDS}


def created(observer: Node, name: str) -> Names:
    """Return what a node has created, as names of the policy."""
    namespace = observer.get_namespace()

    def short(topic: str) -> str:
        own, inside = f"{namespace}/{name}/", f"{namespace}/"
        return f"~/{topic[len(own) :]}" if topic.startswith(own) else topic.removeprefix(inside)

    found = {}
    for rule, kind in KINDS.items():
        names = getattr(observer, f"get_{kind}_names_and_types_by_node")(name, namespace)
        found[rule] = {short(topic) for topic, _ in names if not topic.startswith("/_")}
    return found


def missing_and_unused(repository: Path, node: str, real: Names) -> tuple[Names, Names]:
    policy = allowed(repository, node)
    missing = {rule: real[rule] - policy[rule] for rule in KINDS}
    return missing, {rule: policy[rule] - real[rule] for rule in KINDS}


@pytest.fixture
def spin(context) -> Iterator[Callable[[Node], None]]:
    started: list[tuple[Node, SingleThreadedExecutor, threading.Thread]] = []

    def start(node: Node) -> None:
        executor = SingleThreadedExecutor(context=context)
        executor.add_node(node)
        started.append((node, executor, threading.Thread(target=executor.spin)))
        started[-1][2].start()

    yield start
    for node, executor, thread in started:
        executor.shutdown()
        thread.join()
        node.destroy_node()


def has_subscriptions(client: Client, node: str, names: set[str]) -> Callable[[], bool]:
    return lambda: names <= created(client, node)["subscribe"]


def test_depth_node_creates_what_the_policy_allows(repository: Path, graph, tmp_path: Path) -> None:
    model = write_constant_model(tmp_path / "model.onnx", relative(room()))
    _, client = graph(model, (), (REMAP,), scale__source=[*TOPICS], scale__odometry="topic")
    client.listen("depth/image_rect")
    sensors = {topic for topics in TOPICS.values() for topic, _ in topics} | {"scale/odometry"}
    client.spin_until(has_subscriptions(client, "depth_node", {*sensors, "image_raw", "camera_info"}), "inputs")
    missing, unused = missing_and_unused(repository, "depth_node", created(client, "depth_node"))
    assert not any(missing.values())
    assert unused["publish"] == {"confidence/image"}  # another model has it: below
    assert unused["subscribe"] - ONLY_WITH_TF - FOR_SIMULATED_TIME == ONLY_COMPRESSED
    assert unused["reply"] <= SINCE_JAZZY


def test_model_with_confidence_publishes_what_the_policy_allows(repository: Path, graph, tmp_path: Path) -> None:
    _, client = graph(write_confidence_model(tmp_path / "confidence.onnx", (8, 12)), (), (REMAP,))
    client.spin_until(lambda: "confidence/image" in created(client, "depth_node")["publish"], "confidence")
    missing, _ = missing_and_unused(repository, "depth_node", created(client, "depth_node"))
    assert not any(missing.values())


def test_camera_node_creates_what_the_policy_allows(repository: Path, graph, context, spin, tmp_path: Path) -> None:
    _, client = graph(write_constant_model(tmp_path / "model.onnx", relative(room())), ())
    source = Parameter("source", value=str(repository / "docs" / "coffee.jpg"))
    spin(CameraNode(context=context, namespace=client.get_namespace(), parameter_overrides=[source], starts=False))
    client.spin_until(lambda: created(client, "camera_node")["publish"] >= {"image_raw"}, "the camera node")
    missing, unused = missing_and_unused(repository, "camera_node", created(client, "camera_node"))
    assert not any(missing.values())
    assert unused["subscribe"] <= FOR_SIMULATED_TIME
    assert unused["reply"] <= SINCE_JAZZY
    assert (unused["publish"], unused["request"]) == (set(), set())


def test_view_node_creates_what_the_policy_allows(repository: Path, graph, context, spin, tmp_path: Path) -> None:
    """With a browser, for without one it subscribes to no image."""
    model = write_constant_model(tmp_path / "model.onnx", relative(room()))
    _, client = graph(model, (), (REMAP,), scale__source=["laser_scan"])
    node = ViewNode(
        context=context,
        namespace=client.get_namespace(),
        parameter_overrides=[Parameter("port", value=0)],
        cli_args=["--ros-args", "-r", REMAP],
    )
    spin(node)
    pictures = {"image_raw", "depth/image_rect", "depth/camera_info", "depth/sigma"}
    is_open = has_subscriptions(client, "view_node", pictures)

    async def look() -> Names:
        async with aiohttp.ClientSession() as session, session.ws_connect(f"{node.url}stream"):
            while not is_open():
                client.spin_once()
                await asyncio.sleep(0.01)
            return created(client, "view_node")

    missing, unused = missing_and_unused(repository, "view_node", asyncio.run(asyncio.wait_for(look(), limit(60))))
    assert not any(missing.values())
    assert unused["subscribe"] - FOR_SIMULATED_TIME == ONLY_COMPRESSED | ONLY_WITH_TF
    assert (unused["publish"], unused["request"]) == (set(), set())


def test_enclaves_are_named_after_nodes_of_one_namespace(repository: Path) -> None:
    root = ElementTree.parse(repository / "config" / "sros2" / "policies.xml").getroot()
    assert (root.tag, root.get("version")) == ("policy", "0.2.0")
    for enclave in root.iter("enclave"):
        (profile,) = enclave.iter("profile")
        assert (enclave.get("path"), profile.get("ns")) == (f"/depth_anything_ros/{profile.get('node')}", "/camera")
