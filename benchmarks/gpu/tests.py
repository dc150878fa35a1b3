"""The tests marked `gpu`, as pytest runs them here; each is told when it ends, so that none is lost with the rest."""

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
"""Where such tests are; others would be imported for nothing, and some of them need ROS."""
LINE = re.compile(r"^(?:test/)?(\S+?\.py::.+?) (PASSED|FAILED|ERROR|SKIPPED)\b")
RESERVE = 3.0
"""Seconds that are kept for the end."""


def run(place: StepContext, results: Results) -> None:
    """See the module. In a dry run they are collected, and skip."""
    outcomes: list[str] = []
    for number, file in enumerate(FILES):  # by themselves: one that crashes takes no other with it
        seconds = (results.seconds_left - RESERVE) / (len(FILES) - number)
        outcomes += _run_file(file, max(5.0, seconds), results)
    good = np.array([sum(outcome in ("PASSED", "SKIPPED") for outcome in outcomes)])
    said = f"{good[0]} of {len(outcomes)}"
    results.judge("there are tests, and none fails", good, lambda count: (count[0] == len(outcomes) > 0, said))
    if not place.is_dry:
        skipped = outcomes.count("SKIPPED")
        results.check("no test is skipped", not skipped, f"{skipped} are; logs.txt says why")


def _run_file(file: str, seconds: float, results: Results) -> list[str]:
    """How each of a file's tests ended, for so many seconds."""
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
    name = f"pytest ends well and in time, {file}"
    results.check(name, status == 0, f"status {status} after {len(outcomes)} tests")
    return outcomes
