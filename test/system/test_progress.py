"""Progress in a file and on a terminal, as a process shows it."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

SHOW = """
import sys
sys.modules["tqdm"] = None  # not installed
from depth_anything_ros.system import progress
progress._Line.seconds = progress._Lines.seconds = -1  # each item is due
for item in progress.track(range(3), "predicting", "images", 3):
    print(f"item {item}", file=sys.stderr, flush=True)
"""


def test_file_gets_a_line_now_and_then():
    result = subprocess.run([sys.executable, "-c", SHOW], capture_output=True, text=True, check=True)
    shown = [f"predicting: {number} of 3 images" for number in (1, 2, 3)]
    assert result.stderr.splitlines() == ["item 0", shown[0], "item 1", shown[1], "item 2", shown[2]]


def test_terminal_line_is_rewritten_and_removed():
    pty = pytest.importorskip("pty", reason="there are no pseudo-terminals")
    master, slave = pty.openpty()
    process = subprocess.Popen([sys.executable, "-c", SHOW], stderr=slave)
    os.close(slave)
    text = b""
    while chunk := _read(master):
        text += chunk
    assert process.wait() == 0
    lines = text.decode().split("\r\n")
    assert lines[1] == "predicting: 1 of 3 images\ritem 1"
    assert lines[-1] == f"predicting: 3 of 3 images\r{' ' * 25}\r"


def _read(terminal: int) -> bytes:
    try:
        return os.read(terminal, 4096)
    except OSError:  # the other end is closed
        return b""
