"""The parent's side of `child`: starts it, asks it, and notices when it dies."""

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

CHILD = ("-m", "depth_anything_ros.bench.child")
PATIENCE = 5
"""Seconds that a process is given to end before it is killed."""


class ChildDiedError(RuntimeError):
    """The process ended without an answer; the message says how, and its last words."""


class ChildProcess:
    """A process with one job, in a session of its own, so that Ctrl-C reaches the parent alone.

    Args:
        job: its name under "job", and what the job is given.
        environment: variables to set in it.

    Attributes:
        ready: its first answer.
        pid: its number.

    Raises:
        ChildDiedError: it died before it was ready.
    """

    def __init__(self, job: Mapping[str, Any], environment: Mapping[str, str] | None = None) -> None:
        self._words = tempfile.TemporaryFile()  # noqa: SIM115 - closed by `stop`
        self._process = subprocess.Popen(
            [sys.executable, *CHILD],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._words,
            text=True,
            env={**os.environ, **(environment or {})},
            start_new_session=True,
        )
        self.pid = self._process.pid
        try:
            self.ready = self.ask(job)
        except BaseException:  # whatever happened, Ctrl-C too: nobody else knows of the process yet
            self.stop()
            raise

    def ask(self, command: Mapping[str, Any]) -> dict[str, Any]:
        """The answer to a command. Raises `ChildDiedError` if none comes."""
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
        """Ends the process and those it started, however busy they are."""
        if self._words.closed:
            return
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.close()
        self._signal(signal.SIGTERM)
        try:
            self._process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self._signal(signal.SIGKILL)
            self._process.wait()
        self._process.stdout.close()
        self._words.close()

    def _signal(self, number: int) -> None:
        """To its whole session; what it started may outlive it."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, number)

    def _cause_of_death(self) -> str:
        status = self._process.wait()
        how = f"died of {signal.Signals(-status).name}" if status < 0 else f"ended with status {status}"
        self._words.seek(0)
        lines = [line for line in self._words.read().decode(errors="replace").splitlines() if line.strip()]
        return f"{how}: {lines[-1].strip()}" if lines else how
