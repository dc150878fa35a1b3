"""The tests marked `gpu`, run by pytest; each result is reported at once, so that a crash loses none."""

from __future__ import annotations

import re
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np

from benchmarks.gpu.results import Results
from benchmarks.gpu.steps import StepContext

ROOT = Path(__file__).resolve().parent.parent.parent
FILES = ("test/runtime/test_tensorrt_gpu.py", "test/training/test_stages.py")
"""The files with such tests. Other files would only cost import time, and some need ROS."""
LINE = re.compile(r"^(?:test/)?(\S+?\.py::.+?) (PASSED|FAILED|ERROR|SKIPPED)\b")
RESERVE = 3.0
"""Seconds reserved for the end."""


def run(context: StepContext, results: Results) -> None:
    """Run the tests. In a dry run they are collected and skipped."""
    outcomes: list[str] = []
    for number, file in enumerate(FILES):  # separately: a crash affects only its own file
        seconds = (results.seconds_left - RESERVE) / (len(FILES) - number)
        outcomes += _run_file(file, max(5.0, seconds), results)
    good = np.array([sum(outcome in ("PASSED", "SKIPPED") for outcome in outcomes)])
    summary = f"{good[0]} of {len(outcomes)}"
    results.judge("there are tests, and none fails", good, lambda count: (count[0] == len(outcomes) > 0, summary))
    if not context.is_dry:
        skipped = outcomes.count("SKIPPED")
        results.check("no test is skipped", not skipped, f"{skipped} are; see logs.txt for the reasons")


def _run_file(file: str, seconds: float, results: Results) -> list[str]:
    """Return the outcome of each of a file's tests, within a time limit."""
    command = [sys.executable, "-m", "pytest", "-v", "--color=no", "-m", "gpu", "-rs"]
    command += ["-p", "no:cacheprovider", "-p", "no:xdist", file]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    limit = threading.Timer(seconds, process.kill)
    limit.start()
    outcomes: list[str] = []
    for line in process.stdout:
        print(line, end="", flush=True)
        if found := LINE.match(line):
            name, outcome = found.groups()
            outcomes.append(outcome)
            results.add("Tests", test=name, outcome=outcome.lower())
    status = process.wait()
    limit.cancel()
    name = f"pytest succeeds in time, {file}"
    results.check(name, status == 0, f"status {status} after {len(outcomes)} tests")
    return outcomes
