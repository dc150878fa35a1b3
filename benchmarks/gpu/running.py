"""Runs one step in its own process group, which ends with the step and with this process."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import IO

from benchmarks.gpu.report import NOTHING, Outcome
from benchmarks.gpu.steps import Step
from depth_anything_ros.system.child_process import end_group

ROOT = Path(__file__).resolve().parent.parent.parent
GRACE = 2.0
"""Seconds for an ended step to exit."""
EVERY = 1.0
"""Seconds between updates of a running step's findings."""


def run_step(step: Step, seconds: float, work: Path, words: Sequence[str], show: Callable[[Outcome], None]) -> Outcome:
    """Run a step within a time limit, and show its findings meanwhile.

    Args:
        step: Step to run.
        seconds: its time limit.
        work: folder of all steps.
        words: arguments of `child` in addition to the common ones.
        show: receives the findings every second.
    """
    work.mkdir(parents=True, exist_ok=True)
    results, log = work / f"{step.name}.json", work / f"{step.name}.log"
    results.unlink(missing_ok=True)
    command = [sys.executable, "-u", "-m", "benchmarks.gpu.child", step.name, *words]
    command += ["--results", str(results.absolute()), "--folder", str((work / step.name).absolute())]
    command += ["--seconds", f"{seconds:.0f}"]
    started = time.monotonic()

    def outcome(ended: str) -> Outcome:
        findings = json.loads(results.read_text()) if results.exists() else NOTHING
        printed = log.read_text(errors="replace")
        return Outcome(step.name, step.title, ended, time.monotonic() - started, printed, findings)

    with log.open("w") as file:
        process = _start(command, file)
        try:
            ended = _wait(process, seconds, lambda: show(outcome("running")))
        except KeyboardInterrupt:
            ended = "stopped"
        finally:
            end_group(process, GRACE)
            process.stdin.close()
    return outcome(ended)


def _start(command: Sequence[str], log: IO[str]) -> subprocess.Popen:
    """Start a step. Its input is an empty pipe, which closes when this process ends for any reason."""
    paths = [str(ROOT), os.environ.get("PYTHONPATH", "")]
    threads = {"OMP_NUM_THREADS": "1"} if "cpu" in command else {}  # waiting threads would stall a busy processor
    environment = {**os.environ, **threads, "PYTHONPATH": os.pathsep.join(path for path in paths if path)}
    return subprocess.Popen(
        command,
        cwd=ROOT,
        env=environment,
        stdin=subprocess.PIPE,
        stdout=log,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )


def _wait(process: subprocess.Popen, seconds: float, look: Callable[[], None]) -> str:
    """Return "done", "failed" or "out of time"; call ``look`` every second."""
    ends = time.monotonic() + seconds
    while (left := ends - time.monotonic()) > 0:
        try:
            return "done" if process.wait(timeout=min(EVERY, left)) == 0 else "failed"
        except subprocess.TimeoutExpired:
            look()
    return "out of time"
