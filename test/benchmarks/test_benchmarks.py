"""The benchmarks run and report what they document. No time is judged here."""

from __future__ import annotations

import importlib.util
import json
import os
import platform
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from green_network import SIZE, write_green_network
from waiting import limit


def run(repository: Path, script: str, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(repository), os.environ.get("PYTHONPATH", "")])}
    command = [sys.executable, str(repository / "benchmarks" / script), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, env=environment, timeout=limit(120), check=False)


def test_frame_benchmark_reports_network_rest_and_memory(repository, tmp_path):
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


def test_frame_benchmark_names_missing_model(repository, tmp_path):
    pytest.importorskip("rclpy", reason="the benchmark runs the depth node")
    finished = run(repository, "frame.py", "--model", tmp_path / "absent.onnx", "--frames", "1")
    assert finished.returncode == 1
    assert "absent.onnx" in finished.stderr
    assert "Traceback" not in finished.stderr


def test_conversion_benchmark_reports_each_step_and_encoding(repository, tmp_path):
    report_file = tmp_path / "report.json"
    arguments = ["--sizes", "48x64", "60x80", "--network", "28x42", "--repeats", "3", "--json", report_file]
    finished = run(repository, "conversion.py", *arguments, "--encodings", "mono8", "nv12", "nv24", "rgba16")
    assert finished.returncode == 0, finished.stderr
    report = json.loads(report_file.read_text())["milliseconds"]
    assert list(report)[:4] == ["mono8 64x48", "nv12 64x48", "nv24 64x48", "rgba16 64x48"]
    assert len(report) == 8
    for steps in report.values():
        assert list(steps) == ["conversion", "to network", "rectified", "colors"]
        assert min(steps.values()) > 0
    assert "rgba16" in finished.stdout


def test_names_benchmark_measures_requested_cases(repository, tmp_path):
    report_file = tmp_path / "report.json"
    finished = run(repository, "names.py", "--names", "2000", "--only", "tree", "list", "--json", report_file)
    assert finished.returncode == 0, finished.stderr
    rows = json.loads(report_file.read_text())["rows"]
    assert [row["names"] for row in rows] == [2000, 2000]
    assert all(0 <= row["kept_mib"] <= row["peak_mib"] < 20 for row in rows)
    assert "| open a list | 2,000 |" in finished.stdout


def test_preprocessing_benchmark_compares_host_and_graph(repository, tmp_path):
    report_file = tmp_path / "report.json"
    arguments = ["--image", "48x64", "--network", "28x42", "--repeats", "3", "--json", report_file]
    finished = run(repository, "preprocessing.py", *arguments)
    assert finished.returncode == 0, finished.stderr
    report = json.loads(report_file.read_text())
    assert len(report) == 5
    assert all(0 < timing["p50"] <= timing["p95"] for timing in report.values())
    for name in report:
        assert name in finished.stdout


def test_node_benchmark_compares_with_common_approach(repository, tmp_path):
    pytest.importorskip("rclpy", reason="the benchmark runs the depth node")
    report_file = tmp_path / "report.json"
    finished = run(repository, "node.py", "--frames", "3", "--width", "160", "--height", "120", "--json", report_file)
    assert finished.returncode == 0, finished.stderr
    report = json.loads(report_file.read_text())
    nodes = set(report["milliseconds"])
    assert {"ours", "ours, unfiltered", "by hand", "nothing"} <= nodes
    assert ("usual" in nodes) == (importlib.util.find_spec("sensor_msgs_py") is not None)
    assert report["milliseconds"]["ours"]["count"] == 3
    assert all(difference < 1e-5 for difference in report["agreement"].values())
    parts = report["parts_milliseconds"]
    assert parts.keys() == nodes
    assert parts["ours"]["flying pixels"] > 0 == parts["ours, unfiltered"]["flying pixels"]
    assert parts["nothing"]["compute the cloud"] == 0 < parts["ours"]["compute the cloud"]
    assert report["moved_bytes"] == 160 * 120 * (2 * 3 + 3 * 20)
    assert report["copy_bytes_per_second"] > 1e8
    for words in ("copy limit", "publish cloud", "flying pixels", "p50 ms"):
        assert words in finished.stdout


def test_node_benchmark_skips_cases_of_missing_package(repository, tmp_path):
    pytest.importorskip("rclpy", reason="the benchmark runs the depth node")
    script = (
        "import importlib.util, sys\n"
        "find = importlib.util.find_spec\n"
        "importlib.util.find_spec = lambda name, *rest: None if name == 'sensor_msgs_py' else find(name, *rest)\n"
        f"sys.path.insert(0, {str(repository / 'benchmarks')!r})\n"
        f"sys.argv = 'node.py --frames 1 --width 32 --height 24 --json'.split() + [{str(tmp_path / 'r')!r}]\n"
        "import node\n"
        "sys.exit(node.main())\n"
    )
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(repository), os.environ.get("PYTHONPATH", "")])}
    command = [sys.executable, "-c", script]
    finished = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=limit(120), check=False)
    assert finished.returncode == 0, finished.stderr
    assert "left out, since sensor_msgs_py is missing: usual, usual, bare, lists" in finished.stderr
    assert "usual" not in json.loads((tmp_path / "r").read_text())["milliseconds"]


def test_soak_injects_faults_and_checks_every_output(repository, tmp_path):
    pytest.importorskip("rclpy", reason="the test runs the depth node")
    pytest.importorskip("onnx", reason="the test writes a model")
    report_file = tmp_path / "report.json"
    faults = ["truncated data", "disabled", "wrong parameters", "time ten seconds back", "camera killed"]
    # What memory does in so short a time says nothing.
    arguments = ["--seconds", "14", "--growth", "500", "--json", report_file, "--faults", *faults]
    finished = run(repository, "soak.py", *arguments)
    report = json.loads(report_file.read_text())
    assert report["holds"] == (finished.returncode == 0), finished.stdout + finished.stderr
    verdicts = report["verdicts"]
    for verdict in ("every fault was recovered from", "no output was wrong", "the node ended with status 0"):
        assert verdicts[verdict], finished.stdout
    # The node is cleaned up before memory is compared, whatever else it undergoes.
    assert {event["fault"] for event in report["faults"]} <= {*faults, "cleaned up"}
    assert report["received"]["depth/image_rect"] > 20
    assert report["received"]["points"] > 20
    assert report["sent"]["due"] > report["received"]["points"] / 2
    assert report["samples"][0]["threads"] > 1
    assert 0 < report["latency_milliseconds"]["p50"] <= report["latency_milliseconds"]["p99"]
    assert "resident MiB" in finished.stdout


def test_soak_detects_depth_of_other_image(repository, monkeypatch):
    monkeypatch.syspath_prepend(str(repository / "benchmarks"))
    from soak_pattern import cloud_fault, depth_fault, depth_row, image_row

    scale, stamp = (0.2, 0.02), 1_700_000_000_123_456_789
    depth = np.tile(depth_row(stamp, 640, scale), (480, 1))
    assert depth_fault(depth, stamp, scale) is None
    assert depth_fault(depth, stamp + 1, scale) is not None
    assert depth_fault(depth, stamp, (0.2, 0.0201)) is not None
    depth[479, 3] = np.nextafter(depth[479, 3], np.float32(100))
    assert depth_fault(depth, stamp, scale) is not None

    cloud = np.zeros((480, 640, 4), np.float32)
    cloud[..., 2] = depth_row(stamp, 640, scale)
    colors = np.zeros((480, 640, 4), np.uint8)
    colors[..., 2::-1] = image_row(stamp, 640)
    cloud[..., 3] = colors.view(np.float32)[..., 0]
    assert cloud_fault(cloud, 1, 640, stamp, scale) is None
    assert cloud_fault(cloud[::3, ::3], 3, 640, stamp, scale) is None
    assert cloud_fault(cloud, 1, 640, stamp + 1, scale) == "cloud is of another image"
    cloud[5, 40, 3] = 0
    assert cloud_fault(cloud, 1, 640, stamp, scale) == "cloud has the colors of another image"


SATURATES = """
import numpy as np, onnx, onnxruntime
from onnx import TensorProto, helper, numpy_helper
weights = np.full((64, 16), 127, np.int8)
value = helper.make_tensor_value_info
graph = helper.make_graph(
    [helper.make_node("MatMulInteger", ["a", "b"], ["y"])], "g",
    [value("a", TensorProto.UINT8, [4, 64])], [value("y", TensorProto.INT32, [4, 16])],
    [numpy_helper.from_array(weights, "b")],
)
model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
print("sum", session.run(None, {"a": np.full((4, 64), 255, np.uint8)})[0].max())
try:
    import openvino
    print("bf16", "BF16" in openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES"))
except ImportError:
    print("bf16 False")
from depth_anything_ros.runtime.cpu_features import processor
print("is", processor())
"""


@pytest.mark.skipif(sys.platform != "linux" or platform.machine() != "x86_64", reason="AVX-512 is of x86-64 processors")
def test_without_avx512_computes_like_avx2(repository):
    """64 products of 255 and 127: two at a time end at 32767, which VNNI and other processors do not know."""
    pytest.importorskip("onnx", reason="builds the graph that is run")
    finished = run(repository, "without_avx512.py", sys.executable, "-c", SATURATES)
    assert finished.returncode == 0, finished.stderr
    total, bf16, found = finished.stdout.splitlines()
    assert total == f"sum {32 * 32767}"
    assert bf16 == "bf16 False"
    assert found in ("is x86_64 avx2", "is x86_64")


def test_without_avx512_returns_status_of_command(repository):
    if sys.platform != "linux" or platform.machine() != "x86_64":
        pytest.skip("AVX-512 is of x86-64 processors")
    assert run(repository, "without_avx512.py", sys.executable, "-c", "raise SystemExit(7)").returncode == 7
    assert run(repository, "without_avx512.py").returncode == 2


def test_processors_benchmark_reports_each_precision(repository, tmp_path):
    pytest.importorskip("onnx", reason="builds the graph that is run")
    record = write_green_network(tmp_path / "green.onnx")
    (tmp_path / "green.record.json").write_text(Path(record).read_text())
    report_file = tmp_path / "report.json"
    words = ["--model", tmp_path / "green.onnx", "--turns", "2", "--threads", "1", "--json", report_file]
    finished = run(repository, "processors.py", *words, "--way", "as it is", "--way", "AVX2 (variables)")
    assert finished.returncode == 0, finished.stderr
    report = json.loads(report_file.read_text())
    for way in ("as it is", "AVX2 (variables)"):
        rows = {row["choice"]: row for row in report[way]["rows"]}
        assert rows["onnxruntime fp32"]["passed"]
        assert rows["onnxruntime fp32"]["against fp32"] == 1.0
        assert "refused" in rows["onnxruntime int8"]  # it has no products to quantize
    if platform.machine() == "x86_64":
        assert "avx512" not in report["AVX2 (variables)"]["processor"]


@pytest.mark.usefixtures("renderer")
def test_scenes_benchmark_reports_every_kind(repository, tmp_path):
    pytest.importorskip("numba", reason="the renderer needs numba, of the extra `train`")
    report = tmp_path / "scenes.json"
    finished = run(repository, "train/scenes.py", "--size", "32x24", "--frames", "1", "--json", report)
    assert finished.returncode == 0, finished.stderr
    seconds = json.loads(report.read_text())["seconds"]
    assert {"room", "street", "as in training"} <= set(seconds)
    assert all(row["without"] > 0 for row in seconds.values())


@pytest.mark.usefixtures("renderer")
def test_false_obstacles_benchmark_shows_what_filters_remove(repository, tmp_path):
    """Of an exact network the filter removes most of what is false, and the cloud still shows what is there."""
    pytest.importorskip("numba", reason="corridors are rendered with numba")
    finished = run(repository, "false_obstacles.py", "--model", "exact", "--corridors", "1", "--size", "240x320")
    assert finished.returncode == 0, finished.stderr
    header, _, *rows = (line.strip("| ").split(" | ") for line in finished.stdout.splitlines())
    shares = {name: dict(zip(header[1:], cells, strict=True)) for name, *cells in rows}
    assert len(shares) == 9

    def share(name: str, column: str) -> float:
        return float(shares[name][column].removesuffix(" %"))

    assert share("flying_pixels.threshold 0.05 (default)", "false, 2-4 m") < 0.5 * share("no filter", "false, 2-4 m")
    assert share("no filter", "seen, 2-4 m") == 100.0
    assert share("points.max_sigma 0.1", "false, 2-4 m") < 0.5 * share("no filter", "false, 2-4 m")
    assert share("points.max_depth 4.0", "seen, 4-8 m") < 50 < share("points.max_sigma 0.1", "seen, 4-8 m")
