"""What `node.py` makes of its measurements: the copy limit, whether the contenders agree, and tables."""

from __future__ import annotations

import time
from collections.abc import Mapping

import numpy as np
from node_contender import CONTENDERS
from node_parts import PARTS
from sensor_msgs.msg import Image, PointCloud2

POOL_BYTES = 256 << 20
"""Copies go round in buffers of this size, so that no cache holds them, as none holds a camera's last frame."""
OURS, NOTHING = "ours", "nothing"


def moved_bytes(width: int, height: int, channels: int) -> int:
    """Bytes that rclpy makes a node write for a frame, at the least.

    The image is parsed out of shared memory and then becomes a Python message; depth and cloud are each written once,
    serialized once, and copied into shared memory once.
    """
    image, depth, cloud = channels * width * height, 4 * width * height, 16 * width * height
    return 2 * image + 3 * (depth + cloud)


def copy_bandwidth(pixels: int) -> float:
    """Bytes a second that one core copies in pieces of a cloud's size."""
    size = 16 * pixels
    pool = np.ones((max(2, POOL_BYTES // size), size), np.uint8)
    seconds = []
    for turn in range(3 * len(pool)):
        source, target = pool[turn % len(pool)], pool[(turn + len(pool) // 2) % len(pool)]
        started = time.thread_time()
        np.copyto(target, source)
        seconds.append(time.thread_time() - started)
    return size / float(np.median(seconds))


def agreement(answers: Mapping[str, Mapping[str, Image | PointCloud2]]) -> dict[str, float]:
    """The greatest relative difference of depth and cloud from ours, where both have one, by contender."""
    reference = answers[OURS]
    result = {}
    for name, messages in answers.items():
        if name != NOTHING:
            depths = [np.frombuffer(entry["depth"].data, np.float32) for entry in (messages, reference)]
            clouds = [
                np.frombuffer(entry["points"].data, np.float32).reshape(-1, 4)[:, :3].ravel()
                for entry in (messages, reference)
            ]
            result[name] = max(_difference(*depths), _difference(*clouds))
    return result


def _difference(values: np.ndarray, reference: np.ndarray) -> float:
    known = np.isfinite(values) & np.isfinite(reference)
    return float(np.max(np.abs(values - reference)[known] / np.maximum(np.abs(reference[known]), 1e-2), initial=0.0))


def print_report(report: dict) -> None:
    """The tables."""
    height, width = report["image"]
    costs, parts = report["milliseconds"], report["parts_milliseconds"]
    ours, nothing = costs[OURS]["p50"], costs[NOTHING]["p50"]
    print(f"image {width}x{height}, {report['encoding']}; processor time of the node's process for a frame, in turns,")
    print("without the model")
    print("own: what is above the node that computes nothing, and so is its author's business")
    print(f"{'':18}{'p50 ms':>8}{'p95 ms':>8}{'to ours':>9}{'own ms':>8}{'to ours':>9}{'frames':>8}  what it is")
    for name, cost in costs.items():
        own = cost["p50"] - nothing
        print(
            f"{name:18}{cost['p50']:8.2f}{cost['p95']:8.2f}{cost['p50'] / ours:9.2f}"
            f"{own:8.2f}{own / (ours - nothing):9.2f}{cost['count']:8}  {CONTENDERS[name]}"
        )
    print("\nparts of it, medians in ms, of the thread that does them; the rest is the executor and other threads")
    print(f"{'':26}" + "".join(f"{name:>18}" for name in parts))
    for part in PARTS:
        print(f"{part:26}" + "".join(f"{entry[part]:18.2f}" for entry in parts.values()))
    rest = {name: costs[name]["p50"] - sum(entry.values()) for name, entry in parts.items()}
    print(f"{'the rest':26}" + "".join(f"{value:18.2f}" for value in rest.values()))
    limit = report["copy_limit_milliseconds"]
    print(
        f"\ncopy limit: {report['moved_bytes'] / 1e6:.1f} MB at {report['copy_bytes_per_second'] / 1e9:.1f} GB/s are "
        f"{limit:.2f} ms, {100 * limit / ours:.0f} % of what ours takes; what no node in rclpy can avoid is "
        f"{nothing:.2f} ms, {100 * nothing / ours:.0f} %"
    )
    print("outputs differ from ours by at most: " + ", ".join(f"{k} {v:.1e}" for k, v in report["agreement"].items()))
