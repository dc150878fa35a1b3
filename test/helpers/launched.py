"""Launch files in their own processes, under `ros2 launch`, and requests to them.

A test module imports the fixture by its function's name; tests request `folder`.
"""

from __future__ import annotations

import importlib.util
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import cv2
import numpy as np
import pytest
import rclpy
from ament_index_python.packages import get_package_prefix
from known_models import write_red_model
from launch import LaunchContext
from launch.action import Action
from rclpy.client import Client
from rclpy.node import Node
from waiting import limit, wait_until

from depth_anything_ros.ros.launch_arguments import check
from depth_anything_ros.system.package_share import share_directory

LAUNCH = """
import sys
from launch import LaunchDescription, LaunchService
from launch.actions import IncludeLaunchDescription
from launch.launch_description_sources import AnyLaunchDescriptionSource

arguments = [tuple(argument.split(":=", 1)) for argument in sys.argv[2:]]
service = LaunchService()
source = AnyLaunchDescriptionSource(sys.argv[1])
service.include_launch_description(LaunchDescription([IncludeLaunchDescription(source, launch_arguments=arguments)]))
sys.exit(service.run())
"""
HEIGHT, WIDTH = 42, 56


def is_installed() -> bool:
    """Return whether `ros2 run` finds the nodes, as after `make test` or `colcon build`."""
    try:
        return (Path(get_package_prefix("depth_anything_ros")) / "lib/depth_anything_ros/camera_node").is_file()
    except (LookupError, OSError):
        return False


needs_installation = pytest.mark.skipif(not is_installed(), reason="needs the package installed, as by `make test`")


@pytest.fixture(name="folder")
def images_and_model(tmp_path: Path) -> Path:
    """Two images, all red 102: inverse depth 0.4, depth 2 m by the model's nominal scale; and the model."""
    for name in ("first", "second"):
        cv2.imwrite(str(tmp_path / f"{name}.png"), np.full((HEIGHT, WIDTH, 3), (10, 20, 102), np.uint8))
    write_red_model(tmp_path / "red.onnx", (HEIGHT, WIDTH), nominal_scale=(1.0, 0.1))
    return tmp_path


def put_viewer_stand_ins(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Have launch find stand-ins for RViz, its frame and Foxglove's bridge; each writes its arguments beside itself.

    Return the folder that has them, as PACKAGE/EXECUTABLE.arguments.
    """
    index = folder / "share" / "ament_index" / "resource_index" / "packages"
    index.mkdir(parents=True)
    for name in ("rviz2/rviz2", "tf2_ros/static_transform_publisher", "foxglove_bridge/foxglove_bridge"):
        stand_in = folder / "lib" / name
        stand_in.parent.mkdir(parents=True)
        stand_in.write_text('#!/bin/sh\necho "$@" > "$0.partly"\nmv "$0.partly" "$0.arguments"\n')
        stand_in.chmod(0o755)
        (index / stand_in.parent.name).touch()
    monkeypatch.setenv("AMENT_PREFIX_PATH", f"{folder}{os.pathsep}{os.environ['AMENT_PREFIX_PATH']}")
    return folder / "lib"


def start(*arguments: str, name: str | Path = "camera") -> subprocess.Popen:
    """Start NAME.launch.py, or a file, with arguments such as `loop:=true`, in its own session."""
    launch_file = name if isinstance(name, Path) else share_directory() / "launch" / f"{name}.launch.py"
    command = [sys.executable, "-c", LAUNCH, str(launch_file), *arguments]
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True
    )


def launch_module(name: str) -> ModuleType:
    """Import NAME.launch.py."""
    path = share_directory() / "launch" / f"{name}.launch.py"
    specification = importlib.util.spec_from_file_location(f"{name}_launch", path)
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


def actions(name: str, *arguments: str) -> list[Action]:
    """Return the actions of NAME.launch.py for these arguments, or raise its error."""
    module, context = launch_module(name), LaunchContext()
    defaults = {argument.name: argument.default for argument in module.ARGUMENTS}
    context.launch_configurations.update(defaults | dict(argument.split(":=", 1) for argument in arguments))
    check(context, module.ARGUMENTS)
    return module.nodes(context)


def processes_of(session: int) -> list[int]:
    """Return the running processes of a launch's session."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rsplit(")", 1)[1].split()
        except (OSError, IndexError):  # it has ended meanwhile
            continue
        if int(fields[3]) == session and fields[0] != "Z":
            found.append(int(stat.parent.name))
    return found


def end(process: subprocess.Popen, number: int = signal.SIGINT) -> str:
    """End a launch as Ctrl-C in a terminal does, which signals the whole group; return its output."""
    if number and process.poll() is None:
        os.killpg(process.pid, number)
    try:
        output, _ = process.communicate(timeout=limit(40))
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        raise
    assert processes_of(process.pid) == []
    return output


def wait_for(node: Node, process: subprocess.Popen, condition: Callable[[], object]) -> None:
    """Spin until the condition holds; fail if the launch ends first, or at the time limit."""

    def spin() -> None:
        assert process.poll() is None, "the launch has ended"
        rclpy.spin_once(node, timeout_sec=0.1)

    wait_until(condition, "the launch", step=spin)


def answer(node: Node, process: subprocess.Popen, client: Client, request: object) -> object:
    """Return a service's response.

    A request that changes nothing is repeated after a while: a response is lost if the node has not discovered its
    client.
    """
    futures = [client.call_async(request)]
    asked = time.monotonic()

    def is_answered() -> bool:
        nonlocal asked
        if type(request).__name__.startswith("Get") and time.monotonic() > asked + 5.0:
            asked = time.monotonic()
            futures.append(client.call_async(request))
        return any(future.done() for future in futures)

    wait_for(node, process, is_answered)
    return next(future.result() for future in futures if future.done())
