"""Commands in processes forked from one that has already imported PyTorch, which saves two seconds each.

Run as a script, it is that first process: it forks once for each request from a socket.
"""

from __future__ import annotations

import importlib
import io
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence

MODULES = (
    "depth_anything_ros.pseudo_labels.open_teacher",
    "depth_anything_ros.training.stages",
    "depth_anything_ros.training.loop",
    "depth_anything_ros.commands.train",
)
MAX_REQUEST_BYTES = 1 << 20
POLL_SECONDS = 0.01


class ForkedProcess:
    """A command's process, used like a `subprocess.Popen` whose output and errors are one text stream."""

    def __init__(self, pid: int, stdout: io.TextIOWrapper) -> None:
        self.pid, self.stdout = pid, stdout
        self.returncode: int | None = None

    def poll(self) -> int | None:
        """Return the exit status, negative for a signal; None while the process runs."""
        if self.returncode is None:
            found, status = os.waitpid(self.pid, os.WNOHANG)
            if found:
                self.returncode = os.waitstatus_to_exitcode(status)
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """Wait for the end. Raise `subprocess.TimeoutExpired` at the limit."""
        started = time.monotonic()
        while self.poll() is None:
            if timeout is not None and time.monotonic() - started > timeout:
                raise subprocess.TimeoutExpired(str(self.pid), timeout)
            time.sleep(POLL_SECONDS)
        return self.returncode

    def communicate(self, timeout: float | None = None) -> tuple[str, None]:
        """Read all output, then wait for the end; the limit applies only to the wait."""
        output = self.stdout.read()
        self.stdout.close()
        self.wait(timeout)
        return output, None

    def send_signal(self, number: int) -> None:
        """Send a signal, unless the process has ended."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def terminate(self) -> None:
        """Send SIGTERM."""
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """Send SIGKILL."""
        self.send_signal(signal.SIGKILL)


class WarmProcess:
    """The process that forks, started for the first command, or again if it has ended.

    Its children become this process's, which must adopt orphans (`processes.adopt_orphans`).
    """

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self._socket: socket.socket | None = None

    def start(self, words: Sequence[str], environment: Mapping[str, str]) -> ForkedProcess:
        """Run ``depth_anything_ros`` with these words in its own process and session."""
        if self._process is None or self._process.poll() is not None:
            self._begin(environment)
        read, write = os.pipe()
        request = json.dumps({"words": list(words), "environment": dict(environment), "folder": os.getcwd()})
        socket.send_fds(self._socket, [request.encode()], [write])
        os.close(write)
        pid = int(self._socket.recv(64))
        return ForkedProcess(pid, io.TextIOWrapper(os.fdopen(read, "rb"), encoding="utf-8"))

    def _begin(self, environment: Mapping[str, str]) -> None:
        if self._socket is not None:
            self._socket.close()
        self._socket, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        command = [sys.executable, __file__, str(theirs.fileno())]
        self._process = subprocess.Popen(command, env=dict(environment), pass_fds=[theirs.fileno()])
        theirs.close()


def next_command(requests: socket.socket) -> tuple[dict, int] | None:
    """Fork for every request; return it and the output in the new process, or None when there are no more requests.

    It forks twice: the parent of the new process ends, so that the process becomes the child of the requester.
    """
    while True:
        message, descriptors, _, _ = socket.recv_fds(requests, MAX_REQUEST_BYTES, 1)
        if not message:
            return None
        read, write = os.pipe()
        between = os.fork()
        if between == 0:
            pid = os.fork()
            if pid == 0:
                return json.loads(message), descriptors[0]
            os.write(write, str(pid).encode())
            os._exit(0)
        os.waitpid(between, 0)
        requests.send(os.read(read, 64))
        for descriptor in (read, write, *descriptors):
            os.close(descriptor)


def main() -> int:
    """Import, serve, and run the command in each forked process."""
    for module in MODULES:
        importlib.import_module(module)
    requests = socket.socket(fileno=int(sys.argv[1]))
    command = next_command(requests)
    requests.close()
    if command is None:
        return 0
    request, output = command
    os.setsid()
    os.dup2(output, 1)
    os.dup2(output, 2)
    os.close(output)
    os.environ.clear()
    os.environ.update(request["environment"])
    os.chdir(request["folder"])
    sys.argv = ["depth_anything_ros", *request["words"]]
    return importlib.import_module("depth_anything_ros.cli").main()


if __name__ == "__main__":
    sys.exit(main())
