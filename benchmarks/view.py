"""Measures the cost of browsers for a depth node: its processor time and its rate with no viewer, one and ten.

    python benchmarks/view.py [--width 640] [--height 480] [--rate 30] [--seconds 10] [--viewers 0 1 10]

The depth node has a model of no cost. This process sends images at the rate, and subscribes to depth and cloud, as a
robot does anyway. The view node is a separate process. The viewers take every frame as soon as it comes, but draw
nothing: drawing costs the machine of the browser.
"""

from __future__ import annotations

import argparse
import asyncio
import multiprocessing
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from multiprocessing.sharedctypes import Synchronized
from pathlib import Path

import aiohttp
import rclpy
from frame_client import DISCOVERY_SECONDS, FrameClient
from node import processor_seconds
from rclpy.executors import SingleThreadedExecutor
from rclpy.qos import QoSProfile

from depth_anything_ros.demo.processes import private_graph

PORT = 8571
SETTLING_SECONDS = 3.0


@dataclass(frozen=True)
class Cost:
    """The cost of a number of viewers. Processor time in seconds per second, rates in Hz and Mbit/s of one viewer."""

    viewers: int
    depth_node: float
    view_node: float
    rate: float
    shown: float
    megabits: float


def watch(count: int, frames: Synchronized, octets: Synchronized) -> None:
    """Connect viewers and count the received frames, until this process is ended."""

    async def one(session: aiohttp.ClientSession) -> None:
        async with session.ws_connect(f"http://127.0.0.1:{PORT}/stream", max_msg_size=0) as socket:
            async for message in socket:
                if message.type == aiohttp.WSMsgType.BINARY:
                    frames.value += 1
                    octets.value += len(message.data)
                    await socket.send_str("ready")

    async def all_of_them() -> None:
        async with aiohttp.ClientSession() as session:
            await asyncio.gather(*(one(session) for _ in range(count)))

    asyncio.run(all_of_them())


class Robot:
    """Sends images at a rate, and counts the answers."""

    def __init__(self, args: argparse.Namespace, namespace: str) -> None:
        self._period = 1 / args.rate
        self._client = FrameClient(args.width, args.height, QoSProfile(depth=2), namespace=namespace)
        self._executor = SingleThreadedExecutor()
        self._executor.add_node(self._client)

    def wait(self) -> None:
        """Wait for the depth node. Raises RuntimeError if it does not appear."""
        deadline = time.monotonic() + DISCOVERY_SECONDS
        while not self._client.is_connected():
            if time.monotonic() > deadline:
                raise RuntimeError(f"no depth node within {DISCOVERY_SECONDS:g} s")
            self._executor.spin_once(timeout_sec=0.1)

    def run(self, seconds: float) -> int:
        """Send images for some seconds; return the number of frames that came back whole."""
        answered, due, end = 0, time.monotonic(), time.monotonic() + seconds
        is_open = False
        while time.monotonic() < end:
            if time.monotonic() >= due:
                self._client.send()
                due, is_open = due + self._period, True
            self._executor.spin_once(timeout_sec=max(0.0, min(due - time.monotonic(), 0.01)))
            if is_open and self._client.has_answer():
                answered, is_open = answered + 1, False
        return answered


def measure(robot: Robot, processes: list[subprocess.Popen], viewers: int, seconds: float) -> Cost:
    """Return the cost of a number of viewers."""
    context = multiprocessing.get_context("spawn")
    frames, octets = context.Value("l", 0), context.Value("l", 0)
    watching = context.Process(target=watch, args=(viewers, frames, octets), daemon=True)
    if viewers:
        watching.start()
    try:
        robot.run(SETTLING_SECONDS)
        before = [processor_seconds(process.pid) for process in processes]
        counts, began = (frames.value, octets.value), time.monotonic()
        answered = robot.run(seconds)
        passed = time.monotonic() - began
        depth_node, view_node = (
            (processor_seconds(process.pid) - used) / passed for process, used in zip(processes, before, strict=True)
        )
        each = max(viewers, 1) * passed
        shown, megabits = (frames.value - counts[0]) / each, 8e-6 * (octets.value - counts[1]) / each
    finally:
        if viewers:
            watching.terminate()
            watching.join()
    return Cost(viewers, depth_node, view_node, answered / passed, shown, megabits)


def main() -> int:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--width", type=int, default=640, help="of the images (default: %(default)s)")
    parser.add_argument("--height", type=int, default=480, help="of the images (default: %(default)s)")
    parser.add_argument("--rate", type=float, default=30.0, help="of the images in Hz (default: %(default)s)")
    parser.add_argument("--seconds", type=float, default=10.0, help="for each number of viewers (default: %(default)s)")
    parser.add_argument("--viewers", type=int, nargs="+", default=[0, 1, 10], help="(default: 0 1 10)")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        private_graph(Path(folder))
        namespace = f"/view_benchmark_{os.getpid()}"
        ros = ["--ros-args", "-r", f"__ns:={namespace}", "--log-level", "warn"]
        node = [str(Path(__file__).with_name("node_under_test.py")), "ours"]
        commands = [
            [*node, "--width", str(args.width), "--height", str(args.height), *ros],
            ["-m", "depth_anything_ros.ros.view_node", *ros, "-p", f"port:={PORT}"],
        ]
        rclpy.init(args=[])
        processes = [
            subprocess.Popen([sys.executable, *command], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL)
            for command in commands
        ]
        try:
            robot = Robot(args, namespace)
            robot.wait()
            costs = [measure(robot, processes, viewers, args.seconds) for viewers in args.viewers]
        finally:
            for process in processes:
                process.stdin.close()  # ends the depth node
            processes[1].terminate()
            for process in processes:
                process.wait()
            rclpy.try_shutdown()
    print(
        "| viewers | depth node, % of a core | view node, % of a core | frames/s of the robot | of a viewer | Mbit/s |"
    )
    print("|---|---|---|---|---|---|")
    for cost in costs:
        print(
            f"| {cost.viewers} | {100 * cost.depth_node:.1f} | {100 * cost.view_node:.1f} | {cost.rate:.1f} | "
            f"{cost.shown:.1f} | {cost.megabits:.1f} |"
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
