"""The depth node under all that goes wrong on a robot: whether it recovers, leaks, or publishes a wrong frame.

    python benchmarks/soak.py [--minutes 10] [--seed 0] [--json FILE]

The real node runs in a process of its own, a camera at 30 images a second in another, and this one listens. Faults
come one after another in random order, each for a second or two. Every message that comes back must carry the stamp of
a sound image, once, and the very depth of that image. Exit status 0: it was so all the time; depth and cloud came again
within 5 s of the end of each fault; memory grew by 5 MiB at most after a warm-up, threads and file descriptors not at
all; and the node ended with status 0 when told to. The warm-up lasts a minute, and until each fault has happened once:
the largest image, for one, takes memory that is kept. Memory is compared in one and the same state of the node: cleaned
up, configured anew, and at work for a few seconds on usual images. What it is between is printed.
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
from soak_client import SentImages, SoakClient
from soak_control import Control
from soak_faults import FAULTS, SCALE, FaultError, expect_depth, restore
from soak_pattern import write_model
from soak_processes import HERE, Child
from soak_report import Event, Reporter
from soak_watch import Watch

from depth_anything_ros.demo.processes import private_graph
from depth_anything_ros.system.malloc import keep_freed_memory

START_SECONDS = 60.0
WARM_UP, CALM = 60.0, 10.0
"""Seconds before memory counts, at least; seconds without faults over whose latter half it is taken."""
NAMESPACE = "/soak"


class SoakBench:
    """The processes and the client, as faults find them: see `soak_faults.Bench`."""

    def __init__(self, folder: Path, seed: int) -> None:
        self.random = random.Random(seed)
        self.crashed = -math.inf
        self.model = write_model(folder / "red.onnx")
        self._folder, self._sent_file = folder, folder / "sent"
        self._sent_file.touch()
        parameters = {
            "model": self.model,
            "backend": "onnxruntime",  # fp32, whose results are known to the last bit
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
        """Starts a new camera, with sound behavior."""
        self.camera = self._start("soak_camera.py", str(self._sent_file))

    def start_listener(self, seconds: float) -> Child:
        """Starts a listener that takes so long over a cloud."""
        return self._start("soak_listener.py", str(seconds))

    def _start(self, script: str, *arguments: str) -> Child:
        log = self._folder / f"{script}.txt"
        return Child(log, str(HERE / script), *arguments, "--ros-args", "-r", f"__ns:={NAMESPACE}")

    def wait_for_start(self) -> None:
        """Until depth and cloud come for the first time. Raises `FaultError`."""
        deadline = time.monotonic() + START_SECONDS
        while not (self.client.latest["points"] and self.client.latest["depth/image_rect"]):
            if self.node.process.poll() is not None or time.monotonic() > deadline:
                raise FaultError(f"the node did not start:\n{self.node.last_words()}\n{self.camera.last_words()}")
            time.sleep(0.1)
        if not self.control.wait(START_SECONDS):
            raise FaultError("the node's services did not come")

    def close(self) -> int | None:
        """Ends everything; returns the node's exit status."""
        status = self.node.end(signal.SIGINT)
        self.camera.end()
        self._executor.shutdown()
        self._spinner.join()
        self.client.destroy_node()
        return status


def main() -> int:
    """Runs faults until the time is up and reports."""
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
    parser.add_argument("--minutes", type=float, default=10.0, help="default: %(default)g")
    parser.add_argument("--seconds", type=float, help="instead of minutes")
    parser.add_argument("--seed", type=int, default=0, help="of the faults' order")
    parser.add_argument("--faults", nargs="+", choices=list(FAULTS), metavar="NAME", help="only these; default: all")
    parser.add_argument("--growth", type=float, default=5.0, help="MiB that memory may grow by (default: %(default)g)")
    parser.add_argument("--json", type=Path, metavar="FILE")
    return parser.parse_args()


def _soak(bench: SoakBench, args: argparse.Namespace, seconds: float) -> Reporter:
    """Faults until the time is up, with a calm after the warm-up and at the end."""
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
    """The state that memory is taken in."""
    reporter.add(_undergo(bench, "cleaned up", started))
    _rest(seconds, reporter)


def _rest(seconds: float, reporter: Reporter) -> None:
    deadline = time.monotonic() + seconds
    while (left := deadline - time.monotonic()) > 0:
        time.sleep(min(left, 0.5))
        reporter.tick()


def _undergo(bench: SoakBench, name: str, started: float) -> Event:
    """One fault, from its beginning until depth has come again."""
    began = time.monotonic() - started
    try:
        FAULTS[name](bench, bench.random.uniform(0.5, 2.0))
        recovery = expect_depth(bench)
    except (FaultError, TimeoutError, OSError) as error:
        try:
            restore(bench)
        except (TimeoutError, OSError) as second:
            error = f"{error}; and nothing could be put back: {second}"
        said = f"; the node said: {bench.node.last_words()}" if bench.node.process.poll() is not None else ""
        return Event(name, began, None, f"{error}{said}")
    return Event(name, began, recovery, None)


if __name__ == "__main__":
    sys.exit(main())
