"""The view node: it serves the page, and subscribes to a camera and its depth while a browser is connected."""

from __future__ import annotations

import asyncio
import errno
import importlib
import socket
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from diagnostic_msgs.msg import DiagnosticArray
from rcl_interfaces.msg import Log, ParameterDescriptor
from rcl_interfaces.srv import SetParametersAtomically
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import CameraInfo, CompressedImage, Image

from depth_anything_ros.data.frame import DataError
from depth_anything_ros.geometry.camera import Camera
from depth_anything_ros.geometry.camera_messages import image_geometry
from depth_anything_ros.images.image_messages import ImageDecoder
from depth_anything_ros.images.raw_images import BadImageError
from depth_anything_ros.processing.outputs import TOPICS
from depth_anything_ros.ros.io.topic_events import no_subscription_events
from depth_anything_ros.ros.process.runner import run_node
from depth_anything_ros.ros.view_node.frame_sync import FrameSync, stamp_of
from depth_anything_ros.ros.view_node.recording import STATIC_TRANSFORMS, Recording
from depth_anything_ros.ros.view_node.scale_setting import CHANGEABLE, corrected_scale, request_of
from depth_anything_ros.ros.view_node.status import ViewStatus
from depth_anything_ros.scale.sensor_messages import SensorMessageError, depth_of
from depth_anything_ros.system.extras import MissingPackagesError, require
from depth_anything_ros.web_view.feed import Feed
from depth_anything_ros.web_view.frames import ViewFrame
from depth_anything_ros.web_view.server import ViewError, ViewServer, is_any_address

NEWEST = QoSProfile(depth=1, reliability=ReliabilityPolicy.BEST_EFFORT)
"""Best effort never slows a publisher, and only the newest frame matters."""
LOG = QoSProfile(depth=100, durability=DurabilityPolicy.TRANSIENT_LOCAL, reliability=ReliabilityPolicy.RELIABLE)
SERVICE_SECONDS = 5.0
"""Maximum wait for the depth node's answer."""
RECORDED_SECONDS = 5.0
MAX_SIZES = 8
"""Number of image sizes whose camera_info is kept."""
DEPTH_NODE = "depth_node"
TRANSPORTS = ("raw", "compressed")
OTHER_PORT = (
    "choose another port, or 0 for any free one: `camera --view-port 0`, `view --port 0`, in a launch file view_port:=0"
)
FARTHEST = 1e6
"""Meters: the longest valid distance."""


class ViewNode(Node):
    """A node that serves the page for one camera. Without a browser it has no image subscriptions.

    Args:
        node_options: Further arguments of `rclpy.node.Node`.

    Raises:
        OSError: The address is not available.
        ValueError: A parameter is invalid.
    """

    def __init__(self, **node_options: Any) -> None:
        super().__init__("view_node", **node_options)
        host = self._declare("host", "127.0.0.1", "address of the page; 0.0.0.0 for other machines, with a token")
        port = self._declare("port", 8080, "TCP port of the page; 0 takes a free one")
        camera = self._declare("camera", "", "name of the camera, if the depth node has several")
        folder = self._declare("record_folder", ".", "folder for the bags that the page records")
        transport = self._declare("image_transport", "raw", "raw, or compressed for IMAGE/compressed")
        if transport not in TRANSPORTS:
            raise ValueError(f"image_transport is {transport!r}, must be {' or '.join(TRANSPORTS)}")
        self._topics = self._find_topics(f"{camera}/" if camera else "", transport == "compressed")
        self._parameter_prefix = f"{camera}." if camera else ""
        self._folder = Path(folder).expanduser().absolute()
        self._is_recording = False
        self._decoder, self._sync = ImageDecoder(), FrameSync()
        self._infos: dict[
            tuple[int, int], CameraInfo
        ] = {}  # the newest of each size, because a folder may have images of several sizes
        self._feed = Feed(lambda _: self._do_later(self._follow_viewers))
        self._status = ViewStatus(self.get_namespace(), camera, self.get_logger().name)
        self._open: list[Any] = []
        self._recording: Recording | None = None
        self._tasks: deque[Callable[[], None]] = deque()
        self._has_tasks = self.create_guard_condition(self._do_tasks)
        self.create_subscription(DiagnosticArray, "/diagnostics", self._status.add_diagnostics, 10)
        self.create_subscription(Log, "/rosout", self._status.add_log, LOG)
        self._setter = self.create_client(SetParametersAtomically, f"{DEPTH_NODE}/set_parameters_atomically")
        actions = {"scale": self._set_scale, "record": self._record}
        self._server = ViewServer(self._feed, self._status.report, actions, host, port)
        try:
            self._server.start()
        except (OSError, OverflowError) as error:  # OverflowError: the port is above 65535
            self.destroy_node()
            is_taken = getattr(error, "errno", None) == errno.EADDRINUSE
            reason = "the port is taken" if is_taken else getattr(error, "strerror", None) or error
            is_host = isinstance(error, socket.gaierror) or getattr(error, "errno", None) == errno.EADDRNOTAVAIL
            fix = "give an address of this machine as host" if is_host else OTHER_PORT
            raise OSError(f"the page cannot be served on {host}:{port}: {reason}; {fix}") from error
        self._host = host

    def announce(self) -> None:
        """Log the address of the page. Called after the nodes have started, so that it is below their lines."""
        elsewhere = f"; elsewhere with this machine's name or address instead of {self._host}"
        advice = elsewhere if is_any_address(self._host) else ""
        self.get_logger().info(f"open {self._server.url} in a browser{advice}")

    @property
    def url(self) -> str:
        """Address of the page, with its token."""
        return self._server.url

    def destroy_node(self) -> None:
        """End the server and destroy the node."""
        self._server.stop()
        if self._recording is not None:
            self._recording.discard()
        super().destroy_node()

    def _do_later(self, task: Callable[[], None]) -> None:
        """Run a task in the executor's thread, which may change subscriptions. For any thread."""
        self._tasks.append(task)
        self._has_tasks.trigger()

    def _do_tasks(self) -> None:
        while self._tasks:
            self._tasks.popleft()()

    def _declare(self, name: str, default: Any, description: str) -> Any:
        return self.declare_parameter(name, default, ParameterDescriptor(description=description, read_only=True)).value

    def _follow_viewers(self) -> None:
        """Subscribe while a browser is connected."""
        if self._feed.viewers and not self._open:
            self._subscribe()
        elif not self._feed.viewers:
            while self._open:
                self.destroy_subscription(self._open.pop())
            self._sync = FrameSync()
            self._infos.clear()

    def _subscribe(self) -> None:
        for name, (topic, message_type) in self._topics.items():
            self._open.append(
                self.create_subscription(
                    message_type,
                    topic,
                    lambda message, name=name: self._receive(name, message),
                    NEWEST,
                    event_callbacks=no_subscription_events(),
                )
            )

    def _find_topics(self, prefix: str, is_compressed: bool) -> dict[str, tuple[str, type]]:
        """Return the topics of a frame with their types, by name."""
        image, image_type = ("image/compressed", CompressedImage) if is_compressed else ("image", Image)
        names = {"image": (image, image_type), "depth": (TOPICS["depth"], Image)}
        names |= {"info": (TOPICS["info"], CameraInfo), "sigma": (TOPICS["sigma"], Image)}
        return {name: (self.resolve_topic_name(prefix + topic), kind) for name, (topic, kind) in names.items()}

    def _receive(self, name: str, message: Any) -> None:
        if name == "info":
            self._infos.pop((message.height, message.width), None)
            self._infos[message.height, message.width] = message
            if len(self._infos) > MAX_SIZES:
                del self._infos[next(iter(self._infos))]
            return
        if name == "depth":  # sigma exists only with sensors for the scale, and another model may change that
            has_sigma = self.count_publishers(self._topics["sigma"][0])
            self._sync.expected = ("image", "depth", "sigma") if has_sigma else ("image", "depth")
        messages = self._sync.add(name, message)
        if messages is None:
            return
        depth = messages["depth"]
        stamp = stamp_of(depth)
        self._status.add_frame(1e-9 * (self.get_clock().now().nanoseconds - stamp))
        try:
            rgb = self._decoder.decode(messages["image"]).copy()  # the decoder reuses its buffer
            meters = depth_of(depth)
            sigma = depth_of(messages["sigma"]) if "sigma" in messages else None
        except (BadImageError, SensorMessageError) as error:
            self.get_logger().warning(f"an image cannot be shown: {error}", throttle_duration_sec=10.0)
            return
        self._feed.publish(ViewFrame(stamp, rgb, meters, self._camera_of(depth), sigma))

    def _camera_of(self, depth: Image) -> Camera | None:
        size = depth.height, depth.width
        info = self._infos.get(size)
        if info is None:
            return None
        try:
            return image_geometry(info, size, is_rectified=True).camera
        except ValueError:  # invalid intrinsics
            return None

    async def _set_scale(self, values: Mapping[str, Any]) -> str:
        """Set the scale so that a shown distance gets its true length. Runs in the server's thread."""
        shown, true = _positive(values, "shown"), _positive(values, "true")
        state, model = self._status.value("scale"), self._status.value("scale model")
        a, b = self._status.value("scale a"), self._status.value("scale b")
        if state not in CHANGEABLE or model is None or a is None or b is None:
            raise ViewError(f"the scale is {state or 'not known yet'}: only a fixed or nominal scale can be changed")
        new_a, new_b = corrected_scale(model, float(a), float(b), true / shown)
        await self._call(request_of(self._parameter_prefix, new_a, new_b))
        await self._in_executor(self._status.forget_camera)  # otherwise the next change would start from the old scale
        self.get_logger().info(
            f"{shown:.3f} m on the page are {true:.3f} m: scale.a = {new_a:.6g}, scale.b = {new_b:.6g}"
        )
        return f"set scale.a = {new_a:.6g}, scale.b = {new_b:.6g}"

    async def _call(self, request: SetParametersAtomically.Request) -> None:
        if not self._setter.service_is_ready():
            raise ViewError(f"{DEPTH_NODE} does not answer in the namespace {self.get_namespace()}")
        loop, answer = asyncio.get_running_loop(), asyncio.get_running_loop().create_future()
        future = self._setter.call_async(request)
        future.add_done_callback(lambda done: loop.call_soon_threadsafe(_pass_on, done, answer))
        try:
            result = (await asyncio.wait_for(answer, SERVICE_SECONDS)).result
        except asyncio.TimeoutError:
            raise ViewError(f"{DEPTH_NODE} did not answer within {SERVICE_SECONDS:g} s") from None
        if not result.successful:
            raise ViewError(result.reason)

    async def _record(self, _: Mapping[str, Any]) -> str:
        """Write a bag of the next seconds. Runs in the server's thread."""
        if self._is_recording:
            raise ViewError("a recording is already running")
        self._is_recording = True
        try:
            await self._in_executor(self._begin_recording)
            await asyncio.sleep(RECORDED_SECONDS)
            path, counts = await self._in_executor(self._end_recording)
        except (OSError, DataError, MissingPackagesError) as error:
            raise ViewError(f"no bag: {error}") from error
        finally:
            self._is_recording = False
        return f"{path}: " + (", ".join(f"{count} {topic}" for topic, count in sorted(counts.items())) or "no messages")

    def _begin_recording(self) -> None:
        require("rosbags")
        topics = dict(self._topics.values())
        if find_spec("tf2_msgs") is not None:
            tf_message = importlib.import_module("tf2_msgs.msg").TFMessage
            topics |= {"/tf": tf_message, STATIC_TRANSFORMS: tf_message}
        name = self.get_namespace().strip("/").replace("/", "_") or "view"
        self._recording = Recording(self, topics, self._folder / f"{name}_{datetime.now():%Y%m%d_%H%M%S}")

    def _end_recording(self) -> tuple[Path, Mapping[str, int]]:
        recording, self._recording = self._recording, None
        assert recording is not None  # started by `_record`
        return recording.finish()

    async def _in_executor(self, task: Callable[[], Any]) -> Any:
        """Run a task in the executor's thread and return its result. Runs in the server's thread."""
        loop, answer = asyncio.get_running_loop(), asyncio.get_running_loop().create_future()

        def run() -> None:
            try:
                result = task()
            except Exception as error:  # raised where it is awaited
                loop.call_soon_threadsafe(answer.set_exception, error)
            else:
                loop.call_soon_threadsafe(answer.set_result, result)

        self._do_later(run)
        return await answer


def _positive(values: Mapping[str, Any], name: str) -> float:
    value = values.get(name)
    if not isinstance(value, (int, float)) or not 0 < value <= FARTHEST:
        raise ViewError(f"{name} must be a distance in meters, above 0 and at most {FARTHEST:g}")
    return float(value)


def _pass_on(done: Any, answer: asyncio.Future[Any]) -> None:
    if not answer.done():
        answer.set_result(done.result())


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the view node. Return the process's exit status."""
    return run_node("view_node", ViewNode, arguments)
