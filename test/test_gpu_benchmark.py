"""The GPU benchmark's entry: what goes wrong in one step is reported, and the other steps run all the same."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from waiting import limit

REPOSITORY = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(REPOSITORY))

from benchmarks.gpu.parts import correlated, near, part  # noqa: E402
from benchmarks.gpu.report import page  # noqa: E402
from benchmarks.gpu.results import Results  # noqa: E402
from benchmarks.gpu.steps import STEPS  # noqa: E402

NAMES = [step.name for step in STEPS]


def run(output: Path, minutes: float, fault: str) -> tuple[int, list[dict], str]:
    """All steps with a fault planted in each; the status, the outcomes and the page."""
    command = [sys.executable, "-m", "benchmarks.gpu", "--dry-run", "--output", str(output), "--minutes", str(minutes)]
    command += ["--plant", *(f"{name}={fault}" for name in NAMES)]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, timeout=limit(120), check=False)
    return done.returncode, json.loads((output / "report.json").read_text()), (output / "report.md").read_text()


def test_a_step_that_raises_is_reported_and_the_next_is_run(tmp_path):
    status, outcomes, text = run(tmp_path, 5, "raise")
    assert status == 1
    assert [outcome["name"] for outcome in outcomes] == NAMES
    assert {outcome["ended"] for outcome in outcomes} == {"failed"}
    assert text.count("PlantedError: planted") == len(NAMES)


def test_a_step_that_hangs_is_ended_at_its_limit_and_the_next_is_run(tmp_path):
    status, outcomes, text = run(tmp_path, 0.06, "hang")
    assert status == 1
    assert [outcome["name"] for outcome in outcomes] == NAMES
    assert {outcome["ended"] for outcome in outcomes} == {"out of time"}
    assert text.count("ended by its time limit") == len(NAMES)


def test_what_was_found_before_a_fault_stays(tmp_path):
    results = Results(tmp_path / "step.json", 10)
    results.add("Rates", model="vits", rate=3.0)
    with part(results, "another thing"):
        raise RuntimeError("CUDA error: an illegal memory access\nand more")
    results.check("a third", True)
    found = json.loads((tmp_path / "step.json").read_text())
    assert found["tables"] == {"Rates": [{"model": "vits", "rate": 3.0}]}
    assert [check["passed"] for check in found["checks"]] == [False, True]
    outcome = {"title": "A step", "ended": "failed", "seconds": 1.0, "said": "Traceback", "found": found}
    text = page([outcome], is_dry=False)
    assert "| vits | 3 |" in text
    assert "**does not hold**: another thing: RuntimeError: CUDA error: an illegal memory access" in text


@pytest.mark.parametrize("judged", [correlated, near])
def test_wrong_values_are_noticed(judged, tmp_path):
    values = np.random.default_rng(0).random((6, 8))
    limits = {correlated: 0.9, near: 0.1}
    right = Results(tmp_path / "right.json", 10, is_dry=True)
    right.judge("values", values, judged(values, limits[judged]))
    assert [check["passed"] for check in right.checks] == [True]
    planted = Results(tmp_path / "wrong.json", 10, is_wrong=True)
    planted.judge("values", values, judged(values, limits[judged]))
    assert [check["passed"] for check in planted.checks] == [False]


def test_a_check_that_notices_nothing_is_reported_in_a_dry_run(tmp_path):
    results = Results(tmp_path / "step.json", 10, is_dry=True)
    results.judge("values", np.ones(3), lambda values: (True, "always"))
    assert [check["passed"] for check in results.checks] == [True, False]
