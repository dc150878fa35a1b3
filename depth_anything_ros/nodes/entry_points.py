"""Where the nodes' processes begin: a signal may come while libraries are being imported, which takes a second."""

from __future__ import annotations

import importlib
import os
import signal
import sys

from depth_anything_ros.extras import advice


def camera_node() -> int:
    """Runs the camera node; returns the process's exit status."""
    return _run("camera_node")


def depth_node() -> int:
    """Runs the depth node; returns the process's exit status."""
    return _run("depth_node")


def camera_depth_nodes() -> int:
    """Runs both in one process; returns its exit status."""
    return _run("camera_depth_nodes")


def _run(module: str) -> int:
    """Runs a module's ``main``, which handles signals itself; until then they end the process, with status 0."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: os._exit(0))
    try:
        imported = importlib.import_module(f"depth_anything_ros.nodes.{module}")
    except ModuleNotFoundError as error:
        print(f"{module}: {error}; {advice(error.name or '')}", file=sys.stderr)
        return 1
    return imported.main()
