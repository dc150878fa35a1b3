"""Files that appear whole or not at all."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from waiting import limit

from depth_anything_ros.whole_file import ABANDONED, is_left_behind, partial_of, replacing, write_whole

WRITER = """
import os, sys
from depth_anything_ros.whole_file import replacing
with replacing(sys.argv[1]) as partial:
    partial.write_text(sys.argv[2])
    print(os.getpid(), flush=True)
    sys.stdin.readline()
"""


@contextmanager
def writer(path: Path, content: str, *before: str) -> Iterator[tuple[subprocess.Popen, int]]:
    """A process that has written and goes on at a line of its input, and its number in its own eyes."""
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


def test_a_file_is_written_and_nothing_else_is_left(tmp_path):
    write_whole(tmp_path / "file", b"new")
    assert (tmp_path / "file").read_bytes() == b"new"
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_a_failure_leaves_what_was_there(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"old")

    def fail_half_way():
        with replacing(path) as partial:
            partial.write_bytes(b"half of the n")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail_half_way()
    assert path.read_bytes() == b"old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["file"]


def test_an_absent_folder_is_an_error(tmp_path):
    with pytest.raises(FileNotFoundError, match="absent"):
        write_whole(tmp_path / "absent" / "file", b"new")


def test_processes_of_two_containers_do_not_write_the_same_file(tmp_path):
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


def test_what_a_living_process_writes_is_not_left_behind(tmp_path):
    with writer(tmp_path / "file", "half") as (process, _):
        (partial,) = tmp_path.iterdir()
        assert not is_left_behind(partial)
        process.kill()
        process.wait()
        assert is_left_behind(partial)


def test_what_another_machine_writes_is_left_behind_when_it_has_not_grown_for_a_day(tmp_path):
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
