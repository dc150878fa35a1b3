"""Disks that fail for a moment: reads are retried with the same result, and only a lasting error is raised."""

from __future__ import annotations

import errno
import logging
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np
import pytest

pytest.importorskip("webdataset", reason="packing needs the `data` extra")
pytest.importorskip("pydantic", reason="training needs the `train` extra")

from depth_anything_ros.data import retry
from depth_anything_ros.data.frame import DataError, read_bytes
from depth_anything_ros.data.path_pattern import PathPattern
from depth_anything_ros.data.retry import is_transient, with_retries
from depth_anything_ros.data.set_source import SetSource
from depth_anything_ros.data.sets import find_set
from depth_anything_ros.data.shard_source import ShardSource
from depth_anything_ros.data.shards import pack, read_manifest
from depth_anything_ros.data.sources import read_numbered
from depth_anything_ros.data.tar_members import read_member, tar_members
from depth_anything_ros.pseudo_labels.chunks import decode
from depth_anything_ros.pseudo_labels.folder import Labeling
from depth_anything_ros.training.input.mixture import Mixture
from depth_anything_ros.training.settings import TeacherSettings
from depth_anything_ros.training.teachers.identity import find_teacher

FAILING = Path("/proc/self/mem")
"""A file that can be opened, and whose reading fails with EIO."""

pytestmark = pytest.mark.skipif(not FAILING.exists(), reason="Linux alone has a file that fails")


class Mending(logging.Handler):
    """Restores files that a disk failed to read, as soon as the log reports the failure."""

    def __init__(self) -> None:
        super().__init__()
        self.kept: dict[Path, Path] = {}
        self.told: list[str] = []

    def fail(self, *paths: Path) -> None:
        """Make these files fail to be read until the log reports it."""
        for path in paths:
            self.kept[path] = path.rename(path.with_name(f".{path.name}.kept"))  # hidden: no picture of the folder's
            path.symlink_to(FAILING)
        tar_members.cache_clear()

    def emit(self, record: logging.LogRecord) -> None:
        self.told.append(record.getMessage())
        for path, kept in self.kept.items():
            kept.replace(path)
        self.kept = {}


@pytest.fixture
def mending(monkeypatch):
    """Short waits, with failing files that are restored."""
    monkeypatch.setattr(retry, "WAITS", (0.001,) * 3)
    handler, log = Mending(), logging.getLogger(retry.__name__)
    log.addHandler(handler)
    yield handler
    log.removeHandler(handler)


@pytest.fixture
def pictures(tmp_path) -> Path:
    folder = tmp_path / "pictures"
    folder.mkdir()
    for number in range(6):
        cv2.imwrite(str(folder / f"{number}.png"), np.full((8, 8, 3), 40 * number, np.uint8))
    return folder


def packed(pictures: Path, output: Path) -> Path:
    with ThreadPoolExecutor(1) as executor:
        list(pack(find_set("folder"), pictures, output, 2, executor))
    return output


def test_is_transient_inspects_causes_of_error():
    def raised_from(number: int | None) -> DataError:
        try:
            raise DataError("read") from OSError(number, "disk")
        except DataError as error:
            return error

    for number in (errno.EIO, errno.ESTALE, errno.ETIMEDOUT, errno.ENOTCONN):
        assert is_transient(raised_from(number))
    for number in (errno.ENOENT, errno.EACCES, errno.ENOSPC, errno.EISDIR, None):
        assert not is_transient(raised_from(number))
    assert not is_transient(DataError("read"))


def test_permanent_failure_is_raised_after_all_retries(mending):
    """The whole file is read again, and the error names it."""
    tried = []

    def read() -> bytes:
        tried.append(1)
        return read_bytes(FAILING)

    with pytest.raises(DataError, match="cannot read /proc/self/mem: Input/output error"):
        with_retries(read)
    assert len(tried) == 4
    assert mending.told == ["cannot read /proc/self/mem: Input/output error; retrying for 0 s"]


def test_missing_file_is_not_retried(mending, tmp_path):
    with pytest.raises(DataError, match="absent"):
        with_retries(read_bytes, tmp_path / "absent")
    assert mending.told == []


def test_retry_waits_start_short_and_total_a_minute():
    assert retry.WAITS[0] <= 0.1
    assert 45 <= sum(retry.WAITS) <= 60


def test_pack_retries_failing_disk_with_equal_result(mending, pictures, tmp_path):
    expected = read_manifest(packed(pictures, tmp_path / "whole"))
    mending.fail(pictures / "3.png")
    found = read_manifest(packed(pictures, tmp_path / "shards"))
    assert mending.told[-1].startswith("recovered from: cannot read")
    assert [shard["sha256"] for shard in found["shards"]] == [shard["sha256"] for shard in expected["shards"]]


def test_permanent_disk_failure_stops_pack(mending, pictures, tmp_path):
    (pictures / "3.png").unlink()
    (pictures / "3.png").symlink_to(FAILING)
    with pytest.raises(OSError, match=r"3\.png: Input/output error"):
        packed(pictures, tmp_path / "shards")


@pytest.mark.parametrize("whole", [True, False], ids=["shards", "set"])
def test_training_retries_failing_disk_with_equal_samples(mending, pictures, tmp_path, whole):
    """All files fail at once, as with a network: twenty in a row would else have ended the run in no time."""
    source = ShardSource(packed(pictures, tmp_path / "shards")) if whole else SetSource(find_set("folder"), pictures)
    mixture = Mixture([source], seed=1)
    expected = [mixture.read(position).name for position in range(12)]
    mending.fail(*sorted((tmp_path / "shards").glob("*.tar") if whole else pictures.glob("*.png")))
    assert [mixture.read(position).name for position in range(12)] == expected
    assert mending.told[-1].startswith("recovered from: cannot read")
    mending.fail(*sorted((tmp_path / "shards").glob("*.tar") if whole else pictures.glob("*.png")))
    assert read_numbered(source, 0).image.shape == (8, 8, 3)


def test_permanent_disk_failure_ends_training(mending, pictures, tmp_path):
    """It learns from no other sample instead, and says which file it is."""
    source = ShardSource(packed(pictures, tmp_path / "shards"))
    for path in (tmp_path / "shards").glob("*.tar"):
        path.unlink()
        path.symlink_to(FAILING)
    tar_members.cache_clear()
    with pytest.raises(OSError, match=r"shard-00000\d.tar: Input/output error"):
        Mixture([source], seed=1).read(0)
    for path in (tmp_path / "shards").glob("*.tar"):
        path.unlink()
    with pytest.raises(OSError, match=r"shard-00000\d.tar is gone"):
        Mixture([source], seed=1).read(0)


def test_labeling_retries_failing_disk(mending, pictures, tmp_path):
    shards = packed(pictures, tmp_path / "shards")
    teacher = find_teacher(TeacherSettings(model="tiny"))
    chunks = Labeling(shards, tmp_path / "labels", teacher).split("shard-000001.tar")
    mending.fail(shards / "shard-000001.tar")
    assert decode(chunks[0], teacher.sizes).keys == ["2%2Epng", "3%2Epng"]
    assert mending.told[-1].startswith("recovered from: cannot read")


def test_disk_failure_is_not_taken_for_missing_depth(mending, tmp_path, monkeypatch):
    """Images whose depth could not be looked at would be left out."""
    pattern = PathPattern("{scene}/{frame}.png")
    (tmp_path / "a").mkdir()
    (tmp_path / "a/1.png").touch()
    real, failing = os.stat, [OSError(errno.EIO, "Input/output error")] * 2

    def stat(path, *arguments, **named):  # other files, such as a log handler's, do not fail
        if failing and Path(path).is_relative_to(tmp_path):
            raise failing.pop()
        return real(path, *arguments, **named)

    monkeypatch.setattr(os, "stat", stat)
    assert pattern.locate(tmp_path, {"scene": "a", "frame": "1"}) == "a/1.png"
    failing += [OSError(errno.EIO, "Input/output error")] * 9
    with pytest.raises(DataError, match=r"cannot access .*: Input/output error"):
        pattern.locate(tmp_path, {"scene": "a", "frame": "1"})


def test_unreadable_member_error_names_archive(pictures, tmp_path):
    shard = packed(pictures, tmp_path / "shards") / "shard-000000.tar"
    name = next(iter(tar_members(shard)))
    shard.unlink()
    shard.symlink_to(FAILING)
    with pytest.raises(DataError, match=r"cannot read .* of .*shard-000000\.tar: Input/output error") as raised:
        read_member(shard, name)
    assert is_transient(raised.value)
