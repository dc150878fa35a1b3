"""The processes of `soak.py`: the depth node, its camera, and a listener that is slow. None outlives it."""

from __future__ import annotations

import ctypes
import fcntl
import json
import signal
import subprocess
import sys
import time
from pathlib import Path

HERE = Path(__file__).parent
SHARED_MEMORY = Path("/dev/shm")
SECONDS_TO_END = 5.0
PR_SET_PDEATHSIG = 1  # linux/prctl.h
LAST_LINES = 8


class Child:
    """A Python process whose output goes to ``log``, and which gets JSON objects as lines on its standard input."""

    def __init__(self, log: Path, *arguments: str) -> None:
        self._log_path, self._log = log, log.open("ab")
        self.process = subprocess.Popen(
            [sys.executable, *arguments],
            stdin=subprocess.PIPE,
            stdout=self._log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            preexec_fn=_die_with_parent if sys.platform.startswith("linux") else None,
        )

    def tell(self, **what: object) -> None:
        """Sends an object."""
        self.process.stdin.write(json.dumps(what).encode() + b"\n")
        self.process.stdin.flush()

    def end(self, number: int | None = None) -> int | None:
        """Ends its standard input, or signals it too, and waits; returns its exit status, None if it had to be killed.

        One that is killed leaves 64 MiB in shared memory, so most are not.
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
        """Ends it as a crash would, then removes what Fast DDS left of it in shared memory."""
        segments = self._segments()
        self.end(signal.SIGKILL)
        time.sleep(0.1)
        for name in segments:
            _remove_orphan(name)

    def last_words(self) -> str:
        """The last lines of its output."""
        lines = self._log_path.read_text(errors="replace").splitlines()
        return "\n".join(lines[-LAST_LINES:]) or "it said nothing"

    def _segments(self) -> set[str]:
        """The names of Fast DDS's segments that it uses, its own and others'."""
        try:
            lines = Path(f"/proc/{self.process.pid}/maps").read_text().splitlines()
        except OSError:
            return set()
        names = {Path(line.split()[-1]).name for line in lines if str(SHARED_MEMORY) in line}
        return {name for name in names if name.startswith("fastrtps_") and not name.startswith("fastrtps_port")}


def _remove_orphan(name: str) -> None:
    """Removes a segment whose owner is gone, as `fastdds shm clean` does: nobody holds its lock."""
    lock = SHARED_MEMORY / f"{name}_el"
    try:
        with lock.open("rb+") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        for path in (SHARED_MEMORY / name, lock):
            path.unlink(missing_ok=True)
    except OSError:  # in use, or no longer there
        return


def _die_with_parent() -> None:
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
