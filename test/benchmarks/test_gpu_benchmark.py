"""The GPU benchmark: a failure in one step is reported, and the other steps still run."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from processes import descendants
from waiting import limit, wait_until

REPOSITORY = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(REPOSITORY))

from benchmarks.gpu.parts import correlated, faster, near, part  # noqa: E402
from benchmarks.gpu.report import Outcome, page  # noqa: E402
from benchmarks.gpu.results import Results  # noqa: E402
from benchmarks.gpu.steps import STEPS  # noqa: E402

NAMES = [step.name for step in STEPS]


def run(output: Path, minutes: float, fault: str) -> tuple[int, list[dict], str]:
    """Run all steps with a fault planted in each; return the status, the outcomes and the page."""
    command = [sys.executable, "-m", "benchmarks.gpu", "--dry-run", "--output", str(output), "--minutes", str(minutes)]
    command += ["--plant", *(f"{name}={fault}" for name in NAMES)]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, timeout=limit(120), check=False)
    return done.returncode, json.loads((output / "report.json").read_text()), (output / "report.md").read_text()


def test_failed_step_is_reported_and_next_step_runs(tmp_path):
    status, outcomes, text = run(tmp_path, 5, "raise")
    assert status == 1
    assert [outcome["name"] for outcome in outcomes] == NAMES
    assert {outcome["ended"] for outcome in outcomes} == {"failed"}
    assert text.count("PlantedError: planted") == len(NAMES)


def test_hanging_step_is_stopped_and_next_step_runs(tmp_path):
    status, outcomes, text = run(tmp_path, 0.06, "hang")
    assert status == 1
    assert [outcome["name"] for outcome in outcomes] == NAMES
    assert {outcome["ended"] for outcome in outcomes} == {"out of time"}
    assert text.count("ended by its time limit") == len(NAMES)


def test_results_before_fault_are_kept(tmp_path):
    results = Results(tmp_path / "step.json", 10)
    results.add("Rates", model="vits", rate=3.0)
    with part(results, "another thing"):
        raise RuntimeError("CUDA error: an illegal memory access\nand more")
    results.check("a third", True)
    found = json.loads((tmp_path / "step.json").read_text())
    assert found["tables"] == {"Rates": [{"model": "vits", "rate": 3.0}]}
    assert [check["passed"] for check in found["checks"]] == [False, True]
    text = page([Outcome("step", "A step", "failed", 1.0, "Traceback", found)], is_dry=False)
    assert "**This step failed**" in text
    assert "| vits | 3 |" in text
    assert "**failed**: another thing: RuntimeError: CUDA error: an illegal memory access" in text


@pytest.mark.parametrize("judged", [correlated, near])
def test_wrong_values_fail_check(judged, tmp_path):
    values = np.random.default_rng(0).random((6, 8))
    limits = {correlated: 0.9, near: 0.1}
    assert verdicts(tmp_path, values, judged(values, limits[judged])) == [True, False]


def verdicts(folder: Path, values: np.ndarray, judged) -> list[bool]:
    """Return a dry run's verdicts on values, and on the same values with a planted fault."""
    right = Results(folder / "right.json", 10, is_dry=True)
    right.judge("values", values, judged)
    planted = Results(folder / "wrong.json", 10, is_wrong=True)
    planted.judge("values", values, judged)
    return [check["passed"] for check in [*right.checks, *planted.checks]]


def test_half_precision_without_gain_fails_check(tmp_path):
    """As where a builder builds float32 in its place."""
    assert verdicts(tmp_path, np.array([1.0, 2.0]), faster(1.3)) == [True, False]
    assert verdicts(tmp_path, np.array([1.0, 1.1]), faster(1.3)) == [False, False]


def test_numpy_numbers_are_written_as_json(tmp_path):
    results = Results(tmp_path / "step.json", 10)
    results.add("Rates", rate=np.float32(2.5), count=np.int64(3), device=tmp_path)
    results.add("Rates", rate=1.0)
    assert json.loads((tmp_path / "step.json").read_text())["tables"]["Rates"][0]["rate"] == 2.5


def started(output: Path, work: Path, *words: str) -> subprocess.Popen:
    command = [sys.executable, "-m", "benchmarks.gpu", "--dry-run", "--output", str(output), "--work", str(work)]
    return subprocess.Popen(
        [*command, "--plant", "machine=hang", *words],
        cwd=REPOSITORY,
        stdout=subprocess.PIPE,
        text=True,
    )


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_killed_benchmark_leaves_report_and_no_process(tmp_path, number):
    process = started(tmp_path / "out", tmp_path / "work", "--only", "machine", "box")
    report = tmp_path / "out" / "report.md"
    wait_until(
        lambda: report.exists() and "This step was still running" in report.read_text(), "the report of a step at work"
    )
    steps = descendants(process.pid)
    assert steps
    process.send_signal(number)
    process.communicate(timeout=limit(30))
    wait_until(lambda: not steps & descendants(os.getpid()), "the end of the step")
    text = report.read_text()
    assert ("was still running" if number == signal.SIGKILL else "was stopped from outside") in text
    assert "Not started: The model in the box." in text
    assert json.loads((tmp_path / "out" / "report.json").read_text())[0]["name"] == "machine"
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["logs.txt", "report.json", "report.md"]


def test_report_shows_where_step_hung(tmp_path):
    process = started(tmp_path / "out", tmp_path / "work", "--only", "machine", "--minutes", "0.1")
    told, _ = process.communicate(timeout=limit(60))
    assert process.returncode == 1
    text = (tmp_path / "out" / "report.md").read_text()
    assert "in wait" in text
    assert "This step was ended by its time limit" in told, "what is printed comes back where files do not"


def test_fault_for_unknown_step_is_rejected(tmp_path):
    process = started(tmp_path / "out", tmp_path / "work", "--plant", "machines=hang")
    process.communicate(timeout=limit(30))
    assert process.returncode == 2


def test_check_that_never_fails_is_reported_in_dry_run(tmp_path):
    results = Results(tmp_path / "step.json", 10, is_dry=True)
    results.judge("values", np.ones(3), lambda values: (True, "always"))
    assert [check["passed"] for check in results.checks] == [True, False]
