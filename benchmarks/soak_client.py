"""The listener of `soak.py`: compares every message of the depth node with the image of the same stamp."""

from __future__ import annotations

import threading
import time
from collections import Counter, deque
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from diagnostic_msgs.msg import DiagnosticArray
from rclpy.node import Node
from sensor_msgs.msg import CameraInfo, Image, PointCloud2
from soak_camera import RECORD
from soak_pattern import FAINT, centers, cloud_fault, depth_fault

QUEUE = 10
BUFFERED_INFOS = 60
DEPTH, POINTS, INFO = "depth/image_rect", "points", "depth/camera_info"
TYPES = {INFO: CameraInfo, DEPTH: Image, POINTS: PointCloud2}
"""In order of publication: the executor takes messages in this order, so a cloud's camera_info precedes it."""
MAX_FAULTS = 20
"""Maximum number of faults with text; all are counted."""


@dataclass
class Traffic:
    """Counts since the start, and the latencies in seconds since the last call."""

    received: Counter[str]
    wrong: Counter[str]
    latencies: list[float]


class SentImages:
    """The camera's record of sent images, read while it grows."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("rb")
        self.by_stamp: dict[int, tuple[bool, bool, bool]] = {}
        self.counts: Counter[str] = Counter()

    def read(self) -> None:
        """Read new records."""
        while record := self._file.read(RECORD.size):
            if len(record) < RECORD.size:
                self._file.seek(-len(record), 1)
                return
            stamp, is_sound, is_timely, is_due = RECORD.unpack(record)
            self.counts["sound" if is_sound else "malformed"] += 1
            self.counts["due"] += is_due
            # Of several images with one stamp, any may be processed.
            before = self.by_stamp.get(stamp, (False, False, False))
            self.by_stamp[stamp] = (before[0] or bool(is_sound), bool(is_timely), before[2] or bool(is_due))

    def find(self, stamp: int) -> tuple[bool, bool, bool] | None:
        """Return (valid, timely, due) of the image with a stamp; None if there is none."""
        if stamp not in self.by_stamp:
            self.read()
        return self.by_stamp.get(stamp)


class SoakClient(Node):
    """Subscribes to depth, cloud, camera_info and diagnostics. One thread runs its callbacks.

    Any thread may call the other methods.


    Attributes:
        scales: the (a, b) that the depth may have; two during a change.
        latest: stamp of the latest valid, timely image that was processed, by topic, in nanoseconds.
        focal: focal length of the latest camera_info.
        shape: (height, width) of the latest depth.
    """

    def __init__(self, sent: SentImages, namespace: str) -> None:
        super().__init__("soak_client", namespace=namespace)
        self.sent = sent
        self.scales: list[tuple[float, float]] = []
        self.stride, self.latest, self.focal, self.shape = 1, dict.fromkeys(TYPES, 0), 0.0, (0, 0)
        self.faults: list[str] = []
        self.dropped: dict[str, int] = {}
        self.published = 0
        self.warnings: Counter[str] = Counter()
        self._lock = threading.Lock()
        self._traffic = Traffic(Counter(), Counter(), [])
        self._seen = {topic: (set(), deque()) for topic in TYPES}
        self._infos: dict[int, tuple[float, float]] = {}
        self._listening: list = []
        self.create_subscription(DiagnosticArray, "/diagnostics", self._on_diagnostics, QUEUE)
        self.listen()

    def listen(self) -> None:
        """Subscribe to the node's outputs."""
        handlers = {DEPTH: self._on_depth, POINTS: self._on_points, INFO: self._on_info}
        for topic, handler in handlers.items():
            self._listening.append(self.create_subscription(TYPES[topic], topic, self._checked(topic, handler), QUEUE))

    def leave(self) -> None:
        """Unsubscribe from the node's outputs."""
        while self._listening:
            self.destroy_subscription(self._listening.pop())

    def traffic(self) -> Traffic:
        """Return the counts, and the latencies since the last call."""
        with self._lock:
            latencies, self._traffic.latencies = self._traffic.latencies, []
            return Traffic(Counter(self._traffic.received), Counter(self._traffic.wrong), latencies)

    def traffic_of_depth(self) -> int:
        """Return the number of depth images so far."""
        with self._lock:
            return self._traffic.received[DEPTH]

    def _checked(self, topic: str, handler):
        """Return a callback that counts a message, and checks its stamp and then its content by ``handler``."""

        def receive(message) -> None:
            arrival = time.time_ns()
            stamp = message.header.stamp.sec * 1_000_000_000 + message.header.stamp.nanosec
            image = self.sent.find(stamp)
            fault = self._stamp_fault(topic, stamp, image)
            with self._lock:
                self._traffic.received[topic] += 1
                if topic == DEPTH and image is not None and image[1]:
                    self._traffic.latencies.append(1e-9 * (arrival - stamp))
            try:
                fault = fault or handler(message, stamp)
            except Exception as error:  # the message is not even readable
                fault = f"unreadable: {error!r}"
            if fault is None:
                if image[1]:
                    self.latest[topic] = max(self.latest[topic], stamp)
                return
            with self._lock:
                self._traffic.wrong[f"{topic}: {fault}"] += 1
                if len(self.faults) < MAX_FAULTS:
                    self.faults.append(f"{topic} of {stamp}: {fault}")

        return receive

    def _stamp_fault(self, topic: str, stamp: int, image: tuple[bool, bool, bool] | None) -> str | None:
        if image is None:
            return "no image was sent with that stamp"
        if not image[0]:
            return "the image with that stamp was malformed"
        known, order = self._seen[topic]
        if stamp in known and stamp != 0:
            return "a second message with that stamp"
        known.add(stamp)
        order.append(stamp)
        if len(order) > 1000:
            known.discard(order.popleft())
        return None

    def _on_depth(self, message: Image, stamp: int) -> str | None:
        if message.encoding != "32FC1":
            return f"encoding is {message.encoding}"
        depth = np.frombuffer(message.data, np.float32).reshape(message.height, message.width)
        self.shape = depth.shape
        return self._fault_at_any_scale(lambda scale: depth_fault(depth, stamp, scale))

    def _on_points(self, message: PointCloud2, stamp: int) -> str | None:
        points = np.frombuffer(message.data, np.float32).reshape(message.height, message.width, -1)
        width, focal = self._infos.get(stamp, (0, 0.0))
        if not width:  # this process was too slow, and the queue dropped the camera_info
            with self._lock:
                self._traffic.received["points without camera_info"] += 1
            return None
        stride = -(-width // message.width)
        self.stride = stride
        fault = self._fault_at_any_scale(lambda scale: cloud_fault(points, stride, width, stamp, scale))
        if fault is None:
            columns = np.unique(centers(width) // stride)
            rays = (columns * stride - (width - 1) / 2) / focal
            x, z = points[0, columns, 0], points[0, columns, 2]
            known = np.isfinite(z)
            if not np.allclose(x[known], (rays * z)[known], rtol=FAINT, atol=1e-5):
                fault = "points do not fit the camera_info"
        return fault

    def _on_info(self, message: CameraInfo, stamp: int) -> str | None:
        self._infos[stamp] = message.width, message.p[0]
        self.focal = message.p[0]
        if len(self._infos) > BUFFERED_INFOS:
            del self._infos[next(iter(self._infos))]
        return None

    def _fault_at_any_scale(self, judge) -> str | None:
        faults = [judge(scale) for scale in list(self.scales)]
        return None if None in faults else faults[0]

    def _on_diagnostics(self, message: DiagnosticArray) -> None:
        own = f"{self.get_namespace().strip('/')}/depth_node: "
        for status in message.status:
            if not status.name.startswith(own):
                continue
            if status.level != status.OK:
                self.warnings[status.message.split(":")[0]] += 1
            for pair in status.values:
                if pair.key.startswith("dropped: "):
                    self.dropped[pair.key.removeprefix("dropped: ")] = int(pair.value)
                elif pair.key == "published":
                    self.published = int(pair.value)
