"""The processes that tests start, and their descendants."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
from pathlib import Path

_PR_SET_CHILD_SUBREAPER = 36
_KEPT = ("resource_tracker", "forkserver", "raylet", "gcs_server")
"""What libraries start once for many tests, by words of their command lines."""


def adopt_orphans() -> None:
    """Make this process the parent of orphaned descendants, so that they can be found."""
    ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def descendants(process: int) -> set[int]:
    """Return the running descendants of a process."""
    children: dict[int, list[int]] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, parent = stat.read_text().rsplit(")", 1)[1].split()[:2]
        except (OSError, ValueError):  # it has ended meanwhile
            continue
        if state != "Z":
            children.setdefault(int(parent), []).append(int(stat.parent.name))
    found: set[int] = set()
    waiting = [process]
    while waiting:
        new = children.get(waiting.pop(), [])
        found.update(new)
        waiting += new
    return found


def kill(processes: set[int]) -> None:
    """Kill processes, except those that serve other tests too."""
    for process in processes:
        with contextlib.suppress(OSError):  # it has ended meanwhile
            command = Path(f"/proc/{process}/cmdline").read_bytes().decode(errors="replace")
            if not any(word in command for word in _KEPT):
                os.kill(process, signal.SIGKILL)
