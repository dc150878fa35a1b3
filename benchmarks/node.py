"""Measures the processor time of a frame without the model: this package's node, and usual implementations.

    python benchmarks/node.py [--width 640] [--height 480] [--encoding bgr8] [--frames 200] [--node NAME …]
                              [--rounds 1] [--json FILE]

Every node under test runs in its own process, with a model that returns a constant at no cost. This process sends
images, subscribes to depth and colored cloud over DDS, and gives one frame to each node in turn. It counts all
processor time of a node's process, in all threads, from before an image is sent until both answers arrive, plus a
moment. This includes rclpy and DDS. The parts are times of the thread that does them.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import rclpy
from frame_client import CHANNELS, DISCOVERY_SECONDS, LOST_AFTER_SECONDS, FrameClient
from node_parts import PARTS
from node_report import NOTHING, OURS, agreement, copy_bandwidth, moved_bytes, print_report, print_rounds
from node_under_test import ENVIRONMENTS, NEEDS_SENSOR_MSGS_PY, NODES, SLOW
from rclpy.executors import SingleThreadedExecutor
from rclpy.qos import QoSProfile
from sensor_msgs.msg import Image, PointCloud2

from depth_anything_ros.bench.timing import Timing, as_json
from depth_anything_ros.demo.processes import private_graph
from depth_anything_ros.system.malloc import keep_freed_memory

WARM_UP = 5
"""Uncounted turns at the start."""
SETTLING_SECONDS = 0.003
"""After the answers, for the node's work after publishing."""
RARELY = 20
"""A slow node has one turn in this many."""
STOP_SECONDS = 30.0
ATTEMPTS = 3
POLL_SECONDS = 2.0
"""Maximum seconds for a first image's answer, before another image is sent."""
CLIENT_NAMESPACE = "/node_benchmark"


class TurnsClient(FrameClient):
    """Sends one image to one node, and keeps the node's latest answers."""

    def __init__(self, width: int, height: int, encoding: str, namespace: str) -> None:
        # Reliable: without this package's profile, clouds would not arrive whole otherwise.
        super().__init__(width, height, QoSProfile(depth=2), encoding, namespace=namespace)
        self.answers: dict[str, Image | PointCloud2] = {}

    def _receive(self, output: str, message: Image | PointCloud2) -> None:
        super()._receive(output, message)
        self.answers[output] = message


@dataclass
class NodeUnderTest:
    """A node's process, its client here, and the cost of each frame in seconds."""

    name: str
    process: subprocess.Popen[str]
    client: TurnsClient
    executor: SingleThreadedExecutor
    costs: list[float] = field(default_factory=list)

    @classmethod
    def start(cls, name: str, args: argparse.Namespace) -> NodeUnderTest:
        """Start a node.

        Args:
            name: a key of `NODES`.
            args: size and encoding of the images.
        """
        namespace = f"{CLIENT_NAMESPACE}_{os.getpid()}_{list(NODES).index(name)}"
        command = [sys.executable, str(Path(__file__).with_name("node_under_test.py")), name]
        command += ["--width", str(args.width), "--height", str(args.height)]
        command += ["--ros-args", "-r", f"__ns:={namespace}", "--log-level", "warn"]
        changed = os.environ | ENVIRONMENTS.get(name, {})
        environment = {variable: value for variable, value in changed.items() if value}
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment)
        client, executor = TurnsClient(args.width, args.height, args.encoding, namespace), SingleThreadedExecutor()
        executor.add_node(client)
        return cls(name, process, client, executor)

    def wait(self) -> None:
        """Wait for the first answer; images sent before discovery are lost. Raises RuntimeError if none arrives."""
        deadline = time.monotonic() + DISCOVERY_SECONDS
        while time.monotonic() < deadline:
            if self._spin(self.client.is_connected, POLL_SECONDS):
                self.client.send()
                if self._spin(self.client.has_answer, POLL_SECONDS):
                    return
        raise RuntimeError(f"{self.name}: no answer within {DISCOVERY_SECONDS:g} s")

    def _spin(self, condition: Callable[[], bool], seconds: float) -> bool:
        deadline = time.monotonic() + seconds
        while not condition() and time.monotonic() < deadline:
            self.executor.spin_once(timeout_sec=0.1)
        return condition()

    def take_turn(self) -> None:
        """Measure one frame. A lost one is sent again, uncounted. Raises RuntimeError if all `ATTEMPTS` are lost."""
        for _ in range(ATTEMPTS):
            before = processor_seconds(self.process.pid)
            self.client.send()
            if self._spin(self.client.has_answer, LOST_AFTER_SECONDS):
                time.sleep(SETTLING_SECONDS)
                self.costs.append(processor_seconds(self.process.pid) - before)
                return
        raise RuntimeError(f"{self.name}: {ATTEMPTS} frames in a row were lost")

    def end(self) -> dict[str, list[float]]:
        """End the process, and return its seconds by part."""
        answer, _ = self.process.communicate("", timeout=STOP_SECONDS)
        self.executor.shutdown()
        self.client.destroy_node()
        return json.loads(answer) if answer.strip() else {}

    def stop(self) -> None:
        """End the process if it still runs. A killed one leaves its shared memory behind."""
        if not self.process.stdin.closed:
            self.process.stdin.close()
        try:
            self.process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()


def processor_seconds(process: int) -> float:
    """Return the processor time of another process, over all its threads, in seconds with nanosecond resolution."""
    return time.clock_gettime((~process << 3) | 2)  # CPUCLOCK_SCHED of a process, as in clock_getcpuclockid(3)


def main() -> int:
    """Measure, print tables, write JSON."""
    args = _arguments()
    with tempfile.TemporaryDirectory() as folder:
        private_graph(Path(folder))
        return _run(args)


def _run(args: argparse.Namespace) -> int:
    keep_freed_memory()
    names = list(NODES) if args.node is None else [OURS, NOTHING, *args.node]
    names = [name for name in NODES if name in names]
    if find_spec("sensor_msgs_py") is None:
        print(f"left out, since sensor_msgs_py is missing: {', '.join(NEEDS_SENSOR_MSGS_PY)}", file=sys.stderr)
        names = [name for name in names if name not in NEEDS_SENSOR_MSGS_PY]
    rclpy.init(args=[])
    reports = []
    try:
        for _ in range(args.rounds):
            reports.append(_round(names, args))
            print_report(reports[-1])
    except (RuntimeError, OSError, subprocess.TimeoutExpired) as error:
        print(f"benchmarks/node.py: {error}", file=sys.stderr)
        return 1
    finally:
        rclpy.try_shutdown()
    if args.rounds > 1:
        print_rounds(reports)
    if args.json:
        args.json.write_text(json.dumps(reports[0] if args.rounds == 1 else reports, indent=2))
    return 0


def _round(names: Sequence[str], args: argparse.Namespace) -> dict:
    """Start every node in a new process, and measure them in turns."""
    nodes: list[NodeUnderTest] = []
    try:
        nodes += [NodeUnderTest.start(name, args) for name in names]
        return _measure(nodes, args)
    finally:
        for node in nodes:
            node.stop()


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--width", type=int, default=640, help="of the image (default: %(default)s)")
    parser.add_argument("--height", type=int, default=480, help="of the image (default: %(default)s)")
    parser.add_argument("--encoding", choices=list(CHANNELS), default="bgr8", help="of the images (default: bgr8)")
    parser.add_argument(
        "--node",
        action="append",
        choices=list(NODES),
        help=f"measure this one with {OURS!r} and {NOTHING!r}; repeatable (default: all)",
    )
    parser.add_argument("--frames", type=int, default=200, help="for each node (default: %(default)s)")
    parser.add_argument(
        "--rounds",
        type=int,
        default=1,
        help="repeat with new processes, whose memory lies elsewhere, and print the medians (default: %(default)s)",
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the results here: a list for several rounds")
    return parser.parse_args()


def _measure(nodes: Sequence[NodeUnderTest], args: argparse.Namespace) -> dict:
    for node in nodes:
        node.wait()
    for turn in range(WARM_UP + args.frames):
        for node in nodes:
            if node.name not in SLOW or turn % RARELY == WARM_UP:
                node.take_turn()
    answers = {node.name: node.client.answers for node in nodes}
    costs = {node.name: node.costs for node in nodes}
    parts = {node.name: node.end() for node in nodes}
    counted = {name: 0 if name in SLOW else WARM_UP for name in costs}
    bandwidth = copy_bandwidth(args.width * args.height)
    moved = moved_bytes(args.width, args.height, CHANNELS[args.encoding])
    return {
        "image": [args.height, args.width],
        "encoding": args.encoding,
        "milliseconds": as_json({name: Timing.of(values[counted[name] :]) for name, values in costs.items()}),
        "parts_milliseconds": {
            name: {part: 1e3 * float(np.median(seconds[part][counted[name] :])) for part in PARTS}
            for name, seconds in parts.items()
        },
        "moved_bytes": moved,
        "copy_bytes_per_second": bandwidth,
        "copy_limit_milliseconds": 1e3 * moved / bandwidth,
        "agreement": agreement(answers),
    }


if __name__ == "__main__":
    sys.exit(main())
