"""The log of a command's nodes on the terminal."""

from __future__ import annotations

import os
import sys

FORMAT = "RCUTILS_CONSOLE_OUTPUT_FORMAT"
"""ROS 2's variable."""


def shorten_log_lines() -> None:
    """Leave time and logger out of the log lines on a terminal, where each is the answer to a command just typed.

    In a file, and if the user has chosen a format, they stay. Call it before `rclpy.init`.
    """
    if sys.stderr.isatty():
        os.environ.setdefault(FORMAT, "[{severity}] {message}")
