"""Entry points of the node executables. They handle signals that arrive during imports, which take a second."""

from __future__ import annotations

import importlib
import os
import signal
import sys

from depth_anything_ros.system.extras import import_problem

HELP = """\
usage: {module} [--ros-args [-p NAME:=VALUE ...] [-r FROM:=TO ...] [--params-file FILE] ...]

Runs the node until Ctrl-C. `ros2 launch depth_anything_ros {launch}` starts it with its parameters explained:
`--show-args` lists them. config/{file} and docs/node.md describe all parameters.
"""
ENTRIES = {
    "camera_node": ("camera_node.node", "camera.launch.py", "camera_node.yaml"),
    "depth_node": ("depth_node.node", "depth.launch.py", "depth_node.yaml"),
    "camera_depth_nodes": ("camera_depth_nodes", "camera.launch.py", "depth_node.yaml"),
    "view_node": ("view_node.node", "camera.launch.py", "depth_node.yaml"),
}
"""For each executable: its module in this folder, its launch file and its parameter file."""


def camera_node() -> int:
    """Run the camera node. Return the process's exit status."""
    return _run("camera_node")


def depth_node() -> int:
    """Run the depth node. Return the process's exit status."""
    return _run("depth_node")


def camera_depth_nodes() -> int:
    """Run both nodes in one process. Return its exit status."""
    return _run("camera_depth_nodes")


def view_node() -> int:
    """Run the view node. Return the process's exit status."""
    return _run("view_node")


def _run(executable: str) -> int:
    """Run a module's ``main``, which handles signals. Until then a signal ends the process with status 0."""
    module, launch, file = ENTRIES[executable]
    if {"-h", "--help"} & set(sys.argv[1:]):
        print(HELP.format(module=executable, launch=launch, file=file), end="")
        return 0
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: os._exit(0))
    try:
        imported = importlib.import_module(f"depth_anything_ros.ros.{module}")
    except ModuleNotFoundError as error:
        print(f"{executable}: {import_problem(error)}", file=sys.stderr)
        return 1
    return imported.main()
