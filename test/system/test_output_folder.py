"""Output folders: one process at a time, one kind of content, and a record of its source."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import re
import socket
from pathlib import Path

import pytest
from folder_holder import held

from depth_anything_ros.system.output_folder import (
    LABELS,
    NOTE,
    RUN,
    SHARDS,
    FolderError,
    Made,
    claimed,
    locked,
    results_in,
)

KITTI = Made(SHARDS, "shards of kitti", "data pack")
OTHERS = Made(SHARDS, "shards of sintel", "data pack"), Made(RUN, RUN, "train"), Made(LABELS, "labels of a", "label")


def test_claimed_folder_records_its_content(tmp_path):
    folder = tmp_path / "a" / "b"
    with claimed(folder, KITTI) as claim:
        assert claim.previous is None
        claim.note({"": "/data/kitti"})
        (folder / "manifest.json").write_text('{"shards": [{"name": "shard-000000.tar"}]}')
        claim.note({"": "/data/kitti"}, ["manifest.json"])
    with claimed(folder, KITTI) as claim:
        assert str(claim.previous) == "shards of kitti made from /data/kitti"
    assert results_in(folder) == ["manifest.json", "shard-000000.tar"]


@pytest.mark.parametrize("other", OTHERS)
def test_folder_with_other_content_is_rejected(tmp_path, other):
    with claimed(tmp_path, KITTI) as claim:
        claim.note({"": "/data/kitti"})
        (tmp_path / "manifest.json").write_text("{}")
    said = f"{tmp_path} holds shards of kitti made from /data/kitti: choose another folder for {other.holds}"
    with pytest.raises(FolderError, match=re.escape(said)), claimed(tmp_path, other):
        pass


def test_command_without_results_leaves_folder_free(tmp_path):
    with claimed(tmp_path, KITTI) as claim:
        claim.note({"": "/data/kitti"})
    with claimed(tmp_path, Made(RUN, RUN, "train")) as claim:
        assert claim.previous is None
        assert json.loads((tmp_path / NOTE).read_text())["kind"] == RUN


@pytest.mark.parametrize(
    ("file", "content", "holds"),
    [
        ("manifest.json", '{"set": "sintel"}', "shards of sintel"),
        ("shard-000000.tar", "", "shards of an unknown data set"),
        ("labels.json", "{}", "labels of an unknown data set"),
        ("run.json", "[]", "a training run"),
        ("predict.json", "{}", "predictions"),
        ("record.json", "{}", "a model"),
        ("table.md", "", "an ablation"),
    ],
)
def test_folder_without_note_is_identified_by_its_files(tmp_path, file, content, holds):
    (tmp_path / file).write_text(content)
    with pytest.raises(FolderError, match=f"holds {holds}: choose"), claimed(tmp_path, KITTI):
        pass


def test_folder_with_foreign_files_is_accepted(tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    with claimed(tmp_path, KITTI) as claim:
        assert claim.previous is None


def test_damaged_note_is_reported(tmp_path):
    (tmp_path / "manifest.json").write_text("{}")
    (tmp_path / NOTE).write_text("{")
    with pytest.raises(FolderError, match=r"\.made\.json is damaged .*: delete it"), claimed(tmp_path, KITTI):
        pass


def test_second_process_is_rejected_with_owner(tmp_path):
    with held(tmp_path, SHARDS, "shards of kitti", "data pack") as process:
        with pytest.raises(FolderError) as raised, claimed(tmp_path, KITTI):
            pass
        who = f"`data pack`, process {process.pid} on {socket.gethostname()}"
        mend = "wait for it, end it, or choose another folder"
        assert str(raised.value) == f"another process ({who}) is writing into {tmp_path}: {mend}"
        process.kill()  # which lets go of it
        process.wait()
        with claimed(tmp_path, KITTI):
            pass


def test_processes_of_one_run_share_folder(tmp_path):
    made = Made(LABELS, "labels of kitti", "label")
    with held(tmp_path, LABELS, made.holds, rank=0, processes=3):
        with claimed(tmp_path, made, rank=1, processes=3):
            pass
        for rank, processes in ((0, 3), (0, 1), (1, 2)):  # the same number, a process alone, a run of two
            with pytest.raises(FolderError, match="another process"), claimed(tmp_path, made, rank, processes):
                pass


def test_single_process_excludes_processes_of_run(tmp_path):
    with (
        held(tmp_path, SHARDS, "shards of kitti"),
        pytest.raises(FolderError, match="another process"),
        claimed(tmp_path, KITTI, rank=0, processes=2),
    ):
        pass


def test_disk_without_locks_warns(tmp_path, monkeypatch, caplog):
    def refuse(*_):
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, "lockf", refuse)
    with locked(tmp_path / "folder", "a command"):
        pass
    assert f"{tmp_path / 'folder'} cannot be locked" in caplog.text
    assert "make sure that no other process writes there" in caplog.text


def test_results_of_folder_without_note_are_its_files(tmp_path):
    for name in ("b.png", "a.png", ".hidden"):
        (tmp_path / name).touch()
    (tmp_path / "folder").mkdir()
    assert results_in(tmp_path) == ["a.png", "b.png"]
    assert results_in(tmp_path / "a.png") == results_in(Path("absent")) == []
