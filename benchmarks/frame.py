"""Measures the cost of a frame: the network, all the rest from message received to both published, and memory.

    python benchmarks/frame.py [--model M] [--width 640] [--height 480] [--frames 200] [--backend B] [--precision P]
                               [--threads N] [--json FILE]

The real depth node runs here. Another process (`frame_client.py`) publishes images, and subscribes to depth image and
cloud over DDS. It sends one frame at a time, so that no frame waits in a queue. Times are medians and 95th percentiles.
Ratios are relative to the total, and survive a change of the clock rate.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import rclpy
from rclpy.executors import SingleThreadedExecutor
from rclpy.parameter import Parameter

from depth_anything_ros.bench import timed_backend
from depth_anything_ros.bench.timing import Timing, as_json, table
from depth_anything_ros.commands.backend_arguments import add_backend_arguments
from depth_anything_ros.ros.depth_node.node import DepthNode
from depth_anything_ros.runtime.estimator import Estimator, ModelError
from depth_anything_ros.system.cpu_cores import usable_cores
from depth_anything_ros.system.malloc import keep_freed_memory
from depth_anything_ros.system.memory import resident_mebibytes
from depth_anything_ros.system.package_share import use_fast_dds_profile

WARM_UP = 10
"""Uncounted frames at the start."""
NETWORK, REST, TOTAL = "network", "everything else", "received to both published"
RESIZING, PUBLISHING = "  of it: resizing, in and out", "  of it: depth, cloud, packing, publishing"
ROUND_TRIP = "round trip at the client, over DDS"
MAX_FRAMES = 990
"""With the warm-up frames, the capacity of the node's statistics."""


@dataclass(frozen=True)
class Exchange:
    """Seconds of each frame, processor seconds of the node's process, and the number of lost frames.

    ``network``: only the graph; ``estimation``: image to map at the image's size; ``total``: received to published.
    """

    network: list[float]
    estimation: list[float]
    total: list[float]
    round_trip: list[float]
    processor_seconds: float
    lost: int


def main() -> int:
    """Measure, print a table, write JSON."""
    args = _arguments()
    use_fast_dds_profile()
    keep_freed_memory()
    rclpy.init(args=[])
    try:
        bare_memory = resident_mebibytes()
        timed_backend.register()
        estimator = Estimator(args.model, args.backend, args.record, threads=args.threads, precision=args.precision)
        exchange = _exchange(estimator, args)
    except (ModelError, RuntimeError, OSError, ValueError) as error:
        print(f"benchmarks/frame.py: {error}", file=sys.stderr)
        return 1
    finally:
        rclpy.try_shutdown()
    memory = {
        "before the model": bare_memory,
        "with node and model": resident_mebibytes(),
        "peak": resident_mebibytes(peak=True),
    }
    timings = {
        NETWORK: Timing.of(exchange.network),
        REST: Timing.of(np.subtract(exchange.total, exchange.network)),
        RESIZING: Timing.of(np.subtract(exchange.estimation, exchange.network)),
        PUBLISHING: Timing.of(np.subtract(exchange.total, exchange.estimation)),
        TOTAL: Timing.of(exchange.total),
        ROUND_TRIP: Timing.of(exchange.round_trip),
    }
    processor_milliseconds = 1e3 * exchange.processor_seconds / (WARM_UP + args.frames)
    network_size = estimator.input_size_for(args.height, args.width)
    print(f"{estimator.provenance}; image {args.width}x{args.height}, network {network_size[1]}x{network_size[0]}")
    print(table(timings, TOTAL))
    print(f"processor time {processor_milliseconds:.1f} ms per frame on {usable_cores()} cores; {exchange.lost} lost")
    print("resident memory, MiB: " + ", ".join(f"{name} {size:.0f}" for name, size in memory.items()))
    if args.json:
        report = {
            "model": estimator.record.name,
            "provenance": estimator.provenance,
            "image": [args.height, args.width],
            "network": list(network_size),
            "threads": args.threads,
            "milliseconds": {name.strip(): timing for name, timing in as_json(timings).items()},
            "processor_milliseconds": processor_milliseconds,
            "lost": exchange.lost,
            "memory_mebibytes": memory,
        }
        args.json.write_text(json.dumps(report, indent=2))
    return 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--model", default="tiny", metavar="M", help="name or .onnx file (default: tiny)")
    add_backend_arguments(parser)
    parser.add_argument("--width", type=int, default=640, help="of the image (default: %(default)s)")
    parser.add_argument("--height", type=int, default=480, help="of the image (default: %(default)s)")
    parser.add_argument("--frames", type=int, default=200, help=f"at most {MAX_FRAMES} (default: 200)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the results here")
    args = parser.parse_args()
    if not 1 <= args.frames <= MAX_FRAMES:
        parser.error(f"--frames is {args.frames}, must be 1 to {MAX_FRAMES}")
    return args


def _exchange(estimator: Estimator, args: argparse.Namespace) -> Exchange:
    """Run node and client until the client has its frames. Raises RuntimeError if the client fails."""
    # A private namespace: the benchmark may run next to a robot's nodes.
    namespace = f"/frame_benchmark_{os.getpid()}"
    scale = [Parameter("scale.a", value=1.0), Parameter("scale.b", value=0.05)]
    node = DepthNode(estimator, namespace=namespace, parameter_overrides=scale)
    node.start()
    executor = SingleThreadedExecutor()
    executor.add_node(node)
    spinning = threading.Thread(target=executor.spin, name="spin")
    spinning.start()
    try:
        trial_runs, processor_before = len(timed_backend.RUNS), time.process_time()
        answer = run_client(namespace, WARM_UP + args.frames, args)
        processor_seconds = time.process_time() - processor_before
    finally:
        executor.shutdown()
        spinning.join()
        node.destroy_node()
    return Exchange(
        network=[ended - began for began, ended in timed_backend.RUNS[trial_runs + WARM_UP :]],
        estimation=list(node.statistics.model_seconds)[WARM_UP:],
        total=list(node.statistics.total_seconds)[WARM_UP:],
        round_trip=answer["round_trip_seconds"][WARM_UP:],
        processor_seconds=processor_seconds,
        lost=answer["lost"],
    )


def run_client(namespace: str, frames: int, args: argparse.Namespace) -> dict:
    """Exchange frames with the client's process, and return its measurements.

    Args:
        namespace: Namespace of the node.
        frames: number of frames.
        args: size of the images.

    Raises:
        RuntimeError: the client failed.
    """
    client = Path(__file__).with_name("frame_client.py")
    command = [sys.executable, str(client), "--width", str(args.width), "--height", str(args.height)]
    command += ["--frames", str(frames), "--ros-args", "-r", f"__ns:={namespace}"]
    finished = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
    if finished.returncode:
        raise RuntimeError("the client failed; its output is above")
    return json.loads(finished.stdout)


if __name__ == "__main__":
    sys.exit(main())
