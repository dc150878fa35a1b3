"""Waiting for events, with limits that grow with the load of the machine."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

LEAST = 30.0
"""Seconds of the shortest limit: shorter ones fail at a short stall of the machine."""
MAX_FACTOR = 6.0


def load_factor() -> float:
    """Return how many times slower the machine is than an idle one, at least 1: runnable threads per CPU core.

    It is the larger of the last minute's average and the present count, because the average lags.
    """
    fields = Path("/proc/loadavg").read_text().split()
    runnable = max(float(fields[0]), float(fields[3].partition("/")[0]))
    return min(max(1.0, runnable / len(os.sched_getaffinity(0))), MAX_FACTOR)


def limit(seconds: float) -> float:
    """Return the longest wait in seconds for something that takes ``seconds`` on an idle machine.

    ``TEST_PATIENCE`` in the environment multiplies it, for emulators and instrumented builds.
    """
    return max(seconds, LEAST) * load_factor() * float(os.environ.get("TEST_PATIENCE", "1"))


def wait_until(
    condition: Callable[[], object], what: str, seconds: float = 60.0, step: Callable[[], object] | None = None
) -> None:
    """Return once the condition holds; fail with its name after `limit` of ``seconds``.

    ``step``: the action between two checks, such as spinning a node; default: a pause of a hundredth of a second.
    """
    started = time.monotonic()
    while not condition():
        waited = time.monotonic() - started
        if waited > seconds and waited > limit(seconds):
            pytest.fail(f"waited {waited:.0f} s in vain for {what}; the load is {os.getloadavg()[0]:.1f}")
        if step is None:
            time.sleep(0.01)
        else:
            step()


def wait_while_running(process: subprocess.Popen, condition: Callable[[], object], what: str) -> None:
    """Return once the condition holds; fail with the process's output if it ends first, or at the time limit."""

    def pause() -> None:
        if process.poll() is not None and not condition():
            pytest.fail(f"the process ended before {what}: {process.communicate()[0]}")
        time.sleep(0.002)  # what comes next may last but a moment

    wait_until(condition, what, seconds=300.0, step=pause)
