"""How the Makefile shows what pip does."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif(shutil.which("make") is None, reason="needs make")

PIP = """#!/bin/sh
echo "Collecting numpy<3,>=1.24 (from depth_anything_ros)"
echo "  Downloading numpy-2.4.6-cp311-manylinux_2_28_x86_64.whl (16.6 MB)"
echo "Collecting pillow"
echo "  Installing build dependencies: started"
echo "Building wheels for collected packages: empy"
echo "  Building wheel for empy (pyproject.toml): started"
echo "Installing collected packages: numpy, pillow"
echo "a warning" >&2
exit $STATUS
"""
RULES = "include Makefile\ntry:\n\t@$(call install,'.[$(DEMO_EXTRAS)]')\n\t@echo installed\n"


@pytest.fixture
def folder(repository: Path, tmp_path: Path) -> Path:
    shutil.copy(repository / "Makefile", tmp_path)
    (tmp_path / "rules.mk").write_text(RULES)
    python = tmp_path / ".venv" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.write_text(PIP)
    python.chmod(0o755)
    return tmp_path


def make(folder: Path, status: int, **options: object) -> subprocess.Popen:
    of_outer = ("MAKEFLAGS", "MAKELEVEL", "MFLAGS", "MAKEOVERRIDES")  # of `make test`; a level adds lines about folders
    environment = {name: value for name, value in os.environ.items() if name not in of_outer} | {"STATUS": str(status)}
    return subprocess.Popen(["make", "-f", "rules.mk", "try"], cwd=folder, env=environment, **options)


@pytest.mark.parametrize("status", [0, 1])
def test_installation_in_a_file_is_quiet_and_has_the_status_of_pip(folder: Path, status: int) -> None:
    process = make(folder, status, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    text, errors = process.communicate(timeout=60)
    assert (process.returncode != 0) == bool(status)
    assert text == ("" if status else "installed\n")
    assert "a warning" in errors


def test_installation_on_a_terminal_shows_each_package_in_one_line(folder: Path) -> None:
    pty = pytest.importorskip("pty", reason="there are no pseudo-terminals")
    ours, theirs = pty.openpty()
    process = make(folder, 0, stdout=theirs, stderr=subprocess.DEVNULL)
    os.close(theirs)
    text = b""
    while chunk := _read(ours):
        text += chunk
    os.close(ours)
    assert process.wait(timeout=60) == 0
    *shown, last = (line.strip() for line in text.decode().split("\r") if line.strip())
    assert shown == [
        "package 1: numpy<3,>=1.24",
        "package 1: numpy (16.6 MB)",
        "package 2: pillow",
        "preparing the build",
        "building a wheel for empy",
        "unpacking 2 packages",
    ]
    assert last == "installed"


def _read(terminal: int) -> bytes:
    try:
        return os.read(terminal, 4096)
    except OSError:  # the other end is closed
        return b""
