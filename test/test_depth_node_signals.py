"""A depth node's process ends within two seconds of SIGINT or SIGTERM, whatever it is at, with status 0."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("rclpy", reason="ROS 2 is not installed")
pytest.importorskip("onnx", reason="the test models are written with onnx")

from depth_node_graph import (
    PATIENCE,
    Client,
    picture,
    private_context,  # noqa: F401 - the fixture `context`
)
from known_models import write_constant_model
from lifecycle_msgs.srv import ChangeState
from test_depth_node_parameters import call
from test_messages import image_message

SECONDS = 2.0
SIGNALS = [signal.SIGINT, signal.SIGTERM]


class NodeProcess:
    """A depth node in a process of its own, whose lines are kept as they come."""

    def __init__(self, namespace: str, *parameters: str) -> None:
        options = [word for parameter in parameters for word in ("-p", parameter)]
        command = [sys.executable, "-u", "-m", "depth_anything_ros.nodes.depth_node", "--ros-args"]
        command += ["-r", f"__ns:={namespace}", *options]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        self._changed = threading.Condition()
        self.lines: list[str] = []
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        for line in self.process.stdout:
            with self._changed:
                self.lines.append(line)
                self._changed.notify_all()

    def wait_for_line(self, text: str) -> None:
        with self._changed:
            found = self._changed.wait_for(lambda: any(text in line for line in self.lines), PATIENCE)
        assert found, "".join(self.lines)

    def end(self, *numbers: int) -> None:
        """Sends the signals and holds the process to its promise."""
        started = time.monotonic()
        for number in numbers:
            self.process.send_signal(number)
        try:
            self.process.wait(PATIENCE)
        finally:
            self.process.kill()
        seconds = time.monotonic() - started
        self._reader.join(PATIENCE)
        output = "".join(self.lines)
        assert self.process.returncode == 0, output
        assert "Traceback" not in output
        assert seconds < SECONDS, output


@pytest.fixture
def start(context) -> Callable[..., tuple[NodeProcess, Client]]:
    started: list[tuple[NodeProcess, Client]] = []

    def start(name: str, *parameters: str, listens_to: tuple[str, ...] = ()) -> tuple[NodeProcess, Client]:
        namespace = f"/signals_{os.getpid()}_{name}_{len(started)}"
        started.append((NodeProcess(namespace, *parameters), Client(listens_to, context=context, namespace=namespace)))
        return started[-1]

    yield start
    for node, client in started:
        node.process.kill()
        client.destroy_node()


def quick(tmp_path: Path) -> str:
    return f"model:={write_constant_model(tmp_path / 'quick.onnx', np.full((4, 6), 2.0), nominal_scale=(1.0, 0.0))}"


@pytest.mark.parametrize("number", SIGNALS)
def test_while_it_waits_to_be_configured(start, tmp_path, number):
    node, _ = start("unconfigured", quick(tmp_path), "autostart:=false")
    node.wait_for_line("publishes nothing until configured")
    node.end(number)


@pytest.mark.parametrize("number", SIGNALS)
def test_while_a_model_loads_that_takes_seconds(start, tmp_path, number):
    """Each of the passes that learn the map's size, fill the gate's reference and judge takes seconds."""
    slow = write_constant_model(tmp_path / "slow.onnx", np.full((4, 6), 2.0), slowness=400)
    node, client = start("loading", f"model:={slow}", "threads:=1")
    client.spin_until(lambda: client.count_publishers("/diagnostics"), "the node")
    node.end(number)
    assert not any("publishes" in line for line in node.lines)


@pytest.mark.parametrize("number", SIGNALS)
def test_while_it_is_inactive(start, tmp_path, number):
    node, client = start("inactive", quick(tmp_path))
    node.wait_for_line("publishes /")
    assert call(client, ChangeState, "change_state", deactivation()).success
    node.end(number)


@pytest.mark.parametrize("number", SIGNALS)
def test_while_it_is_active_and_idle(start, tmp_path, number):
    node, _ = start("idle", quick(tmp_path))
    node.wait_for_line("publishes /")
    node.end(number)


@pytest.mark.parametrize("numbers", [[signal.SIGINT], [signal.SIGTERM], [signal.SIGINT, signal.SIGTERM, signal.SIGINT]])
def test_in_the_middle_of_a_frame_that_takes_seconds(start, tmp_path, numbers):
    slow = write_constant_model(tmp_path / "slow.onnx", np.full((4, 6), 2.0), slowness=60, nominal_scale=(1.0, 0.0))
    node, client = start(
        "busy", f"model:={slow}", "threads:=1", "backend:=onnxruntime", listens_to=("inverse_depth/image",)
    )
    node.wait_for_line("publishes /")
    client.wait_for_node()
    client.wait_for("inverse_depth/image", client.publish_image(image_message(picture(4, 6), "rgb8")))
    client.publish_image(image_message(picture(4, 6), "rgb8"))
    node.end(*numbers)


def deactivation() -> ChangeState.Request:
    request = ChangeState.Request()
    request.transition.label = "deactivate"
    return request
