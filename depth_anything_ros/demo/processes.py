"""The demo's nodes: processes on a private ROS graph, which end with the demo."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from types import TracebackType

from depth_anything_ros.system.child_process import end_with_parent
from depth_anything_ros.system.package_share import use_fast_dds_profile

SECONDS_TO_END = 5.0
"""Seconds for a node to end after SIGINT, and again after SIGTERM, before it is killed."""
LAST_LINES = 5


def private_graph(log_folder: Path) -> None:
    """Put this process and its children on a private ROS graph, by environment variables.

    Call it before ``rclpy.init``. The ports of domains 1 to 101 are below Linux's ephemeral range.
    ``log_folder`` takes ROS's logs.
    """
    os.environ["ROS_DOMAIN_ID"] = str(os.getpid() % 101 + 1)
    os.environ["ROS_AUTOMATIC_DISCOVERY_RANGE"] = "LOCALHOST"
    if os.environ.get("ROS_DISTRO") == "humble":  # it does not know the above; later releases warn of this variable
        os.environ["ROS_LOCALHOST_ONLY"] = "1"
    os.environ["ROS_LOG_DIR"] = str(log_folder)
    use_fast_dds_profile()


class NodeProcesses:
    """Runs nodes while its ``with`` block lasts, and writes the output of each to a file in ``log_folder``."""

    def __init__(self, log_folder: Path) -> None:
        self._log_folder = log_folder
        self._processes: dict[str, subprocess.Popen[bytes]] = {}

    def start(self, name: str, ros_arguments: Sequence[str]) -> None:
        """Start the node ``depth_anything_ros.ros.NAME``.

        Args:
            name: of the module, and of the log file.
            ros_arguments: after ``--ros-args``.
        """
        command = [sys.executable, "-m", f"depth_anything_ros.ros.{name}", "--ros-args", *ros_arguments]
        with self._log(name).open("wb") as log:
            self._processes[name] = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # Ctrl-C reaches only the demo, which then ends the nodes in order
                preexec_fn=partial(end_with_parent, os.getpid()),
            )

    def ended(self) -> str | None:
        """Return the last output of a node that has ended, as one line; None while all are running."""
        for name, process in self._processes.items():
            if process.poll() is not None:
                return f"{name} ended with status {process.returncode}: {self.last_output(name)}"
        return None

    def last_output(self, name: str) -> str:
        """Return the last lines of a node's output, as one line."""
        lines = self._log(name).read_text(errors="replace").splitlines()
        return " | ".join(line.strip() for line in lines[-LAST_LINES:] if line.strip()) or "no output"

    def _log(self, name: str) -> Path:
        return self._log_folder / f"{name}.txt"

    def __enter__(self) -> NodeProcesses:
        """Return itself; no node runs yet."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """End every node: by SIGINT, then SIGTERM, then SIGKILL."""
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGKILL):
            for process in self._processes.values():
                if process.poll() is None:
                    process.send_signal(number)
            for process in self._processes.values():
                try:
                    process.wait(SECONDS_TO_END)
                except subprocess.TimeoutExpired:
                    continue
