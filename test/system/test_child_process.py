"""Processes end as a group, even if they ignore the request."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from waiting import limit

from depth_anything_ros.system.child_process import end_group

STUBBORN = """\
import os, signal
signal.signal(signal.SIGTERM, signal.SIG_IGN)
child = os.fork()
if child:
    print(child, flush=True)
signal.pause()
"""


def test_group_that_ignores_sigterm_is_killed_with_children():
    command = [sys.executable, "-c", STUBBORN]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, start_new_session=True) as process:
        child = int(process.stdout.readline())
        end_group(process, 0.1)
        assert process.returncode == -9
        assert process.stdout.read() == "", "the pipe closes when the child ends too"
        assert not Path(f"/proc/{child}/cmdline").exists() or not Path(f"/proc/{child}/cmdline").read_bytes()


def test_ended_group_is_no_error():
    with subprocess.Popen(["true"], start_new_session=True) as process:
        process.wait(limit(60))
        end_group(process, 0.1)
    assert process.returncode == 0
