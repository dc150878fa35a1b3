"""A depth node's process ends within two seconds of SIGINT or SIGTERM in every state, with status 0."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
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
from encoded_images import image_message
from known_models import write_constant_model
from lifecycle import reach
from lifecycle_msgs.msg import State, Transition
from lifecycle_msgs.srv import ChangeState
from waiting import limit, load_factor

from depth_anything_ros.zoo.catalog import known_models

SECONDS = 2.0
PROGRAM = ("-m", "depth_anything_ros.ros.depth_node")
SIGNALS = [signal.SIGINT, signal.SIGTERM]


def shared_memory(process: int) -> set[Path]:
    """The Fast DDS segments that a process has mapped, its own and those of its peers."""
    maps = Path(f"/proc/{process}/maps")
    words = maps.read_text().split() if maps.exists() else []
    return {Path(word) for word in words if word.startswith("/dev/shm/fastrtps_") and "_port" not in word}


class NodeProcess:
    """A depth node in its own process, with all lines of its output."""

    def __init__(self, namespace: str, *parameters: str, program: Sequence[str] = PROGRAM, level: str = "info") -> None:
        options = [*(word for parameter in parameters for word in ("-p", parameter)), "--log-level", level]
        command = [sys.executable, "-u", *program, "--ros-args", "-r", f"__ns:={namespace}", *options]
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
            found = self._changed.wait_for(lambda: any(text in line for line in self.lines), limit(PATIENCE))
        assert found, "".join(self.lines)

    def end(self, *numbers: int, on_and_on: bool = False, in_order: bool = True) -> None:
        """Send the signals, once or until the process has ended, and check the time and the exit status.

        A process that ends ``in_order`` leaves no shared memory behind.
        """
        segments = shared_memory(self.process.pid) - shared_memory(os.getpid())
        started = time.monotonic()
        for number in numbers:
            self.process.send_signal(number)
        try:
            while on_and_on and self.process.poll() is None and time.monotonic() < started + limit(PATIENCE):
                self.process.send_signal(numbers[0])
                time.sleep(0.003)
            self.process.wait(limit(PATIENCE))
        finally:
            self.process.kill()
        seconds = time.monotonic() - started
        self._reader.join(PATIENCE)
        output = "".join(self.lines)
        assert self.process.returncode == 0, output
        assert "Traceback" not in output
        assert seconds < SECONDS * load_factor(), output
        assert not in_order or not any(segment.exists() for segment in segments), output


@pytest.fixture
def start(context) -> Callable[..., tuple[NodeProcess, Client]]:
    started: list[tuple[NodeProcess, Client]] = []

    def start(
        name: str, *parameters: str, listens_to: tuple[str, ...] = (), level: str = "info"
    ) -> tuple[NodeProcess, Client]:
        namespace = f"/signals_{os.getpid()}_{name}_{len(started)}"
        node = NodeProcess(namespace, *parameters, level=level)
        started.append((node, Client(listens_to, context=context, namespace=namespace)))
        return started[-1]

    yield start
    for node, client in started:
        node.process.kill()
        client.destroy_node()


def quick(tmp_path: Path) -> str:
    return f"model:={write_constant_model(tmp_path / 'quick.onnx', np.full((4, 6), 2.0), nominal_scale=(1.0, 0.0))}"


TAKES_A_SIGNAL = """
import signal, sys, threading
from rclpy.node import Node
from depth_anything_ros.ros.process.runner import run_node

class Taker(Node):
    autostarts = True
    def start(self):
        print("takes it", flush=True)
        signal.pthread_kill(threading.get_ident(), signal.{name})

sys.exit(run_node("taker", lambda: Taker("taker")))
"""


@pytest.mark.parametrize("number", SIGNALS)
def test_signal_taken_by_other_thread_ends_process(number):
    """The kernel gives it to whoever comes first, which on a busy machine is a thread that starts another."""
    program = TAKES_A_SIGNAL.format(name=number.name)
    node = NodeProcess("/signals_taken", program=("-c", program))
    node.wait_for_line("takes it")
    started = time.monotonic()
    node.process.wait(limit(PATIENCE))
    assert time.monotonic() - started < SECONDS * load_factor()
    node.end()


@pytest.mark.parametrize("number", SIGNALS)
@pytest.mark.parametrize("library", ["cv2", "rclpy"])
def test_signal_during_imports_ends_process(number, library):
    begin = "import sys; from depth_anything_ros.ros.entry_points import depth_node; sys.exit(depth_node())"
    node = NodeProcess("/signals_importing", program=("-X", "importtime", "-c", begin))
    node.wait_for_line(f" {library}.")  # of its first part, long before all of it
    node.end(number)
    assert not any(line.endswith(" depth_anything_ros.ros.depth_node.node\n") for line in node.lines)


@pytest.mark.parametrize("number", SIGNALS)
def test_signal_while_unconfigured_ends_process(start, tmp_path, number):
    node, _ = start("unconfigured", quick(tmp_path), "autostart:=false")
    node.wait_for_line("publishes nothing until configured")
    node.end(number)


@pytest.mark.parametrize("milliseconds", [0, 60, 120, 250, 500])
def test_repeated_signals_during_start_end_process(start, tmp_path, milliseconds):
    """A library that loads may be at work in a thread when the interpreter ends, and another signal come then."""
    node, _ = start("starting", quick(tmp_path), "threads:=1")
    node.wait_for_line("")
    time.sleep(milliseconds / 1000)
    node.end(SIGNALS[milliseconds // 10 % 2], on_and_on=True)


@pytest.mark.parametrize("number", SIGNALS)
def test_signal_during_slow_model_load_ends_process(start, tmp_path, number):
    """Each of the passes that learn the map's size, fill the gate's reference and judge takes seconds."""
    slow = write_constant_model(tmp_path / "slow.onnx", np.full((4, 6), 2.0), slowness=400)
    node, client = start("loading", f"model:={slow}", "threads:=1")
    client.spin_until(lambda: client.count_publishers("/diagnostics"), "the node")
    node.end(number)
    assert not any("publishes" in line for line in node.lines)


def test_signal_during_engine_build_ends_process(start, tmp_path, monkeypatch):
    if not known_models()["tiny"].files:
        pytest.skip("no bundled model")
    monkeypatch.setenv("DEPTH_ANYTHING_ROS_CACHE", str(tmp_path))
    node, _ = start("building", "backend:=onnxruntime", "precision:=int8")
    node.wait_for_line("building engine")
    node.end(signal.SIGINT)
    assert not any("publishes" in line for line in node.lines)


def test_signal_during_transition_ends_process(start, tmp_path):
    """The executor waits in the service's callback."""
    slow = write_constant_model(tmp_path / "slow.onnx", np.full((4, 6), 2.0), slowness=400)
    node, client = start("transition", f"model:={slow}", "threads:=1", "autostart:=false", level="debug")
    node.wait_for_line("publishes nothing until configured")
    service = client.create_client(ChangeState, "depth_node/change_state")
    client.spin_until(service.service_is_ready, "the service")
    service.call_async(ChangeState.Request(transition=Transition(id=Transition.TRANSITION_CONFIGURE)))
    node.wait_for_line("is not available")  # of one of the backends that are tried
    node.end(signal.SIGTERM)


@pytest.mark.parametrize("number", SIGNALS)
def test_signal_after_failed_transition_ends_process(start, tmp_path, number):
    node, client = start("failed", f"model:={tmp_path / 'absent.onnx'}", "autostart:=false")
    reach(client, Transition.TRANSITION_CONFIGURE, State.PRIMARY_STATE_UNCONFIGURED)
    node.end(number)


def test_signal_while_finalized_ends_process(start, tmp_path):
    node, client = start("finalized", quick(tmp_path), "autostart:=false")
    reach(client, Transition.TRANSITION_UNCONFIGURED_SHUTDOWN, State.PRIMARY_STATE_FINALIZED)
    node.end(signal.SIGINT)


@pytest.mark.parametrize("number", SIGNALS)
def test_signal_while_inactive_ends_process(start, tmp_path, number):
    node, client = start("inactive", quick(tmp_path))
    node.wait_for_line("publishes /")
    reach(client, Transition.TRANSITION_DEACTIVATE, State.PRIMARY_STATE_INACTIVE)
    node.end(number)


@pytest.mark.parametrize("number", SIGNALS)
def test_signal_while_idle_ends_process(start, tmp_path, number):
    node, _ = start("idle", quick(tmp_path))
    node.wait_for_line("publishes /")
    node.end(number)


@pytest.mark.parametrize("numbers", [[signal.SIGINT], [signal.SIGTERM, signal.SIGINT, signal.SIGTERM]])
def test_signal_during_slow_frame_ends_process(start, tmp_path, numbers):
    slow = write_constant_model(tmp_path / "slow.onnx", np.full((4, 6), 2.0), slowness=20, nominal_scale=(1.0, 0.0))
    node, client = start(
        "busy", f"model:={slow}", "threads:=1", "backend:=onnxruntime", listens_to=("inverse_depth/image",)
    )
    node.wait_for_line("publishes /")
    client.publish_until("inverse_depth/image", image_message(picture(4, 6), "rgb8"))
    client.publish_image(image_message(picture(4, 6), "rgb8"))
    node.end(*numbers, in_order=False)
