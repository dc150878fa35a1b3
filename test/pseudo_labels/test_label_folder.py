"""The folder of labels: its manifest, repeated runs, and labels of other images or settings."""

from __future__ import annotations

import json
import re
from dataclasses import replace

import pytest

pytest.importorskip("torch", reason="labeling needs the `train` extra")
pytest.importorskip("webdataset", reason="labeling needs the `train` extra")
pytest.importorskip("pydantic", reason="labeling needs the `train` extra")

from folder_holder import held
from labeling_runs import IMAGES, contents, copy_of, label, label_as, pack_pictures, scene, times
from miniature_files import encoded, put

from depth_anything_ros.data.frame import DataError
from depth_anything_ros.data.shard_source import ShardSource
from depth_anything_ros.data.shards import read_manifest, verify_shards
from depth_anything_ros.pseudo_labels.folder import Labeling, LabelingError
from depth_anything_ros.system.output_folder import LABELS
from depth_anything_ros.training.settings import TeacherSettings
from depth_anything_ros.training.teachers.identity import find_teacher
from depth_anything_ros.zoo.catalog import BUNDLED_FOLDER
from depth_anything_ros.zoo.record import ModelRecord


def test_labels_of_other_images_are_rejected(shards, labels, tmp_path):
    copy_of(labels, tmp_path / "labels")
    manifest = read_manifest(labels)
    manifest["shards"][1]["labels_of"] = "0" * 64
    (tmp_path / "labels" / "manifest.json").write_text(json.dumps(manifest))
    assert ShardSource(shards, tmp_path / "labels").blocks == [10, 10, 6]  # the labels of the others are valid
    for entry in manifest["shards"]:
        entry["labels_of"] = "0" * 64
    (tmp_path / "labels" / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(DataError, match="run label again"):
        ShardSource(shards, tmp_path / "labels")


def test_labels_of_first_release_are_valid_for_all_images(shards, labels, tmp_path):
    copy_of(labels, tmp_path / "labels")
    manifest = read_manifest(labels)
    for entry in manifest["shards"]:
        del entry["labels_of"]
    (tmp_path / "labels" / "manifest.json").write_text(json.dumps(manifest))
    assert ShardSource(shards, tmp_path / "labels").blocks == [10, 10, 10, 6]
    (tmp_path / "labels" / "manifest.json").write_text(json.dumps(manifest | {"labels_of": "0" * 64}))
    with pytest.raises(DataError, match="run label again"):
        ShardSource(shards, tmp_path / "labels")


def test_added_image_labels_only_its_shard(tmp_path, capsys):
    pictures, images, output = tmp_path / "pictures", tmp_path / "images", tmp_path / "out"
    for number in range(4):
        put(pictures / f"{number}.jpg", encoded(".jpg", scene(number)))
    pack_pictures(pictures, images, 2)
    assert label(images, output, "--size", "14") == 0
    before = times(output)
    put(pictures / "0a.jpg", encoded(".jpg", scene(9)))
    pack_pictures(pictures, images, 2)
    assert ShardSource(images, output).blocks == [2, 2]
    capsys.readouterr()
    assert label(images, output, "--size", "14") == 0
    assert "1 shards to label, 1 images" in capsys.readouterr().out
    assert {name: times(output)[name] for name in before if "shard" in name} == {
        name: time for name, time in before.items() if "shard" in name
    }
    assert ShardSource(images, output).blocks == [2, 2, 1]


def test_labels_of_other_images_are_not_replaced(shards, labels, tmp_path, capsys):
    """The shards of every set have the same names."""
    put(tmp_path / "pictures" / "0.jpg", encoded(".jpg", scene(50)))
    other = pack_pictures(tmp_path / "pictures", tmp_path / "other", 2)
    before = contents(labels)
    assert label(other, labels) == 1
    said = capsys.readouterr().err
    assert f"{labels} holds labels of folder made from {shards}, but no labels for the images in {other}" in said
    assert contents(labels) == before
    assert label(copy_of(shards, tmp_path / "moved"), labels) == 0  # the same, elsewhere
    assert contents(labels) == before


def test_output_folder_is_shared_only_within_one_run(shards, labels, tmp_path, capsys):
    with held(labels, LABELS, "labels of folder", "label", rank=1, processes=2):
        assert label(shards, labels) == 1
        assert "another process (`label`, process " in capsys.readouterr().err
        assert label_as(1, shards, labels) == 1
        assert label_as(0, shards, labels) == 0


def test_manifest_records_teacher_and_images(shards, labels, capsys):
    manifest, images = read_manifest(labels), read_manifest(shards)
    assert manifest["labels_of"] == images["version"]
    assert (manifest["samples"], manifest["refused"], manifest["damaged"]) == (IMAGES, 0, [])
    assert [shard["name"] for shard in manifest["shards"]] == [shard["name"] for shard in images["shards"]]
    assert manifest["teacher"]["name"] == "tiny"
    assert manifest["teacher"]["sizes"] == 140
    record = json.loads((BUNDLED_FOLDER / "record.json").read_text())
    assert manifest["teacher"]["sha256"] in [file["sha256"] for file in record["files"]]
    assert [trouble for _, trouble in verify_shards(labels)] == [""] * 4


def test_second_run_labels_nothing(shards, labels, capsys):
    before = times(labels)
    assert label(shards, labels) == 0
    assert times(labels) == before
    assert "0 shards to label, 0 images" in capsys.readouterr().out


def test_changed_or_missing_shard_is_labeled_again(shards, labels, tmp_path):
    output = copy_of(labels, tmp_path / "labels")
    (output / "shard-000000.tar").write_bytes(b"cut")
    (output / "shard-000001.json").unlink()
    (output / "shard-000002.json").write_text("{")
    kept = times(output)["shard-000003.tar"]
    assert label(shards, output) == 0
    assert contents(output) == contents(labels)
    assert times(output)["shard-000003.tar"] == kept


def test_manifest_omits_missing_shard(shards, labels, tmp_path, capsys):
    """Which another process is to make again."""
    output = copy_of(labels, tmp_path / "labels")
    for name in ("shard-000001.tar", "manifest.json"):
        (output / name).unlink()
    assert label_as(0, shards, output) == 0
    assert "1 shards are left to other processes" in capsys.readouterr().out
    assert not (output / "manifest.json").exists()
    assert label_as(1, shards, output) == 0
    assert contents(output) == contents(labels)


def test_limit_keeps_finished_shards_in_manifest(shards, labels, tmp_path):
    output = copy_of(labels, tmp_path / "labels")
    assert label(shards, output, "--limit-shards", "1") == 0
    assert contents(output) == contents(labels)
    (output / "shard-000001.tar").unlink()
    assert label(shards, output, "--limit-shards", "1") == 0
    assert [shard["name"] for shard in read_manifest(output)["shards"]] == [f"shard-00000{n}.tar" for n in (0, 2, 3)]


def test_labels_of_other_settings_are_not_mixed(shards, labels, capsys):
    before = contents(labels)
    assert label(shards, labels, "--size", "56") == 1
    assert "holds labels made with tiny" in capsys.readouterr().err
    assert label(shards, labels, "--resolution", "network") == 1
    assert "give another folder" in capsys.readouterr().err
    assert contents(labels) == before
    assert label(shards, shards) == 1
    assert f"--output {shards} is SHARDS {shards}, which is an input" in capsys.readouterr().err


def test_command_without_labels_leaves_folder_free(shards, tmp_path, capsys):
    (tmp_path / "no weights.pth").write_bytes(b"nothing")
    assert label(shards, tmp_path / "out", teacher=tmp_path / "no weights.pth") == 1
    assert label(tmp_path, tmp_path / "out") == 1  # no shards
    assert "create it with" in capsys.readouterr().err
    assert label(shards, tmp_path / "out") == 0


@pytest.mark.parametrize(
    ("corrected", "told"),
    [
        ({"output": "depth"}, "output 'depth', not 'inverse_depth'"),
        ({"mean": (0, 0, 0), "std": (1, 1, 1)}, "mean [0, 0, 0], not [0.485, 0.456, 0.406], std [1, 1, 1]"),
        ({"confidence": "sure"}, "confidence 'sure', not None"),
    ],
)
def test_changed_teacher_record_rejects_folder_with_old_labels(shards, tmp_path, corrected, told):
    """Depth and inverse depth are opposites, and must not end up in one folder."""
    graph, record = BUNDLED_FOLDER / "tiny_140x182.onnx", tmp_path / "net.json"

    def labeling() -> Labeling:
        return Labeling(shards, tmp_path / "out", find_teacher(TeacherSettings(model=str(graph), record=record)))

    wrong = ModelRecord("net", "inverse_depth", "unknown")
    record.write_text(wrong.to_json())
    before = labeling()
    before.begin()
    (tmp_path / "out/shard-000000.tar").touch()  # labels, as far as the folder is concerned
    record.write_text(replace(wrong, license="Apache-2.0", description="decides nothing").to_json())
    labeling().begin()
    record.write_text(replace(wrong, **corrected).to_json())
    with pytest.raises(LabelingError, match=re.escape(told)):
        labeling().begin()
    assert labeling().fingerprint("shard-000000.tar") != before.fingerprint("shard-000000.tar")


def test_folder_without_shards_is_named_without_output(tmp_path, capsys):
    (tmp_path / "photographs").mkdir()
    assert label(tmp_path / "photographs", tmp_path / "out") == 1
    assert f"{tmp_path / 'photographs'} has no manifest.json" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("options", [["--batch", "0"], ["--workers", "0"], ["--chunk", "0"], ["--limit-shards", "-1"]])
def test_invalid_numbers_are_rejected(shards, tmp_path, capsys, options):
    assert label(shards, tmp_path / "out", *options) == 1
    assert f"{options[0]}" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
