"""Where the nodes' processes begin: a signal may come while libraries are being imported, which takes a second."""

from __future__ import annotations

import importlib
import os
import signal
import sys

from depth_anything_ros.system.extras import advice

HELP = """\
usage: {module} [--ros-args [-p NAME:=VALUE ...] [-r FROM:=TO ...] [--params-file FILE] ...]

Runs the node until Ctrl-C. `ros2 launch depth_anything_ros {launch}` starts it with its parameters explained:
`--show-args` lists them. The parameter file, config/{file}, and docs/node.md tell of all.
"""
ENTRIES = {
    "camera_node": ("camera_node.node", "camera.launch.py", "camera_node.yaml"),
    "depth_node": ("depth_node.node", "depth.launch.py", "depth_node.yaml"),
    "camera_depth_nodes": ("camera_depth_nodes", "camera.launch.py", "depth_node.yaml"),
}
"""By executable: the module in this folder, the launch file that starts it, and the file of its parameters."""


def camera_node() -> int:
    """Runs the camera node; returns the process's exit status."""
    return _run("camera_node")


def depth_node() -> int:
    """Runs the depth node; returns the process's exit status."""
    return _run("depth_node")


def camera_depth_nodes() -> int:
    """Runs both in one process; returns its exit status."""
    return _run("camera_depth_nodes")


def _run(executable: str) -> int:
    """Runs a module's ``main``, which handles signals itself; until then they end the process, with status 0."""
    module, launch, file = ENTRIES[executable]
    if {"-h", "--help"} & set(sys.argv[1:]):
        print(HELP.format(module=executable, launch=launch, file=file), end="")
        return 0
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: os._exit(0))
    try:
        imported = importlib.import_module(f"depth_anything_ros.ros.{module}")
    except ModuleNotFoundError as error:
        print(f"{executable}: {error}; {advice(error.name or '')}", file=sys.stderr)
        return 1
    return imported.main()
