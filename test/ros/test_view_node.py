"""The view node on a real graph: its frames are those of the depth node, and it costs nothing without a browser."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("rclpy", reason="ROS 2 is not installed")
pytest.importorskip("onnx", reason="the test models are written with onnx")
pytest.importorskip("aiohttp", reason="the page needs the extra `view`")

import aiohttp
from depth_node_graph import (
    Client,
    node_and_client,  # noqa: F401 - the fixture `graph`
    private_context,  # noqa: F401 - the fixture `context`
)
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from encoded_images import image_message
from known_models import write_red_model
from rcl_interfaces.msg import Log
from rclpy.executors import SingleThreadedExecutor
from rclpy.parameter import Parameter
from sensor_msgs.msg import CameraInfo, Image
from view_messages import ReceivedView, decode_view
from waiting import limit

from depth_anything_ros.ros.view_node import node as view_module
from depth_anything_ros.ros.view_node.frame_sync import LEAST_WAITING, MAX_BYTES, MAX_WAITING, FrameSync
from depth_anything_ros.ros.view_node.node import MAX_SIZES, ViewNode
from depth_anything_ros.ros.view_node.scale_setting import corrected_scale
from depth_anything_ros.ros.view_node.status import ViewStatus

HEIGHT, WIDTH = 8, 12


@pytest.fixture(name="view")
def started_view(context) -> Iterator[Callable[..., ViewNode]]:
    """Start a view node in its own thread, in the namespace of a client."""
    started: list[tuple[ViewNode, SingleThreadedExecutor, threading.Thread]] = []

    def start(client: Client, **parameters: object) -> ViewNode:
        overrides = [Parameter(name, value=value) for name, value in {"port": 0, **parameters}.items()]
        node = ViewNode(context=context, namespace=client.get_namespace(), parameter_overrides=overrides)
        executor = SingleThreadedExecutor(context=context)
        executor.add_node(node)
        thread = threading.Thread(target=executor.spin)
        thread.start()
        started.append((node, executor, thread))
        return node

    yield start
    for node, executor, thread in started:
        executor.shutdown()
        thread.join()
        node.destroy_node()


def red(levels: np.ndarray) -> np.ndarray:
    return np.dstack([levels, np.zeros_like(levels), np.zeros_like(levels)]).astype(np.uint8)


def camera_info() -> CameraInfo:
    info = CameraInfo(height=HEIGHT, width=WIDTH)
    info.k = [10.0, 0.0, 5.5, 0.0, 10.0, 3.5, 0.0, 0.0, 1.0]
    info.p = [10.0, 0.0, 5.5, 0.0, 0.0, 10.0, 3.5, 0.0, 0.0, 0.0, 1.0, 0.0]
    return info


def publish(client: Client, image: np.ndarray) -> None:
    """Publish an image with its camera_info, both with the next stamp."""
    message = image_message(image, "rgb8")
    info = camera_info()
    client.publish_image(message)
    info.header = message.header
    client.publish_info(info)


async def wait_in_step(client: Client, condition: Callable[[], object], what: str) -> None:
    """Spin the client while the connections of the test go on."""
    deadline = asyncio.get_running_loop().time() + limit(60)
    while not condition():
        assert asyncio.get_running_loop().time() < deadline, f"never: {what}"
        client.spin_once()
        await asyncio.sleep(0)


async def next_frame(client: Client, socket: aiohttp.ClientWebSocketResponse, image: np.ndarray) -> ReceivedView:
    """Publish an image like a camera until its frame arrives, with intrinsics."""
    frames: list[ReceivedView] = []
    corner = int(image[0, 0, 0])

    async def read() -> None:
        async for message in socket:
            if message.type == aiohttp.WSMsgType.BINARY:
                frames.append(decode_view(message.data))
                await socket.send_str("ready")

    reading = asyncio.ensure_future(read())
    deadline, again = asyncio.get_running_loop().time() + limit(60), 0.0

    def has_arrived() -> bool:  # the first frames may come before the first camera_info
        latest = frames[-1] if frames else None
        return latest is not None and latest.header["intrinsics"] and abs(int(latest.rgb[0, 0, 0]) - corner) < 40

    while not has_arrived():
        now = asyncio.get_running_loop().time()
        assert now < deadline, "no frame arrives"
        if now > again:
            publish(client, image)
            again = now + 0.2
        client.spin_once()
        await asyncio.sleep(0)
    reading.cancel()
    return frames[-1]


def run(coroutine):
    return asyncio.run(asyncio.wait_for(coroutine, limit(120)))


async def act(url: str, name: str, **values: object) -> tuple[int, str]:
    async with aiohttp.ClientSession() as session, session.post(f"{url}actions/{name}", json=values) as answer:
        return answer.status, (await answer.json())["text"]


def test_browser_gets_the_depth_of_the_image_it_sees(graph, view, tmp_path):
    """And image and depth have no subscriber before and after it."""
    _, client = graph(write_red_model(tmp_path / "red.onnx", (HEIGHT, WIDTH), nominal_scale=(1.0, 0.0)), ())
    node = view(client)
    topics = [client.resolve_topic_name(name) for name in ("image", "depth/image_rect", "depth/camera_info")]
    assert not any(map(client.count_subscribers, topics))
    levels = np.tile(np.linspace(60, 250, WIDTH), (HEIGHT, 1))

    async def look() -> None:
        async with aiohttp.ClientSession() as session, session.ws_connect(f"{node.url}stream") as socket:
            frame = await next_frame(client, socket, red(levels))
            np.testing.assert_allclose(frame.depth, 255 / levels.astype(np.uint8), rtol=5e-3)
            assert frame.header["intrinsics"] == [10.0, 10.0, 5.5, 3.5]
        await wait_in_step(client, lambda: not any(map(client.count_subscribers, topics)), "the end of subscriptions")

    run(look())


def test_images_of_several_sizes_keep_their_intrinsics(graph, view, tmp_path):
    """As in a folder of pictures: the newest camera_info is that of the next picture."""
    _, client = graph(write_red_model(tmp_path / "red.onnx", (HEIGHT, WIDTH), nominal_scale=(1.0, 0.0)), ())
    node = view(client)
    sizes = [(HEIGHT * factor, WIDTH * factor) for factor in range(1, MAX_SIZES + 3)]
    for height, width in sizes:
        info = camera_info()
        info.height, info.width = height, width
        node._receive("info", info)
    cameras = [node._camera_of(Image(height=height, width=width)) for height, width in sizes]
    assert [camera is not None for camera in cameras] == [False] * 2 + [True] * MAX_SIZES
    assert (cameras[-2].fx, cameras[-2].width) == (10.0, sizes[-2][1])


def test_named_camera_is_the_one_that_is_shown(graph, view, tmp_path):
    _, client = graph(write_red_model(tmp_path / "red.onnx", (HEIGHT, WIDTH)), (), cameras=["left", "right"])
    node = view(client, camera="right", image_transport="compressed")
    names = "right/image/compressed", "right/depth/image_rect", "right/depth/camera_info"
    topics = [client.resolve_topic_name(name) for name in names]

    async def look() -> None:
        async with aiohttp.ClientSession() as session, session.ws_connect(f"{node.url}stream"):
            await wait_in_step(client, lambda: all(map(client.count_subscribers, topics)), "the subscriptions")
            assert not client.count_subscribers(client.resolve_topic_name("left/depth/image_rect"))

    run(look())


def test_typed_distance_changes_the_nominal_scale(graph, view, tmp_path):
    depth_node, client = graph(write_red_model(tmp_path / "red.onnx", (HEIGHT, WIDTH), nominal_scale=(1.0, 0.1)), ())
    node = view(client)
    image = red(np.full((HEIGHT, WIDTH), 102))

    async def change() -> None:
        assert (await act(node.url, "scale", shown=2.0, true=1.0))[0] == 409  # no diagnostics yet
        async with aiohttp.ClientSession() as session, session.ws_connect(f"{node.url}stream") as socket:
            before = await next_frame(client, socket, image)
            np.testing.assert_allclose(before.depth, 2.0, rtol=1e-3)
            await wait_in_step(client, lambda: node._status.value("scale a"), "diagnostics")
            status, text = await act(node.url, "scale", shown=2.0, true=3.0)
            assert (status, text) == (200, "set scale.a = 0.666667, scale.b = 0.0666667")
            # The distance is measured with the old scale: a second press must not start from it again.
            status, text = await act(node.url, "scale", shown=2.0, true=3.0)
            assert (status, "not known yet" in text) == (409, True)
            await wait_in_step(client, lambda: depth_node.streams[""].scale.state == "set", "the new scale")
            after = await next_frame(client, socket, red(np.full((HEIGHT, WIDTH), 204)))
            np.testing.assert_allclose(after.depth, 1 / (0.8 * 2 / 3 + 0.1 * 2 / 3), rtol=1e-3)
        for bad in (0, -1, "two", None, float("1e999"), 10**400):
            status, text = await act(node.url, "scale", shown=2.0, true=bad)
            assert status == 409
            assert "true must be a distance" in text

    run(change())


def test_recording_is_a_bag_of_image_and_depth(graph, view, tmp_path, monkeypatch):
    rosbags = pytest.importorskip("rosbags.highlevel", reason="bags need the extra `data`")
    monkeypatch.setattr(view_module, "RECORDED_SECONDS", 2.0)
    _, client = graph(write_red_model(tmp_path / "red.onnx", (HEIGHT, WIDTH), nominal_scale=(1.0, 0.0)), ())
    node = view(client, record_folder=str(tmp_path))
    image = red(np.full((HEIGHT, WIDTH), 102))

    async def record() -> str:
        async with aiohttp.ClientSession() as session, session.ws_connect(f"{node.url}stream") as socket:
            await next_frame(client, socket, image)
            recording = asyncio.ensure_future(act(node.url, "record"))
            while not recording.done():
                publish(client, image)
                client.spin_once()
                await asyncio.sleep(0.02)
            status, text = recording.result()
            assert status == 200
            return text

    text = run(record())
    folder = Path(text.partition(":")[0])
    assert folder.parent == tmp_path
    with rosbags.AnyReader([folder]) as bag:
        counts = {entry.topic: entry.msgcount for entry in bag.connections}
        depths = [
            bag.deserialize(data, entry.msgtype)
            for entry, _, data in bag.messages()
            if entry.topic.endswith("depth/image_rect")
        ]
    for topic in ("image", "depth/image_rect", "depth/camera_info"):
        assert counts[client.resolve_topic_name(topic)] > 3
    np.testing.assert_allclose(np.frombuffer(depths[0].data, np.float32), 2.5)


def test_taken_port_ends_the_node_with_the_fix(graph, view, tmp_path):
    _, client = graph(write_red_model(tmp_path / "red.onnx", (HEIGHT, WIDTH)), ())
    port = int(view(client).url.rstrip("/").rpartition(":")[2])
    with pytest.raises(
        OSError,
        match=f"on 127.0.0.1:{port}: the port is taken; choose another port, or 0 for .*`camera --view-port 0`",
    ):
        view(client, port=port)


@pytest.mark.parametrize(
    ("parameters", "problem"),
    [
        ({"port": 65536}, "choose another port"),
        ({"host": "192.0.2.1"}, "give an address of this machine as host"),
        ({"image_transport": "theora"}, "must be raw or compressed"),
    ],
)
def test_invalid_parameter_ends_the_node_with_the_fix(graph, view, tmp_path, parameters, problem):
    _, client = graph(write_red_model(tmp_path / "red.onnx", (HEIGHT, WIDTH)), ())
    with pytest.raises((OSError, ValueError), match=problem):
        view(client, **parameters)


def test_status_is_that_of_the_camera_and_of_no_other_namespace():
    def status(name: str, scale: str) -> DiagnosticStatus:
        return DiagnosticStatus(name=name, values=[KeyValue(key="scale", value=scale)])

    statuses = [
        status("front_left/depth_node: camera", "set"),
        status("front/depth_node: right", "metric"),
        status("front/depth_node: left", "nominal"),
    ]
    left, only = ViewStatus("/front", "left", "front.view_node"), ViewStatus("/front_left", "", "front_left.view_node")
    for view_status in (left, only):
        view_status.add_diagnostics(DiagnosticArray(status=statuses))
        for name in ("front.depth_node", "front_left.depth_node"):
            view_status.add_log(Log(name=name, msg=name, level=20))
    assert (left.value("scale"), only.value("scale")) == ("nominal", "set")
    assert left.report()["diagnostics"].keys() == {"front/depth_node: right", "front/depth_node: left"}
    assert [line["text"] for line in left.report()["log"]] == ["front.depth_node"]
    left.forget_camera()
    assert left.value("scale") is None
    assert left.report()["diagnostics"].keys() == {"front/depth_node: right"}


class Stamped:
    """A message with a header and data."""

    def __init__(self, nanoseconds: int, size: int = 0) -> None:
        self.data = bytes(size)
        seconds, rest = divmod(nanoseconds, 10**9)
        self.header = type("Header", (), {"stamp": type("Stamp", (), {"sec": seconds, "nanosec": rest})})


def test_messages_meet_by_stamp_and_old_ones_are_forgotten():
    sync = FrameSync()
    messages = {stamp: Stamped(stamp) for stamp in range(1, 2 * MAX_WAITING)}
    assert sync.add("image", messages[1]) is None
    assert sync.add("depth", messages[2]) is None
    found = sync.add("depth", messages[1])
    assert found is not None
    assert found["image"] is found["depth"] is messages[1]
    assert sync.add("image", messages[2]) is not None  # the depth came first
    last = MAX_WAITING + 10
    for stamp in range(3, last + 1):
        sync.add("image", messages[stamp])
    assert sync.add("depth", messages[last - MAX_WAITING]) is None
    assert sync.add("depth", messages[last]) is not None


def test_images_wait_for_the_depth_of_a_slow_model():
    """Two seconds at 30 Hz; but large images do not fill the memory."""
    for size, waits in ((640 * 480 * 3, True), (MAX_BYTES // LEAST_WAITING, False)):
        sync = FrameSync()
        for stamp in range(60):
            assert sync.add("image", Stamped(stamp, size)) is None
        assert (sync.add("depth", Stamped(1, 1)) is not None) is waits
        assert sync.add("depth", Stamped(59, 1)) is not None


@pytest.mark.parametrize("model", ["inverse_affine", "depth_scale", "depth_affine"])
def test_corrected_scale_multiplies_every_depth(model):
    a, b, x = 0.7, 0.2, np.array([0.5, 1.0, 4.0])

    def depth(a: float, b: float) -> np.ndarray:
        return 1 / (a * x + b) if model == "inverse_affine" else a * x + b

    np.testing.assert_allclose(depth(*corrected_scale(model, a, b, 1.7)), 1.7 * depth(a, b))
