"""Tests the depth node under the faults of a robot: recovery, memory leaks, and wrong frames.

    python benchmarks/soak.py [--minutes 10] [--seed 0] [--json FILE]

The real node runs in its own process, a camera at 30 images per second in another, and this process listens. Faults
follow each other in random order, each for one or two seconds. Every output must have the stamp of a valid image, once,
and exactly the depth of that image. The exit status is 0 if all of these hold:

- all outputs were correct;
- depth and cloud returned within 5 s of the end of each fault;
- memory grew by at most 5 MiB after the warm-up, threads and file descriptors not at all;
- the node ended with status 0 when requested.

The warm-up lasts at least a minute, and until each fault has happened once: the largest image, for instance, takes
memory that is kept. Memory is compared in the same state of the node: cleaned up, configured, and working for a few
seconds on normal images. The memory in between is printed.
"""

from __future__ import annotations

import argparse
import json
import math
import random
import signal
import sys
import tempfile
import threading
import time
from pathlib import Path

import rclpy
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.signals import SignalHandlerOptions
from soak_bench import SCALE, FaultError, expect_depth, restore
from soak_client import SentImages, SoakClient
from soak_control import Control
from soak_faults import FAULTS
from soak_pattern import write_model
from soak_processes import HERE, Child
from soak_report import Event, Reporter
from soak_watch import Watch

from depth_anything_ros.demo.processes import private_graph
from depth_anything_ros.system.malloc import keep_freed_memory

START_SECONDS = 60.0
WARM_UP, CALM = 60.0, 10.0
"""Minimum seconds before memory counts; seconds without faults, whose second half counts."""
NAMESPACE = "/soak"


class SoakBench:
    """The processes and the client; see `soak_bench.Bench`."""

    def __init__(self, folder: Path, seed: int) -> None:
        self.random = random.Random(seed)
        self.crashed = -math.inf
        self.model = write_model(folder / "red.onnx")
        self._folder, self._sent_file = folder, folder / "sent"
        self._sent_file.touch()
        parameters = {
            "model": self.model,
            "backend": "onnxruntime",  # fp32, whose results are known exactly
            "precision": "fp32",
            "threads": 1,
            "scale.a": SCALE[0],
            "scale.b": SCALE[1],
        }
        pairs = [part for name, value in parameters.items() for part in ("-p", f"{name}:={value}")]
        node = ["-m", "depth_anything_ros.ros.depth_node", "--ros-args", "-r", f"__ns:={NAMESPACE}", *pairs]
        self.node = Child(folder / "node.txt", *node)
        self.client = SoakClient(SentImages(self._sent_file), NAMESPACE)
        self.client.scales = [SCALE]
        self.control = Control(self.client)
        self._executor = SingleThreadedExecutor()
        self._executor.add_node(self.client)
        self._spinner = threading.Thread(target=self._spin, daemon=True)
        self._spinner.start()
        self.start_camera()

    def _spin(self) -> None:
        try:
            self._executor.spin()
        except ExternalShutdownException:
            return

    def start_camera(self) -> None:
        """Start a new camera with normal behavior."""
        self.camera = self._start("soak_camera.py", str(self._sent_file))

    def start_listener(self, seconds: float) -> Child:
        """Start a listener that takes ``seconds`` for a cloud."""
        return self._start("soak_listener.py", str(seconds))

    def _start(self, script: str, *arguments: str) -> Child:
        log = self._folder / f"{script}.txt"
        return Child(log, str(HERE / script), *arguments, "--ros-args", "-r", f"__ns:={NAMESPACE}")

    def wait_for_start(self) -> None:
        """Wait for the first depth and cloud. Raises `FaultError`."""
        deadline = time.monotonic() + START_SECONDS
        while not (self.client.latest["points"] and self.client.latest["depth/image_rect"]):
            if self.node.process.poll() is not None or time.monotonic() > deadline:
                raise FaultError(f"the node did not start:\n{self.node.last_output()}\n{self.camera.last_output()}")
            time.sleep(0.1)
        if not self.control.wait(START_SECONDS):
            raise FaultError("the node's services did not appear")

    def close(self) -> int | None:
        """End all processes, and return the node's exit status."""
        status = self.node.end(signal.SIGINT)
        self.camera.end()
        self._executor.shutdown()
        self._spinner.join()
        self.client.destroy_node()
        return status


def main() -> int:
    """Run faults until the time is over, and report."""
    args = _arguments()
    seconds = args.seconds or 60 * args.minutes
    with tempfile.TemporaryDirectory(prefix="depth_anything_ros_soak_") as name:
        folder = Path(name)
        private_graph(folder)
        keep_freed_memory()
        rclpy.init(args=[], signal_handler_options=SignalHandlerOptions.NO)
        bench = SoakBench(folder, args.seed)
        try:
            bench.wait_for_start()
            reporter = _soak(bench, args, seconds)
        except FaultError as error:
            print(f"benchmarks/soak.py: {error}", file=sys.stderr)
            bench.close()
            return 1
        except BaseException:
            bench.close()
            raise
        finally:
            if sys.exc_info()[0] is not None:
                rclpy.try_shutdown()
        bench.client.sent.read()
        reporter.end(bench.close())
        rclpy.try_shutdown()
        report = reporter.report()
    reporter.print_report(report)
    if args.json:
        args.json.write_text(json.dumps(report, indent=2))
    return 0 if report["holds"] else 1


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--minutes", type=float, default=10.0, help="duration (default: %(default)g)")
    parser.add_argument("--seconds", type=float, help="duration, instead of --minutes")
    parser.add_argument("--seed", type=int, default=0, help="of the faults' order")
    parser.add_argument("--faults", nargs="+", choices=list(FAULTS), metavar="NAME", help="only these (default: all)")
    parser.add_argument("--growth", type=float, default=5.0, help="MiB by which memory may grow (default: %(default)g)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the results here")
    return parser.parse_args()


def _soak(bench: SoakBench, args: argparse.Namespace, seconds: float) -> Reporter:
    """Run faults until the time is over, with a calm phase after the warm-up and at the end."""
    started = time.monotonic()
    watch = Watch(bench.node.process.pid, started)
    reporter = Reporter(bench.client, watch, started, args.growth)
    warm_up, calm = min(WARM_UP, seconds / 4), min(CALM, seconds / 8)
    names: list[str] = []
    cycles = 0
    while (now := time.monotonic() - started) < seconds - calm and bench.node.process.poll() is None:
        if not reporter.is_warm and now >= warm_up and ((cycles and not names) or now >= seconds / 2):
            _calm(bench, reporter, started, calm)
            reporter.set_baseline(calm / 2)
            continue
        if not names:
            names = list(args.faults or FAULTS)
            bench.random.shuffle(names)
            cycles += 1
        reporter.add(_undergo(bench, names.pop(), started))
        _rest(bench.random.uniform(0.2, 1.0), reporter)
    _calm(bench, reporter, started, calm)
    watch.close()
    reporter.set_end(calm / 2)
    return reporter


def _calm(bench: SoakBench, reporter: Reporter, started: float, seconds: float) -> None:
    """Bring the node into the state for memory measurements."""
    reporter.add(_undergo(bench, "cleaned up", started))
    _rest(seconds, reporter)


def _rest(seconds: float, reporter: Reporter) -> None:
    deadline = time.monotonic() + seconds
    while (left := deadline - time.monotonic()) > 0:
        time.sleep(min(left, 0.5))
        reporter.tick()


def _undergo(bench: SoakBench, name: str, started: float) -> Event:
    """Run one fault, from its start until depth has returned."""
    began = time.monotonic() - started
    try:
        FAULTS[name](bench, bench.random.uniform(0.5, 2.0))
        recovery = expect_depth(bench)
    except (FaultError, TimeoutError, OSError) as error:
        try:
            restore(bench)
        except (TimeoutError, OSError) as second:
            error = f"{error}; and the normal state could not be restored: {second}"
        output = ""
        if bench.node.process.poll() is not None:
            output = f"; the node's last output: {bench.node.last_output()}"
        return Event(name, began, None, f"{error}{output}")
    return Event(name, began, recovery, None)


if __name__ == "__main__":
    sys.exit(main())
