"""One step in a process group of its own, which ends with it, and with whoever runs it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import IO

from benchmarks.gpu.report import NOTHING, Outcome
from benchmarks.gpu.steps import Step

ROOT = Path(__file__).resolve().parent.parent.parent
GRACE = 2.0
"""Seconds that an ended step has to end."""
EVERY = 1.0
"""Seconds between two looks at what a step has found."""


def run_step(step: Step, seconds: float, work: Path, words: Sequence[str], show: Callable[[Outcome], None]) -> Outcome:
    """Runs a step for so many seconds at most, and shows meanwhile what it has found so far.

    Args:
        step: which.
        seconds: its limit.
        work: the folder that all steps work in.
        words: of the command line of `child`, beside those that are the same for all.
        show: is given what there is every second.
    """
    work.mkdir(parents=True, exist_ok=True)
    results, log = work / f"{step.name}.json", work / f"{step.name}.log"
    results.unlink(missing_ok=True)
    command = [sys.executable, "-u", "-m", "benchmarks.gpu.child", step.name, *words]
    command += ["--results", str(results.absolute()), "--folder", str((work / step.name).absolute())]
    command += ["--seconds", f"{seconds:.0f}"]
    started = time.monotonic()

    def outcome(ended: str) -> Outcome:
        found = json.loads(results.read_text()) if results.exists() else NOTHING
        printed = log.read_text(errors="replace")
        return Outcome(step.name, step.title, ended, time.monotonic() - started, printed, found)

    with log.open("w") as file:
        process = _start(command, file)
        try:
            ended = _wait(process, seconds, lambda: show(outcome("running")))
        except KeyboardInterrupt:
            ended = "stopped"
        finally:
            _end(process)
    return outcome(ended)


def _start(command: Sequence[str], log: IO[str]) -> subprocess.Popen:
    """Its input is a pipe that nothing is written to: it closes when this process ends, however that goes."""
    paths = [str(ROOT), os.environ.get("PYTHONPATH", "")]
    threads = {"OMP_NUM_THREADS": "1"} if "cpu" in command else {}  # that wait for one another stall a busy processor
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
    """How it ended: "done", "failed" or "out of time"; looks every second."""
    ends = time.monotonic() + seconds
    while (left := ends - time.monotonic()) > 0:
        try:
            return "done" if process.wait(timeout=min(EVERY, left)) == 0 else "failed"
        except subprocess.TimeoutExpired:
            look()
    return "out of time"


def _end(process: subprocess.Popen) -> None:
    """Ends what is left of a step's process group."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(process.pid, number)
        except ProcessLookupError:
            break
        try:
            process.wait(timeout=GRACE)
        except subprocess.TimeoutExpired:
            continue
    process.wait()
    process.stdin.close()
