"""The benchmarks run and say what they promise; no time is judged here."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from green_network import SIZE, write_green_network


def run(repository: Path, script: str, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(repository), os.environ.get("PYTHONPATH", "")])}
    command = [sys.executable, str(repository / "benchmarks" / script), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, env=environment, timeout=120, check=False)


def test_frame_tells_network_rest_and_memory(repository, tmp_path):
    pytest.importorskip("rclpy", reason="the benchmark runs the depth node")
    record = write_green_network(tmp_path / "green.onnx")
    report_file = tmp_path / "report.json"
    arguments = ["--model", tmp_path / "green.onnx", "--record", record, "--threads", "1", "--json", report_file]
    finished = run(repository, "frame.py", *arguments, "--frames", "8", "--width", "320", "--height", "240")
    assert finished.returncode == 0, finished.stderr
    report = json.loads(report_file.read_text())
    times = report["milliseconds"]
    assert report["lost"] == 0
    assert [timing["count"] for timing in times.values()] == [8] * 6
    assert 0 < times["network"]["p50"] < times["received to both published"]["p50"]
    # Back at the client later than published, and a frame's work is less than its whole way.
    assert times["received to both published"]["p50"] < times["round trip at the client, over DDS"]["p50"]
    assert times["everything else"]["p50"] > 0
    assert (report["image"], report["network"]) == ([240, 320], list(SIZE))
    memory = report["memory_mebibytes"]
    assert 10 < memory["before the model"] <= memory["with node and model"] <= memory["peak"]
    for words in ("network", "everything else", "p95 ms", "resident memory, MiB"):
        assert words in finished.stdout


def test_frame_names_a_model_that_is_absent(repository, tmp_path):
    pytest.importorskip("rclpy", reason="the benchmark runs the depth node")
    finished = run(repository, "frame.py", "--model", tmp_path / "absent.onnx", "--frames", "1")
    assert finished.returncode == 1
    assert "absent.onnx" in finished.stderr
    assert "Traceback" not in finished.stderr


def test_preprocessing_compares_host_and_graph(repository, tmp_path):
    report_file = tmp_path / "report.json"
    arguments = ["--image", "48x64", "--network", "28x42", "--repeats", "3", "--json", report_file]
    finished = run(repository, "preprocessing.py", *arguments)
    assert finished.returncode == 0, finished.stderr
    report = json.loads(report_file.read_text())
    assert len(report) == 5
    assert all(0 < timing["p50"] <= timing["p95"] for timing in report.values())
    for name in report:
        assert name in finished.stdout
