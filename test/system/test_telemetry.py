"""No library that the package loads sends telemetry."""

from __future__ import annotations

import os
import selectors
import shutil
import subprocess
import sys
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

import pytest

from depth_anything_ros.system.telemetry import OPT_OUT, REPORTER, opt_out

LIMIT = 120.0
"""Seconds that ONNX Runtime is given to report where it may; it takes about ten."""

ESTIMATE = """
import sys
import numpy
from depth_anything_ros.runtime.estimator import Estimator
for backend in sys.argv[1:]:
    Estimator("tiny", backend, precision="fp32", threads=1).estimate(numpy.zeros((140, 182, 3), numpy.uint8))
print("ready", flush=True)
sys.stdin.read()
"""
"""Runs the backends named, then waits until its input ends."""


def environment(home: Path, **changes: str) -> dict[str, str]:
    """A user's environment: a home folder, no telemetry switches and no marks of continuous integration."""
    home.mkdir(exist_ok=True)
    own = {name: os.environ[name] for name in ("PATH", "PYTHONPATH", "LD_LIBRARY_PATH") if name in os.environ}
    return {**own, "HOME": str(home), "DEPTH_ANYTHING_ROS_CACHE": str(home.parent / "models"), **changes}


def output_of(program: str, home: Path, **changes: str) -> str:
    result = subprocess.run(
        [sys.executable, "-c", program], env=environment(home, **changes), capture_output=True, text=True, timeout=LIMIT
    )
    assert result.returncode == 0, result.stderr
    return result.stdout.strip()


class Watched:
    """A process under strace, whose network use is logged and rejected before a byte leaves."""

    CALLS = "connect,sendto,sendmsg,sendmmsg"

    def __init__(self, backends: list[str], environment: dict[str, str]) -> None:
        self.notes, notes = os.pipe()
        trace = [
            *("strace", "-f", "-qq", "--seccomp-bpf", "-e", "signal=none", "-o", f"/proc/self/fd/{notes}"),
            *("-e", f"trace=socket,{self.CALLS}", "-e", f"inject={self.CALLS}:error=ENETUNREACH"),
        ]
        self.process = subprocess.Popen(
            [*trace, sys.executable, "-c", ESTIMATE, *backends],
            env=environment,
            pass_fds=[notes],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        os.close(notes)

    def __enter__(self) -> Watched:
        assert self.process.stdout.readline() == "ready\n"
        return self

    def __exit__(self, *_: object) -> None:
        self.end()
        os.close(self.notes)

    def end(self) -> None:
        self.process.stdin.close()
        self.process.wait(LIMIT)

    def wait_for_use(self) -> str:
        """Return the first line about an internet socket; "" if there is none within `LIMIT`."""
        with selectors.DefaultSelector() as selector:
            selector.register(self.notes, selectors.EVENT_READ)
            text = ""
            while selector.select(LIMIT):
                piece = os.read(self.notes, 1 << 16).decode(errors="replace")
                text += piece
                lines = [line for line in text.splitlines() if "AF_INET" in line]
                if lines or not piece:
                    return lines[0] if lines else ""
        return ""


@pytest.fixture
def strace() -> None:
    if shutil.which("strace") is None:
        pytest.skip("strace is not installed")
    if subprocess.run(["strace", "-f", "--seccomp-bpf", "true"], capture_output=True).returncode:
        pytest.skip("strace may not trace here")


def test_backends_use_no_network(strace, tmp_path):
    if tuple(map(int, version("onnxruntime").split(".")[:2])) < (1, 29):
        pytest.skip("ONNX Runtime reports from 1.29 on")
    backends = ["onnxruntime", *(["openvino"] if find_spec("openvino") else [])]
    allowed = environment(tmp_path / "other", ORT_DISABLE_TELEMETRY="0")
    with Watched(backends, environment(tmp_path / "home")) as ours, Watched(["onnxruntime"], allowed) as other:
        if not other.wait_for_use():
            pytest.skip("this build of ONNX Runtime reports nothing even if it is asked to")
        ours.end()
        assert ours.wait_for_use() == ""
    assert list((tmp_path / "home").iterdir()) == []


def test_inference_leaves_home_folder_empty(tmp_path):
    home = tmp_path / "home"
    backend = subprocess.run(
        [sys.executable, "-c", ESTIMATE, "onnxruntime"], env=environment(home), input="", text=True, timeout=LIMIT
    )
    assert backend.returncode == 0
    assert list(home.iterdir()) == []


@pytest.mark.parametrize(
    ("package", "module", "is_off"),
    [
        ("nncf", "nncf.telemetry.wrapper", "type(module.telemetry).__name__ != 'NNCFTelemetry'"),
        ("openvino", "openvino.tools.ovc.telemetry_utils", "module.tm.__name__ != 'openvino_telemetry'"),
        ("huggingface_hub", "huggingface_hub.constants", "module.HF_HUB_DISABLE_TELEMETRY"),
        ("ray", "ray._common.usage.usage_lib", "not module.usage_stats_enabled()"),
    ],
)
def test_opt_out_disables_telemetry_of_each_package(package, module, is_off, tmp_path):
    if find_spec(package) is None:
        pytest.skip(f"{package} is not installed")
    program = (
        f"import importlib, depth_anything_ros; module = importlib.import_module({module!r}); print(bool({is_off}))"
    )
    assert output_of(program, tmp_path / "home") == "True"
    assert not (tmp_path / "home" / "intel").exists()


def test_user_who_enabled_telemetry_keeps_it(tmp_path):
    chosen = {"ORT_DISABLE_TELEMETRY": "0", "RAY_USAGE_STATS_ENABLED": "1"}
    environment, modules = dict(chosen), {}
    (tmp_path / "intel").mkdir()
    (tmp_path / "intel" / REPORTER).write_text("1")
    opt_out(environment, modules, tmp_path)
    assert environment == {**OPT_OUT, **chosen}
    assert modules == {}
    (tmp_path / "intel" / REPORTER).write_text("0")
    opt_out(environment, modules, tmp_path)
    assert modules == {REPORTER: None}
