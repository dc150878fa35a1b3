"""The diagnostics of the depth nodes that run, for the doctor."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

import rclpy
from diagnostic_msgs.msg import DiagnosticArray
from rclpy.context import Context
from rclpy.executors import SingleThreadedExecutor

MODEL = ": model"
"""End of the name of one report of each depth node. The names of its other reports begin in the same way."""


def listen(seconds: float) -> Mapping[str, dict[str, Any]]:
    """Listen to /diagnostics for some seconds. Return level and message of the depth nodes' reports, by name."""
    found: dict[str, dict[str, Any]] = {}

    def keep(message: DiagnosticArray) -> None:
        for status in message.status:
            level = int.from_bytes(status.level, "little")
            found[status.name] = {"level": level, "message": status.message}

    context = Context()
    rclpy.init(context=context)
    node = rclpy.create_node("depth_anything_ros_doctor", context=context)
    executor = SingleThreadedExecutor(context=context)
    executor.add_node(node)
    try:
        node.create_subscription(DiagnosticArray, "/diagnostics", keep, 10)
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            executor.spin_once(timeout_sec=left)
    finally:
        executor.shutdown()
        node.destroy_node()
        rclpy.shutdown(context=context)
    nodes = tuple(f"{name.removesuffix(MODEL)}: " for name in found if name.endswith(MODEL))
    return {name: report for name, report in found.items() if name.startswith(nodes)}
