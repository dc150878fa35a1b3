"""Damaged shards and images are named and counted, and all others are labeled."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch", reason="labeling needs the `train` extra")
pytest.importorskip("webdataset", reason="labeling needs the `train` extra")
pytest.importorskip("pydantic", reason="labeling needs the `train` extra")

from labeling_runs import CHUNK, IMAGES, contents, copy_of, decoded, label, label_as, pack_pictures, scene
from miniature_files import encoded, put

from depth_anything_ros.data.frame import DataError
from depth_anything_ros.data.shard_samples import keys_of
from depth_anything_ros.data.shard_source import ShardSource
from depth_anything_ros.data.shards import read_manifest
from depth_anything_ros.data.tar_members import tar_members
from depth_anything_ros.pseudo_labels.chunks import Part, Problem, decode
from depth_anything_ros.pseudo_labels.completion import recorded_problems, unfinished
from depth_anything_ros.pseudo_labels.folder import Labeling
from depth_anything_ros.pseudo_labels.shard_writer import write_shard
from depth_anything_ros.training.settings import TeacherSettings
from depth_anything_ros.training.teachers.identity import find_teacher


def test_damaged_shard_is_named_and_others_are_labeled(shards, labels, tmp_path, capsys):
    images, output = copy_of(shards, tmp_path / "images"), tmp_path / "out"
    whole = (images / "shard-000001.tar").read_bytes()
    (images / "shard-000001.tar").write_bytes(whole[: len(whole) // 2])
    altered = bytearray((images / "shard-000002.tar").read_bytes())
    altered[5000] ^= 1
    (images / "shard-000002.tar").write_bytes(altered)
    (images / "shard-000003.tar").unlink()
    assert label(images, output) == 1
    printed = capsys.readouterr().out
    for text in ("shard-000001.tar has", "shard-000002.tar has another SHA-256", "shard-000003.tar cannot be read"):
        assert text in printed
    assert "3 shards damaged" in printed
    assert (output / "shard-000000.tar").read_bytes() == (labels / "shard-000000.tar").read_bytes()
    assert [entry["shard"] for entry in read_manifest(output)["damaged"]] == [f"shard-00000{n}.tar" for n in (1, 2, 3)]
    assert ShardSource(images, output).blocks == [10]  # training may begin with what is there
    for number in (1, 2, 3):
        (images / f"shard-00000{number}.tar").write_bytes((shards / f"shard-00000{number}.tar").read_bytes())
    assert label(images, output) == 0
    assert contents(output) == contents(labels)


def alter_second_shard(images: Path) -> None:
    altered = bytearray((images / "shard-000001.tar").read_bytes())
    altered[5000] ^= 1
    (images / "shard-000001.tar").write_bytes(altered)


def test_last_of_several_processes_reports_damaged_shard(shards, tmp_path, capsys):
    """With the first status that is not 0, torchrun kills all others."""
    images, output = copy_of(shards, tmp_path / "images"), tmp_path / "out"
    alter_second_shard(images)
    assert label_as(1, images, output) == 0
    assert "shard-000001.tar has another SHA-256" in capsys.readouterr().out
    assert not (output / "manifest.json").exists()
    assert label_as(0, images, output) == 1
    assert "shard-000001.tar has another SHA-256" in capsys.readouterr().out
    assert [entry["shard"] for entry in read_manifest(output)["damaged"]] == ["shard-000001.tar"]
    assert label_as(0, images, output) == 1  # it has nothing to do, and the other's shard is damaged still


def test_repaired_shard_is_not_reported_damaged_by_other_process(shards, labels, tmp_path, capsys):
    images, output = copy_of(shards, tmp_path / "images"), tmp_path / "out"
    alter_second_shard(images)
    assert label(images, output) == 1
    (output / "manifest.json").unlink()
    (images / "shard-000001.tar").write_bytes((shards / "shard-000001.tar").read_bytes())
    assert label_as(0, images, output) == 0
    assert "1 shards are left to other processes" in capsys.readouterr().out
    assert not (output / "manifest.json").exists()
    assert label_as(1, images, output) == 0
    assert contents(output) == contents(labels)


def test_problem_counts_if_new_or_lasting(shards, tmp_path):
    """What could not be read once, and can be now, is for the process that it belongs to."""
    labeling = Labeling(shards, tmp_path, find_teacher(TeacherSettings(model="tiny")), limit=1)
    (shard,) = labeling.begin()
    write_shard(labeling, shard, [Problem(shard, "stale file handle")])
    assert unfinished(labeling, {}) == []
    earlier = recorded_problems(labeling)
    assert unfinished(labeling, earlier) == [shard]
    write_shard(labeling, shard, [Problem(shard, "stale file handle")])
    assert unfinished(labeling, earlier) == []


def test_late_process_reports_shard_without_valid_image(shards, tmp_path, capsys):
    """The others have ended, and the shard can be read: nobody will come to another end with it."""
    images, output = copy_of(shards, tmp_path / "images"), tmp_path / "out"
    for key in keys_of(images / "shard-000001.tar"):
        damage_image(images, "shard-000001.tar", key)
    tar_members.cache_clear()
    assert label_as(1, images, output) == 0
    assert label_as(0, images, output) == 1
    assert "none of its" in capsys.readouterr().out
    assert (output / "manifest.json").exists()


def damage_image(folder: Path, shard: str, key: str) -> None:
    """Replace an image by zeros, with a manifest that still matches the shard."""
    offset, size = tar_members(folder / shard)[f"{key}.jpg"]
    content = bytearray((folder / shard).read_bytes())
    content[offset : offset + size] = bytes(size)
    (folder / shard).write_bytes(content)
    manifest = read_manifest(folder)
    for entry in manifest["shards"]:
        if entry["name"] == shard:
            entry["sha256"] = hashlib.sha256(content).hexdigest()
    (folder / "manifest.json").write_text(json.dumps(manifest))


def test_damaged_image_is_skipped_and_named(shards, labels, tmp_path):
    images, output = copy_of(shards, tmp_path / "images"), tmp_path / "out"
    damage_image(images, "shard-000001.tar", "12%2Ejpg")
    assert label(images, output) == 0
    entry = read_manifest(output)["shards"][1]
    assert entry["samples"] == 9
    (refused,) = entry["refused"]
    assert "12%2Ejpg.jpg is not a picture, or is damaged" in refused
    report = json.loads((output / "report.json").read_text())
    assert report["refused"] == {"images": 1, "kinds": {"image": 1}, "named": [refused]}
    assert (report["images"], report["labels"]) == (IMAGES, IMAGES - 1)
    assert list(keys_of(output / "shard-000001.tar")) == [f"{n}%2Ejpg" for n in range(10, 20) if n != 12]
    source = ShardSource(images, output)
    for index in (1, 3):  # the neighbors keep their own labels
        expected, _ = decoded(output, "shard-000001.tar", f"1{index}%2Ejpg")
        np.testing.assert_array_equal(source.read(1, index).inverse_depth, expected)
    with pytest.raises(DataError, match="12%2Ejpg"):
        source.read(1, 2)
    for name in ("shard-000000.tar", "shard-000002.tar"):
        assert (output / name).read_bytes() == (labels / name).read_bytes()


@pytest.mark.parametrize("amiss", ["is absent", "is cut short", "cannot be read"])
def test_unreadable_shard_is_not_reported_as_damaged_image(shards, tmp_path, amiss):
    """A network file system that fails for a moment leaves no image out for ever."""
    images = copy_of(shards, tmp_path / "images")
    teacher = find_teacher(TeacherSettings(model="tiny"))
    labeling = Labeling(images, tmp_path / "out", teacher, chunk=CHUNK, limit=1)
    (shard,) = labeling.begin()
    chunks, content = labeling.split(shard), (images / shard).read_bytes()
    (images / shard).unlink()
    if amiss == "is cut short":
        (images / shard).write_bytes(content[:2000])
    elif amiss == "cannot be read":
        (images / shard).mkdir()  # the system refuses to read it
    found = decode(chunks[1], teacher.sizes)
    assert isinstance(found, Problem)
    assert str(images / shard) in found.text
    assert write_shard(labeling, shard, [Part(shard, 0), found]) is not None
    assert labeling.begin() == [shard]


def test_shard_without_any_label_is_named(tmp_path, capsys):
    for number in range(3):
        put(tmp_path / "pictures" / f"{number}.jpg", encoded(".jpg", scene(number)))
    shards, output = pack_pictures(tmp_path / "pictures", tmp_path / "shards", 2), tmp_path / "out"
    damage_image(shards, "shard-000001.tar", "2%2Ejpg")
    assert label(shards, output) == 1
    assert not (output / "shard-000001.tar").exists()
    said = capsys.readouterr().out
    assert "shard-000001.tar: none of its 1 images can be labeled, the first: " in said
    assert "2%2Ejpg.jpg is not a picture, or is damaged" in said
    assert [shard["name"] for shard in read_manifest(output)["shards"]] == ["shard-000000.tar"]
    assert ShardSource(shards, output).blocks == [2]
