"""The parent's side of `child`: starts it, sends commands, and detects its death."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from typing import Any

from depth_anything_ros.system.child_process import end_group

CHILD = ("-m", "depth_anything_ros.bench.child")
PATIENCE = 5
"""Seconds for a process to end before it is killed."""


class ChildDiedError(RuntimeError):
    """The process ended without an answer. The message holds its exit status and its last output line."""


class ChildProcess:
    """A process with one job, in its own session, so that Ctrl-C reaches only the parent.

    Args:
        job: the name of the job under "job", and its arguments.
        environment: further variables for the process.

    Attributes:
        ready: its first answer.
        pid: its process id.

    Raises:
        ChildDiedError: it died before its first answer.
    """

    def __init__(self, job: Mapping[str, Any], environment: Mapping[str, str] | None = None) -> None:
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 - closed by `stop`
        self._process = subprocess.Popen(
            [sys.executable, *CHILD],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
            env={**os.environ, **(environment or {})},
            start_new_session=True,
        )
        self.pid = self._process.pid
        try:
            self.ready = self.ask(job)
        except BaseException:  # Ctrl-C too: the caller does not have the process yet
            self.stop()
            raise

    def ask(self, command: Mapping[str, Any]) -> dict[str, Any]:
        """Send a command and return its answer. Raises `ChildDiedError` if there is none."""
        try:
            self._process.stdin.write(json.dumps(command) + "\n")
            self._process.stdin.flush()
            answer = self._process.stdout.readline()
        except BrokenPipeError:
            answer = ""
        if not answer.endswith("\n"):
            raise ChildDiedError(self._cause_of_death())
        return json.loads(answer)

    def stop(self) -> None:
        """End the process and its own children, even if they are busy."""
        if self._errors.closed:
            return
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.close()
        end_group(self._process, PATIENCE)
        self._process.stdout.close()
        self._errors.close()

    def _cause_of_death(self) -> str:
        status = self._process.wait()
        how = f"died of {signal.Signals(-status).name}" if status < 0 else f"ended with status {status}"
        self._errors.seek(0)
        lines = [line for line in self._errors.read().decode(errors="replace").splitlines() if line.strip()]
        return f"{how}: {lines[-1].strip()}" if lines else how
