"""The tests marked `gpu`, as pytest runs them here."""

from __future__ import annotations

import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import numpy as np

from benchmarks.gpu.results import Results
from benchmarks.gpu.steps import Place

ROOT = Path(__file__).resolve().parent.parent.parent
FILES = ("test/test_tensorrt_gpu.py", "test/test_stages.py", "test/test_gpu_machine.py")
"""Where such tests are; others would be imported for nothing, and some of them need ROS."""


def run(place: Place, results: Results) -> None:
    """See the module. In a dry run they are collected, and skip."""
    report = place.folder / "junit.xml"
    files = [file for file in FILES if (ROOT / file).exists()]
    command = [sys.executable, "-m", "pytest", "-m", "gpu", "-p", "no:cacheprovider", "-p", "no:xdist", "-rs"]
    command += [f"--junitxml={report}", *files]
    limit = max(5.0, results.seconds_left - 2)
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=limit, check=False)
    print(done.stdout + done.stderr)
    outcomes = _outcomes(report)
    for name, outcome, said in outcomes:
        results.add("Tests", test=name, outcome=outcome, said=said)
    failed = [name for name, outcome, _ in outcomes if outcome in ("failure", "error")]
    results.check("pytest ends well", done.returncode == 0, done.stdout[-300:])
    good = np.array([len(outcomes) - len(failed)])
    said = ", ".join(failed) or "none fails"
    results.judge("there are tests, and none fails", good, lambda count: (count[0] == len(outcomes) > 0, said))
    skipped = [said for _, outcome, said in outcomes if outcome == "skipped"]
    if not place.is_dry:
        results.check("no test is skipped", not skipped, "; ".join(dict.fromkeys(skipped)))


def _outcomes(report: Path) -> list[tuple[str, str, str]]:
    """Of each test: its name, how it ended, and what it said."""
    found = []
    for case in ElementTree.parse(report).iter("testcase"):
        ended = next((child for child in case if child.tag in ("failure", "error", "skipped")), None)
        said = "" if ended is None else (ended.get("message") or "").splitlines()[0]
        found.append((case.get("name"), "passed" if ended is None else ended.tag, said))
    return found
