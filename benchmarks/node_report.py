"""The report of `node.py`: the copy limit, the agreement of the nodes, and tables."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence

import numpy as np
from node_parts import PARTS
from node_under_test import NODES
from sensor_msgs.msg import Image, PointCloud2

POOL_BYTES = 256 << 20
"""Size of the pool of copies: no cache holds it, just as no cache holds a camera's last frame."""
OURS, NOTHING = "ours", "nothing"


def moved_bytes(width: int, height: int, channels: int) -> int:
    """Return the bytes that rclpy makes a node write for a frame, at least.

    The image is parsed from shared memory, and then becomes a Python message. Depth and cloud are each written once,
    serialized once, and copied to shared memory once.

    Args:
        width: Width of the image.
        height: Height of the image.
        channels: bytes per pixel of the image.
    """
    image, depth, cloud = channels * width * height, 4 * width * height, 16 * width * height
    return 2 * image + 3 * (depth + cloud)


def copy_bandwidth(pixels: int) -> float:
    """Return the bytes per second that one core copies in blocks of a cloud's size."""
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
    """Return the maximum relative difference of depth and cloud from ours, where both are finite, by node."""
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
    valid = np.isfinite(values) & np.isfinite(reference)
    return float(np.max(np.abs(values - reference)[valid] / np.maximum(np.abs(reference[valid]), 1e-2), initial=0.0))


def print_report(report: dict) -> None:
    """Print the tables."""
    height, width = report["image"]
    costs, parts = report["milliseconds"], report["parts_milliseconds"]
    ours, nothing = costs[OURS]["p50"], costs[NOTHING]["p50"]
    print(f"image {width}x{height}, {report['encoding']}; processor time of the node's process per frame, in turns,")
    print("without the model")
    print("own: the time above the node that computes nothing")
    print(f"{'':18}{'p50 ms':>8}{'p95 ms':>8}{'to ours':>9}{'own ms':>8}{'to ours':>9}{'frames':>8}  implementation")
    for name, cost in costs.items():
        own = cost["p50"] - nothing
        print(
            f"{name:18}{cost['p50']:8.2f}{cost['p95']:8.2f}{cost['p50'] / ours:9.2f}"
            f"{own:8.2f}{own / (ours - nothing):9.2f}{cost['count']:8}  {NODES[name]}"
        )
    print("\nits parts, medians in ms, of the thread that does them; the rest is the executor and other threads")
    print(f"{'':26}" + "".join(f"{name:>18}" for name in parts))
    for part in PARTS:
        print(f"{part:26}" + "".join(f"{entry[part]:18.2f}" for entry in parts.values()))
    rest = {name: costs[name]["p50"] - sum(entry.values()) for name, entry in parts.items()}
    print(f"{'the rest':26}" + "".join(f"{value:18.2f}" for value in rest.values()))
    limit = report["copy_limit_milliseconds"]
    print(
        f"\ncopy limit: {report['moved_bytes'] / 1e6:.1f} MB at {report['copy_bytes_per_second'] / 1e9:.1f} GB/s are "
        f"{limit:.2f} ms, {100 * limit / ours:.0f} % of ours; no node in rclpy can take less than "
        f"{nothing:.2f} ms, {100 * nothing / ours:.0f} %"
    )
    print("outputs differ from ours by at most: " + ", ".join(f"{k} {v:.1e}" for k, v in report["agreement"].items()))


def print_rounds(reports: Sequence[dict]) -> None:
    """Print each node's own work relative to ours, in each round and as the median."""
    print(f"\nown work relative to ours, in {len(reports)} rounds")
    for name in reports[0]["milliseconds"]:
        if name in (OURS, NOTHING):
            continue
        ratios = [_own(report, name) / _own(report, OURS) for report in reports]
        print(f"{name:18}{np.median(ratios):8.2f}   " + " ".join(f"{ratio:.2f}" for ratio in ratios))


def _own(report: dict, name: str) -> float:
    costs = report["milliseconds"]
    return costs[name]["p50"] - costs[NOTHING]["p50"]
