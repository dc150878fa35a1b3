"""The status of the nodes for the page: rates, latency, diagnostics, log lines, and the scale in use."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Mapping
from typing import Any

from diagnostic_msgs.msg import DiagnosticArray
from rcl_interfaces.msg import Log

WINDOW = 2.0
"""Seconds over which rates and latency are averaged."""
LOG_LINES = 50
LEVELS = {10: "debug", 20: "info", 30: "warn", 40: "error", 50: "fatal"}


class ViewStatus:
    """The values of the status report. The executor's thread writes them, the server's thread reads them.

    Args:
        namespace: Namespace of the reported nodes, such as "/" or "/camera".
        camera: Name of the camera whose scale is reported; "" if the depth node has only one.
        log_name: Logger of this node, whose lines are left out.
    """

    def __init__(self, namespace: str, camera: str, log_name: str) -> None:
        self._diagnostic_prefix = f"{namespace.strip('/')}/".lstrip("/")
        self._log_prefix = self._diagnostic_prefix.replace("/", ".")
        self._camera_suffix = f": {camera or 'camera'}"
        self._log_name = log_name
        self._arrivals: deque[tuple[float, float]] = deque(maxlen=300)
        self._diagnostics: dict[str, dict[str, Any]] = {}
        self._log: deque[dict[str, Any]] = deque(maxlen=LOG_LINES)

    def add_frame(self, age: float) -> None:
        """Count a frame that arrived ``age`` seconds after its stamp."""
        self._arrivals.append((time.monotonic(), age))

    def add_diagnostics(self, message: DiagnosticArray) -> None:
        """Keep the status of each part of the nodes."""
        for status in message.status:
            if status.name.startswith(self._diagnostic_prefix):
                self._diagnostics[status.name] = {
                    "level": int.from_bytes(status.level, "little"),
                    "text": status.message,
                    "values": {entry.key: entry.value for entry in status.values},
                }

    def add_log(self, message: Log) -> None:
        """Keep a log line of the nodes."""
        if message.name.startswith(self._log_prefix) and message.name != self._log_name:
            level = LEVELS.get(message.level, "info")
            self._log.append({"level": level, "text": message.msg, "time": message.stamp.sec})

    def value(self, key: str) -> str | None:
        """Return a value of the camera's diagnostics; None if it is not known."""
        for name, status in list(self._diagnostics.items()):
            if name.endswith(self._camera_suffix) and key in status["values"]:
                return status["values"][key]
        return None

    def forget_camera(self) -> None:
        """Drop the camera's diagnostics until the next ones arrive, because its scale has changed."""
        for name in [name for name in self._diagnostics if name.endswith(self._camera_suffix)]:
            del self._diagnostics[name]

    def report(self) -> Mapping[str, Any]:
        """Return the report as JSON values."""
        now = time.monotonic()
        recent = [(at, age) for at, age in list(self._arrivals) if now - at < WINDOW]
        ages = sorted(age for _, age in recent)
        return {
            "rate": len(recent) / WINDOW,
            "latency": ages[len(ages) // 2] if ages else None,
            "scale": self.value("scale"),
            "diagnostics": dict(self._diagnostics),
            "log": list(self._log),
        }
