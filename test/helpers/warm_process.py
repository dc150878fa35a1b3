"""Commands in processes forked from one that has imported PyTorch already: each saves the two seconds that takes.

Run as a script it is that first process: it forks once for each request that comes through a socket.
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
    """A command's process, used as a `subprocess.Popen` whose output and errors are one text stream."""

    def __init__(self, pid: int, stdout: io.TextIOWrapper) -> None:
        self.pid, self.stdout = pid, stdout
        self.returncode: int | None = None

    def poll(self) -> int | None:
        """The exit status, negative for a signal; None while it runs."""
        if self.returncode is None:
            found, status = os.waitpid(self.pid, os.WNOHANG)
            if found:
                self.returncode = os.waitstatus_to_exitcode(status)
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """Waits for its end. Raises `subprocess.TimeoutExpired`."""
        started = time.monotonic()
        while self.poll() is None:
            if timeout is not None and time.monotonic() - started > timeout:
                raise subprocess.TimeoutExpired(str(self.pid), timeout)
            time.sleep(POLL_SECONDS)
        return self.returncode

    def communicate(self, timeout: float | None = None) -> tuple[str, None]:
        """Reads all it prints, then waits for its end; the limit is for the wait alone."""
        output = self.stdout.read()
        self.stdout.close()
        self.wait(timeout)
        return output, None

    def send_signal(self, number: int) -> None:
        """Sends a signal, unless it has ended."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def terminate(self) -> None:
        """Asks it to end."""
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """Ends it at once."""
        self.send_signal(signal.SIGKILL)


class WarmProcess:
    """The process that forks, started for the first command, or once more if it was ended meanwhile.

    Its children become this process's, which must adopt orphans (`processes.adopt_orphans`).
    """

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self._socket: socket.socket | None = None

    def start(self, words: Sequence[str], environment: Mapping[str, str]) -> ForkedProcess:
        """Runs ``depth_anything_ros`` with these words in a process and a session of its own."""
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
    """Forks for every request, and returns it and where to print in the new process; None when nobody asks any more.

    Forks twice: the new process's parent ends, so that it becomes the child of the one that asks.
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
    """Imports, serves, and runs the command in each process that was forked for one."""
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
