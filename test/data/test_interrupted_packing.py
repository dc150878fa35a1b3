"""Packing that is stopped, and full disks: finished shards stay, and the next run continues."""

from __future__ import annotations

import json
import os
import re
import resource
import shutil
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from miniature_files import picture, put
from packed_shards import alter, contents, packed, remove, samples_of, shown, truncate
from waiting import limit

from depth_anything_ros.data.frame import DataError
from depth_anything_ros.data.manifest import read_manifest, shard_name
from depth_anything_ros.data.sets import find_set
from depth_anything_ros.data.shard_files import Part, pack_shard
from depth_anything_ros.data.shards import pack
from depth_anything_ros.system.atomic_file import partial_of
from depth_anything_ros.system.output_folder import FolderError


def forget(path: Path) -> None:
    path.with_suffix(".json").unlink()


@pytest.mark.parametrize("interrupt", [remove, truncate, forget, alter])
def test_interrupted_pack_resumes(seven_pictures, tmp_path, interrupt):
    output = tmp_path / "shards"
    packed(find_set("folder"), seven_pictures, output)
    whole = contents(output)
    interrupt(output / "shard-000001.tar")
    (output / "manifest.json").unlink()  # which is written last
    kept = [output / shard_name(index) for index in (0, 2, 3)]
    before = [path.stat() for path in kept]
    packed(find_set("folder"), seven_pictures, output)
    assert contents(output) == whole
    assert [path.stat() for path in kept] == before  # they were not made anew


def test_partial_files_of_killed_process_are_removed_after_a_day(seven_pictures, tmp_path):
    """Before that it may be what another process, on whatever machine, is writing."""
    output, now = tmp_path / "shards", time.time()
    for name in (".shard-000001.tar.99999.partial", ".manifest.json.1.partial"):
        put(output / name, b"half a file")
        os.utime(output / name, (now - 25 * 3600,) * 2)
    put(output / ".shard-000002.tar.99999.partial", b"half a file, and the rest is to come")
    packed(find_set("folder"), seven_pictures, output)
    assert [path.name for path in output.glob(".*.partial")] == [".shard-000002.tar.99999.partial"]


def test_stopped_pack_protects_shards_from_other_set(seven_pictures, tmp_path):
    """The manifest is gone then, since a shard was made anew."""
    output = tmp_path / "shards"
    packed(find_set("folder"), seven_pictures, output)
    put(seven_pictures / "0.jpg", picture(33))
    with ThreadPoolExecutor(1) as executor:
        next(pack(find_set("folder"), seven_pictures, output, 2, executor, in_flight=1))
    assert not (output / "manifest.json").exists()
    before = contents(output)
    put(tmp_path / "mine.txt", "pictures/1.jpg\n")
    with pytest.raises(
        FolderError, match=r"holds shards of folder made from .*: choose another folder for shards of list"
    ):
        packed(find_set("list"), tmp_path / "mine.txt", output)
    assert contents(output) == before
    packed(find_set("folder"), seven_pictures, output)
    assert read_manifest(output)["samples"] == 7


def test_changed_image_remakes_only_its_shard(seven_pictures, tmp_path):
    output = tmp_path / "shards"
    packed(find_set("folder"), seven_pictures, output)
    before = {path.name: path.stat().st_ino for path in output.glob("*.tar")}
    put(seven_pictures / "3.jpg", picture(33))
    packed(find_set("folder"), seven_pictures, output)
    after = {path.name: path.stat().st_ino for path in output.glob("*.tar")}
    assert {name for name in before if before[name] != after[name]} == {"shard-000001.tar"}
    read = {json.loads(sample["json"])["name"]: sample["jpg"] for sample in samples_of(output)}
    assert read["3.jpg"] == (seven_pictures / "3.jpg").read_bytes()


def test_manifest_exists_only_while_valid(seven_pictures, tmp_path):
    """Packing anew that is stopped leaves none."""
    output = tmp_path / "shards"
    packed(find_set("folder"), seven_pictures, output)
    put(seven_pictures / "0.jpg", picture(33))
    with ThreadPoolExecutor(1) as executor:
        assert next(pack(find_set("folder"), seven_pictures, output, 2, executor, in_flight=1)).samples == 2
    assert not (output / "manifest.json").exists()
    with pytest.raises(DataError, match="create it with `depth_anything_ros data pack`"):
        read_manifest(output)


def test_full_disk_leaves_no_partial_shard(seven_pictures, tmp_path):
    """/dev/full stands in for the disk: it takes no byte."""
    if not Path("/dev/full").exists():
        pytest.skip("there is no /dev/full")
    output = tmp_path / "shards"
    output.mkdir()
    partial_of(output / "shard-000000.tar").symlink_to("/dev/full")
    with pytest.raises(OSError, match=r"No space left on device: '.*/shards/shard-000000\.tar'"):
        pack_shard(find_set("folder"), seven_pictures, output, Part(0, names=["0.jpg", "1.jpg"]))
    assert contents(output) == {}


IN_A_SMALL_DISK = """
mount -t tmpfs -o size=256k none "$1" || exit 77
shift
"$@"
echo "status $?" >&2
ls -A "$OUTPUT"
"""


def test_disk_that_fills_up_keeps_finished_shards(tmp_path):
    """On a real small disk, in a mount that no other process sees."""
    unshare = shutil.which("unshare")
    if unshare is None:
        pytest.skip("there is no unshare to mount a small disk with")
    noise = np.random.default_rng(0)
    for number in range(12):  # 50 kB each, so that some shards fit
        put(tmp_path / "pictures" / f"{number:02}.png", noise.integers(0, 255, (128, 128, 3), np.uint8))
    disk = tmp_path / "disk"
    disk.mkdir()
    command = [sys.executable, "-m", "depth_anything_ros", "data", "pack", "folder", str(tmp_path / "pictures")]
    command += ["--output", str(disk / "shards"), "--shard", "1", "--processes", "1"]
    script = ["sh", "-c", IN_A_SMALL_DISK, "sh", str(disk), *command]
    done = subprocess.run(
        [unshare, "--user", "--map-root-user", "--mount", *script],
        capture_output=True,
        text=True,
        timeout=limit(120),
        env={**os.environ, "OUTPUT": str(disk / "shards"), "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    if "status" not in done.stderr:
        pytest.skip(f"no disk can be mounted here: {done.stderr.strip()}")
    *_, said, status = done.stderr.strip().splitlines()
    assert status == "status 1"
    assert re.search(
        r"depth_anything_ros data: packing into .*shards stopped: .*No space left on device.*. "
        "Finished shards are kept; the next run continues from there$",
        said,
    )
    assert "Traceback" not in done.stderr
    left = done.stdout.split()
    finished = [name for name in left if name.endswith(".tar")]
    assert 2 <= len(finished) <= 5
    assert not [name for name in left if "partial" in name or name == "manifest.json"]


def test_file_size_limit_keeps_finished_shards(tmp_path):
    """As under a quota; where no disk can be mounted, this is how a full one is met."""
    noise = np.random.default_rng(0)
    put(tmp_path / "pictures" / "a.png", picture(0))
    put(tmp_path / "pictures" / "b.png", noise.integers(0, 255, (256, 256, 3), np.uint8))  # 200 kB
    command = [sys.executable, "-m", "depth_anything_ros", "data", "pack", "folder", str(tmp_path / "pictures")]
    command += ["--output", str(tmp_path / "shards"), "--shard", "1", "--processes", "1"]
    done = subprocess.run(
        command,
        capture_output=True,
        text=True,
        timeout=limit(120),
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000)),
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "PYTHONDONTWRITEBYTECODE": "1"},
    )
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert re.search(
        r"depth_anything_ros data: packing into .*shards stopped: .*File too large.*. Finished shards are "
        "kept; the next run continues from there$",
        done.stderr.strip(),
    )
    assert [path.name for path in shown(tmp_path / "shards")] == ["shard-000000.json", "shard-000000.tar"]
