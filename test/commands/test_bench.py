"""`bench` on real backends: complete reports, and survival of crashing candidates. No time is judged."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("openvino", reason="one of the backends that are compared: the extra `openvino`")
pytest.importorskip("onnx", reason="counts operations, and quantizes")

from waiting import limit

from depth_anything_ros.bench import timed_backend
from depth_anything_ros.bench.candidates import select
from depth_anything_ros.bench.measurement import back_to_back, fixed_rate
from depth_anything_ros.bench.process import ChildDiedError, ChildProcess
from depth_anything_ros.bench.report import missing_speedup_of
from depth_anything_ros.bench.timing import Timing
from depth_anything_ros.cli import main
from depth_anything_ros.runtime.backends import BACKENDS
from depth_anything_ros.runtime.backends.interface import BackendChoice
from depth_anything_ros.runtime.errors import UnavailableError
from depth_anything_ros.runtime.estimator import Estimator

SHORT = ("--seconds", "0.2", "--rounds", "1")
ONNXRUNTIME_FP32 = ("--backend", "onnxruntime", "--precision", "fp32")


@pytest.fixture(autouse=True)
def _cache(tmp_path, monkeypatch):
    monkeypatch.setenv("DEPTH_ANYTHING_ROS_CACHE", str(tmp_path / "cache"))


@pytest.fixture(name="customise")
def code_of_every_child(tmp_path, monkeypatch):
    """Return a function that takes Python code for every later process to run first."""

    def customise(code: str) -> None:
        (tmp_path / "sitecustomize.py").write_text(code)
        monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), *sys.path]))

    return customise


QUICK_PEAK = """
from depth_anything_ros.bench import gemm
gemm.SIDES = (64,)
gemm.find_spec = lambda name: None
"""
"""Small products, and NumPy's alone: for tests of something else than the processor's peak."""


class Clock:
    """A clock that advances only when somebody works or sleeps."""

    def __init__(self, work: float) -> None:
        self.now, self.work, self.slept = 100.0, work, 0.0

    def __call__(self) -> float:
        return self.now

    def frame(self) -> None:
        self.now += self.work

    def sleep(self, seconds: float) -> None:
        assert seconds > 0
        self.slept += seconds
        self.now += seconds


def test_fixed_rate_fast_worker_gets_every_frame():
    clock = Clock(work=0.125)
    result = fixed_rate(clock.frame, 4.0, 2.0, clock, clock.sleep)
    assert result.ages == [0.125] * 8
    assert (result.dropped, result.seconds) == (0, 2.0)
    assert clock.slept == 7 * 0.125


def test_fixed_rate_slow_worker_takes_newest_frame():
    """Frames due at 0, 0.25 ... 1.75, each 0.625 s of work: those of 0, 0.5, 1.25 and 1.75 are worked on.

    Done at 0.625, 1.25, 1.875 and 2.5.
    """
    clock = Clock(work=0.625)
    result = fixed_rate(clock.frame, 4.0, 2.0, clock, clock.sleep)
    assert result.ages == [0.625, 0.75, 0.625, 0.75]
    assert (result.dropped, result.seconds) == (4, 2.5)


def test_fixed_rate_repeats_sleep_that_ends_early():
    clock = Clock(work=0.125)
    result = fixed_rate(clock.frame, 4.0, 1.0, clock, lambda seconds: clock.sleep(min(seconds, 0.0625)))
    assert result.ages == [0.125] * 4


def test_back_to_back_measures_at_least_a_few_frames():
    clock = Clock(work=2.0)
    assert back_to_back(clock.frame, 1.0, clock) == 6.0
    assert back_to_back(clock.frame, 7.0, clock) == 8.0


def test_timing_percentiles_are_in_milliseconds():
    timing = Timing.of(np.arange(101) / 1e3)
    assert (timing.p50, timing.p95, timing.p99, timing.count) == pytest.approx((50, 95, 99, 101))


def test_timed_backend_keeps_unavailable_reason(monkeypatch):
    """Also where nothing is loaded before the first image, as with a model of several sizes."""
    for name, entry in BACKENDS.items():
        monkeypatch.setitem(BACKENDS, name, entry)  # as it is, and again after the test

    def answer() -> str:
        with pytest.raises(UnavailableError) as raised:
            Estimator("tiny", "onnxruntime:tensorrt")
        return str(raised.value)

    if Path("/dev/nvidia0").exists():
        pytest.skip("needs a machine without an NVIDIA GPU")
    plain = answer()
    timed_backend.register()
    assert answer() == plain


def test_compiling_candidates_run_only_by_name():
    chosen, _ = select([], ["fp32"], has_graphs=True, has_weights=True)
    assert BackendChoice("onnxruntime", "fp32") in chosen
    assert not any("compile" in choice.backend for choice in chosen)


def test_candidates_unsupported_by_model_are_reported():
    chosen, absent = select(["torch", "openvino"], [], has_graphs=True, has_weights=False)
    assert {choice.backend for choice in chosen} == {"openvino"}
    assert "checkpoint" in absent["torch"]


@pytest.mark.parametrize("names", [(["onnx"], []), ([], ["fp8"]), (["torch"], ["int8"])])
def test_unknown_backend_or_precision_raises(names):
    with pytest.raises(ValueError, match=r"unknown|offers"):
        select(*names, has_graphs=True, has_weights=True)


@pytest.mark.parametrize(
    ("times", "said"),
    [
        ({"tensorrt fp16": 1.0, "tensorrt fp32": 2.0}, ""),
        (
            {"tensorrt fp16": 2.0, "tensorrt mixed": 1.0, "tensorrt fp32": 2.0},
            "tensorrt fp16 takes 2.00 ms and fp32 2.00",
        ),
        ({"tensorrt fp16": 2.0, "onnxruntime:cuda fp32": 2.0}, ""),
        ({"openvino bf16": 2.0, "openvino fp32": 2.0}, ""),
    ],
    ids=["faster", "not faster", "of another backend", "on the processor"],
)
def test_fp16_not_faster_than_fp32_is_reported(times, said):
    rows = [
        {"backend": name.split()[0], "precision": name.split()[1], "latency_ms": {"model": {"p50": ms}}}
        for name, ms in times.items()
    ]
    found = missing_speedup_of(rows)
    assert found.startswith(said)
    assert bool(found) == bool(said)
    assert "mixed" not in found


def test_bench_measures_two_backends_on_bundled_model(tmp_path, customise, capfd):
    customise("from depth_anything_ros.bench import gemm\ngemm.SIDES = (256,)\n")  # a peak is not judged
    file, page = tmp_path / "bench.json", tmp_path / "bench.md"
    backends = ["--backend", "onnxruntime", "--backend", "openvino", "--backend", "openvino:npu", "--precision", "fp32"]
    arguments = ["bench", *SHORT, *backends, "--precision", "fp16", "--image", "240x320", "--threads", "2"]
    assert main([*arguments, "--json", str(file), "--markdown", str(page)]) == 0
    summary = json.loads(file.read_text())
    assert (summary["model"], summary["image"], summary["network"]) == ("tiny", [240, 320], [140, 182])
    assert (summary["threads"], summary["random_weights"], summary["reference"]) == (2, False, "onnxruntime fp32")
    assert summary["flops"] == pytest.approx(2.3e9, rel=0.01)
    measured = summary["gemm_gflops"]["measured"]
    assert len(measured) == 3  # before, between and after
    assert summary["gemm_gflops"]["best"] == max(max(speeds.values()) for speeds in measured)
    assert list(summary["not_here"]) == ["openvino:npu fp16"]
    assert {(row["backend"], row["precision"]) for row in summary["contenders"]} == {
        ("onnxruntime", "fp32"),
        ("openvino", "fp32"),
    }
    for row in summary["contenders"]:
        check_measured(row)
        assert row["gate"]["correlation"] > 0.9999
        assert row["ratio"]["whole"] > 0
        assert 0 < row["share_of_gemm"] == pytest.approx(row["model_gflops"] / summary["gemm_gflops"]["best"])
    printed = capfd.readouterr()
    for words in ("openvino fp32", "onnxruntime fp32", "frames/s", "peak MiB", "passes", "not here: openvino:npu"):
        assert words in printed.out
    assert "round 1 of 1" in printed.err
    assert "| openvino fp32 |" in page.read_text()


def check_measured(row) -> None:
    assert row["status"] == "measured"
    latency = row["latency_ms"]
    assert 0 < latency["pre"]["p50"] <= latency["pre"]["p95"] <= latency["pre"]["p99"] < latency["whole"]["p99"]
    assert latency["model"]["p50"] < latency["whole"]["p50"]
    assert len({latency[part]["count"] for part in ("pre", "model", "post", "whole")}) == 1
    assert row["frames_per_second"] > 0
    fixed = row["fixed_rate"]
    assert fixed["age_ms"]["count"] + fixed["dropped"] == fixed["due"] == 6
    assert 0 < fixed["rate"] <= 30.001
    assert row["memory_mib"]["before"] < row["memory_mib"]["resident"] <= row["memory_mib"]["peak"]
    assert row["load_seconds"] > 0


def test_bench_measures_random_weights_beside_transformers(tmp_path, customise, capsys):
    pytest.importorskip("torch")
    pytest.importorskip("transformers")
    customise(QUICK_PEAK)
    file = tmp_path / "bench.json"
    arguments = [
        "bench",
        "--encoder",
        "tiny",
        "--size",
        "42x56",
        *SHORT,
        *ONNXRUNTIME_FP32,
        "--transformers",
        "--threads",
        "1",
    ]
    assert main([*arguments, "--json", str(file)]) == 0
    summary = json.loads(file.read_text())
    assert (summary["random_weights"], summary["network"]) == (True, [42, 56])
    assert {row["backend"] for row in summary["contenders"]} == {"onnxruntime", "transformers"}
    for row in summary["contenders"]:
        check_measured(row)
    assert "random weights: for speed only" in capsys.readouterr().out
    assert not (tmp_path / "cache").exists()  # what noise leaves in the cache goes with it


def test_bench_reports_crashed_and_rejected_candidates(tmp_path, customise, capsys):
    """A library that aborts the process, and a gate that nothing passes in int8."""
    (tmp_path / "openvino").mkdir()
    (tmp_path / "openvino" / "__init__.py").write_text("import os\nos.write(2, b'cannot go on\\n')\nos.abort()\n")
    customise(
        "from depth_anything_ros.runtime import gate\n"
        "gate.LIMITS['int8'] = gate.Limits(correlation=2.0, abs_rel=0.0, worst=0.0)\n" + QUICK_PEAK
    )
    file = tmp_path / "bench.json"
    backends = ["--backend", "onnxruntime", "--backend", "openvino", "--precision", "fp32", "--precision", "int8"]
    assert main(["bench", *SHORT, *backends, "--json", str(file)]) == 0
    rows = {(row["backend"], row["precision"]): row for row in json.loads(file.read_text())["contenders"]}
    assert rows["onnxruntime", "fp32"]["status"] == "measured"
    for precision in ("fp32", "int8"):
        crashed = rows["openvino", precision]
        assert (crashed["status"], crashed["latency_ms"]) == ("failed", None)
        assert crashed["reason"] == "its process died of SIGABRT: cannot go on"
    refused = rows["onnxruntime", "int8"]
    assert (refused["status"], refused["latency_ms"]) == ("refused", None)
    assert "is below 2" in refused["reason"]
    assert refused["first_start_seconds"] >= refused["build_seconds"] > 0
    printed = capsys.readouterr().out
    assert "openvino fp32 failed: its process died of SIGABRT" in printed
    assert "onnxruntime int8 refused: correlation" in printed


def test_child_death_between_commands_is_detected():
    job = {"job": "candidate", "backend": "onnxruntime", "precision": "fp32", "model": "tiny", "record": None}
    child = ChildProcess({**job, "size": [140, 182], "image": [48, 64], "threads": None})
    assert child.ask({"do": "memory"})["peak"] > 0
    os.kill(child.pid, signal.SIGKILL)
    with pytest.raises(ChildDiedError, match="SIGKILL"):
        child.ask({"do": "memory"})
    child.stop()


def test_interrupted_bench_prints_measured_rows(tmp_path, customise):
    customise(QUICK_PEAK)
    file = tmp_path / "bench.json"
    arguments = ["bench", "--seconds", "0.2", "--rounds", "1000", *ONNXRUNTIME_FP32, "--json", str(file)]
    command = [sys.executable, "-m", "depth_anything_ros", *arguments]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        for line in process.stderr:
            if line.startswith("round 2"):
                break
        process.send_signal(signal.SIGINT)
        printed, errors = process.communicate(timeout=limit(60))
    assert process.returncode == 130, errors
    assert "Traceback" not in errors
    assert "onnxruntime fp32" in printed
    assert json.loads(file.read_text())["contenders"][0]["status"] == "measured"


def test_bench_names_missing_model(capsys):
    assert main(["bench", "absent.onnx"]) == 1
    assert "absent.onnx" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [(["--encoder", "vits"], "--size"), (["tiny", "--encoder", "vits"], "give only one")],
)
def test_bench_rejects_contradicting_options(arguments, words, capsys):
    assert main(["bench", *arguments]) == 1
    assert words in capsys.readouterr().err


def test_transformers_candidate_matches_estimator():
    """With the same table of positions, on which the two disagree, see test_model_parity."""
    torch = pytest.importorskip("torch")
    pytest.importorskip("transformers")
    from random_models import with_table

    from depth_anything_ros.bench.transformers_candidate import TransformersCandidate
    from depth_anything_ros.model.checkpoints import load_checkpoint
    from depth_anything_ros.runtime.estimator import Estimator
    from depth_anything_ros.zoo.catalog import BUNDLED_FOLDER

    ours = Estimator("tiny", "torch", size=(140, 182))
    weights = BUNDLED_FOLDER / "tiny.safetensors"
    candidate = TransformersCandidate(weights, ours.record, (140, 182))
    with torch.no_grad():
        with_table(candidate.network, load_checkpoint(weights).pretrained.position_embedding(10, 13))
    image = np.random.default_rng(0).integers(0, 256, (240, 320, 3), dtype=np.uint8)
    theirs = candidate.estimate(image, out=np.empty((240, 320), np.float32))
    expected = ours.estimate(image)
    assert np.abs(theirs - expected).max() < 1e-4 * expected.max()
    assert len(candidate.runs) == 1
