"""The processes of `soak.py`: the depth node, its camera, and a slow listener. They end with it."""

from __future__ import annotations

import fcntl
import json
import os
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

from depth_anything_ros.system.child_process import end_with_parent

HERE = Path(__file__).parent
SHARED_MEMORY = Path("/dev/shm")
SECONDS_TO_END = 5.0
LAST_LINES = 8


class Child:
    """A Python process. Its output goes to ``log``; its standard input takes JSON objects, one per line."""

    def __init__(self, log: Path, *arguments: str) -> None:
        self._log_path, self._log = log, log.open("ab")
        self.process = subprocess.Popen(
            [sys.executable, *arguments],
            stdin=subprocess.PIPE,
            stdout=self._log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            preexec_fn=partial(end_with_parent, os.getpid()),
        )

    def send(self, **what: object) -> None:
        """Send an object."""
        self.process.stdin.write(json.dumps(what).encode() + b"\n")
        self.process.stdin.flush()

    def end(self, number: int | None = None) -> int | None:
        """Close its standard input, send the signal ``number`` if given, and wait.

        Return the exit status, None if it had to be killed. A killed process leaves 64 MiB in shared memory.
        """
        self.process.stdin.close()
        if number is not None and self.process.poll() is None:
            self.process.send_signal(number)
        try:
            status: int | None = self.process.wait(SECONDS_TO_END)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            status = None
        self._log.close()
        return status

    def kill(self) -> None:
        """Kill it, as in a crash, and remove Fast DDS's segments that it leaves in shared memory."""
        segments = self._segments()
        self.end(signal.SIGKILL)
        time.sleep(0.1)
        for name in segments:
            _remove_orphan(name)

    def last_output(self) -> str:
        """Return the last lines of its output."""
        lines = self._log_path.read_text(errors="replace").splitlines()
        return "\n".join(lines[-LAST_LINES:]) or "no output"

    def _segments(self) -> set[str]:
        """Return the names of the Fast DDS segments that it uses, its own and others'."""
        try:
            lines = Path(f"/proc/{self.process.pid}/maps").read_text().splitlines()
        except OSError:
            return set()
        names = {Path(line.split()[-1]).name for line in lines if str(SHARED_MEMORY) in line}
        return {name for name in names if name.startswith("fastrtps_") and not name.startswith("fastrtps_port")}


def _remove_orphan(name: str) -> None:
    """Remove a segment without an owner, as `fastdds shm clean` does: nothing holds its lock."""
    lock = SHARED_MEMORY / f"{name}_el"
    try:
        with lock.open("rb+") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        for path in (SHARED_MEMORY / name, lock):
            path.unlink(missing_ok=True)
    except OSError:  # in use, or gone already
        return
