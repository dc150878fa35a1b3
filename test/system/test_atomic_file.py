"""Atomic writes: a file appears complete or not at all."""

from __future__ import annotations

import errno
import os
import resource
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from waiting import limit

from depth_anything_ros.system.atomic_file import (
    ABANDONED,
    atomic_path,
    atomic_write,
    describe_error,
    is_left_behind,
    naming,
    partial_of,
)

WRITER = """
import os, sys
from depth_anything_ros.system.atomic_file import atomic_path
with atomic_path(sys.argv[1]) as partial:
    partial.write_text(sys.argv[2])
    print(os.getpid(), flush=True)
    sys.stdin.readline()
"""


@contextmanager
def writer(path: Path, content: str, *before: str) -> Iterator[tuple[subprocess.Popen, int]]:
    """A process that has written part of a file and continues at a line of its input, and its own process id."""
    process = subprocess.Popen(
        [*before, sys.executable, "-c", WRITER, str(path), content],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    try:
        yield process, int(process.stdout.readline() or 0)
    finally:
        process.kill()
        process.communicate()


def test_atomic_write_leaves_only_the_file(tmp_path):
    atomic_write(tmp_path / "file", b"new")
    assert (tmp_path / "file").read_bytes() == b"new"
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_failed_atomic_write_keeps_old_file(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"old")

    def fail_half_way():
        with atomic_path(path) as partial:
            partial.write_bytes(b"half of the n")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail_half_way()
    assert path.read_bytes() == b"old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["file"]


def test_missing_folder_error_names_file(tmp_path):
    with pytest.raises(FileNotFoundError) as raised:
        atomic_write(tmp_path / "absent" / "file", b"new")
    assert describe_error(raised.value) == f"{tmp_path / 'absent' / 'file'}: No such file or directory"


@contextmanager
def full_disk(size: int) -> Iterator[None]:
    """Limit every file to ``size`` bytes."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_full_disk_error_names_file(tmp_path):
    """Of which the system says nothing."""
    path = tmp_path / "file"
    path.write_bytes(b"old")
    with full_disk(100), pytest.raises(OSError, match="File too large") as raised:
        atomic_write(path, bytes(1000))
    assert raised.value.errno == errno.EFBIG
    assert describe_error(raised.value) == f"{path}: File too large"
    assert path.read_bytes() == b"old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["file"]


def test_folder_at_path_raises_error_with_path(tmp_path):
    (tmp_path / "file").mkdir()
    with pytest.raises(IsADirectoryError) as raised:
        atomic_write(tmp_path / "file", b"new")
    assert raised.value.filename == str(tmp_path / "file")


def test_error_that_names_other_file_is_unchanged(tmp_path):
    def read_within() -> None:
        with atomic_path(tmp_path / "file"):
            (tmp_path / "absent").read_bytes()

    with pytest.raises(FileNotFoundError) as raised:
        read_within()
    assert raised.value.filename == str(tmp_path / "absent")
    with (
        pytest.raises(OSError, match=r"^\[Errno 5\] cannot read a.png: Input/output error$"),
        naming(tmp_path / "file"),
    ):
        raise OSError(errno.EIO, "cannot read a.png: Input/output error")


def test_stdout_on_full_disk_gives_one_line():
    if not Path("/dev/full").exists():
        pytest.skip("there is no /dev/full")
    with open("/dev/full", "w") as full:
        command = [sys.executable, "-m", "depth_anything_ros", "models", "list"]
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, timeout=limit(60))
    assert done.returncode == 1
    assert done.stderr == "depth_anything_ros models: standard output: No space left on device\n"


def test_containers_with_equal_pids_write_different_files(tmp_path):
    """Each is number 1 there."""
    container = [shutil.which("unshare") or "unshare", "--user", "--map-root-user", "--pid", "--fork"]
    try:
        subprocess.run([*container, "true"], check=True, capture_output=True, timeout=limit(60))
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"no numbers of its own can be given to a process here: {error}")
    path = tmp_path / "file"
    with writer(path, "one", *container) as (one, first), writer(path, "two", *container) as (two, second):
        assert (first, second) == (1, 1)
        for process, content in ((one, "one"), (two, "two")):
            process.communicate("go on\n", timeout=limit(60))
            assert process.returncode == 0
            assert path.read_text() == content
    assert [entry.name for entry in tmp_path.iterdir()] == ["file"]


def test_partial_file_of_running_process_is_kept(tmp_path):
    with writer(tmp_path / "file", "half") as (process, _):
        (partial,) = tmp_path.iterdir()
        assert not is_left_behind(partial)
        process.kill()
        process.wait()
        assert is_left_behind(partial)


def test_partial_file_of_other_machine_is_stale_after_a_day(tmp_path):
    *start, here, end = partial_of(tmp_path / "file").name.split(".")
    elsewhere = "0" * 8 + here[8:]
    partial, other = tmp_path / ".".join([*start, elsewhere, end]), tmp_path / ".notes.partial"
    for path in (partial, other):
        path.write_bytes(b"half")
    assert not is_left_behind(partial)
    for path in (partial, other):
        os.utime(path, (time.time(), time.time() - ABANDONED - 60))
    assert is_left_behind(partial)
    assert not is_left_behind(other)
    partial.unlink()
    assert not is_left_behind(partial)
