"""Child processes: their end with their parent or within a time limit, and their results."""

from __future__ import annotations

import ctypes
import os
import platform
import signal
import subprocess
import sys
from contextlib import suppress
from typing import TextIO

_PR_SET_PDEATHSIG = 1  # from Linux's prctl.h


def end_with_parent(parent: int) -> None:
    """Make the kernel send this process SIGTERM when its parent ends, even if the parent is killed.

    The child calls this: as `preexec_fn` of a process, or as the initializer of a pool. Linux only.
    ``parent`` is the parent's process id; it may have ended already.
    """
    if platform.system() == "Linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
        if os.getppid() != parent:
            os.kill(os.getpid(), signal.SIGTERM)


def end_group(process: subprocess.Popen, seconds: float) -> None:
    """End a process that leads its own session, and its children, even if they are busy.

    Args:
        process: started with ``start_new_session``.
        seconds: between SIGTERM and SIGKILL.
    """
    try_to_end_group(process, seconds)
    process.wait()


def try_to_end_group(process: subprocess.Popen, seconds: float) -> None:
    """Do what `end_group` does, but do not wait for a process that even SIGKILL does not end, as in a hanging driver.

    Args:
        process: started with ``start_new_session``.
        seconds: between SIGTERM and SIGKILL, and after SIGKILL.
    """
    for number in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(process.pid, number)
        except ProcessLookupError:
            break
        with suppress(subprocess.TimeoutExpired):
            process.wait(seconds)


def take_output() -> TextIO:
    """Return this process's standard output, for results alone: libraries' prints go to standard error now."""
    results = os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="utf-8")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    return results
