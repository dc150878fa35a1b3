"""Training images are separated from the papers' test images: by paths, official lists and the papers' lists."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from miniature_sets import MINIATURES
from scipy.io import savemat

from depth_anything_ros.cli import main
from depth_anything_ros.data.frame import DataError
from depth_anything_ros.data.set_source import SetSource
from depth_anything_ros.data.sets import SETS_BY_KIND, find_set
from depth_anything_ros.data.shard_source import ShardSource
from depth_anything_ros.data.shards import read_manifest
from depth_anything_ros.data.splits import EIGEN_TEST_DRIVES

SCORED = ("kitti", "nyuv2_labeled", "sintel", "ddad", "eth3d", "diode", "sun_rgbd", "ibims1")
"""The sets whose scores the papers tabulate."""


def written(name: str, folder: Path) -> Path:
    MINIATURES[name](folder)
    if name == "hypersim":
        rows = ["scene_name,camera_name,frame_id,included_in_public_release,exclude_reason,split_partition_name"]
        rows += ["ai_001_001,cam_00,0,True,,train", "ai_001_001,cam_00,1,False,CONTENT FLAGGED FOR REMOVAL,"]
        rows += ["ai_037_002,cam_01,0,True,,test"]
        (folder / "metadata_images_split_scene_v1.csv").write_text("\n".join(rows) + "\n")
    if name == "sun_rgbd":
        (folder / "SUNRGBDtoolbox/traintestSUNRGBD").mkdir(parents=True)
        listed = {
            "alltrain": ["kv2/kinect2data/000002_2014-05-26_14-23-37_260595134347_rgbf000103-resize/"],
            "alltest": ["kv1/NYUdata/NYU0001", "xtion/sun3ddata/brown_bm_1/brown_bm_1/0000001_rgb0000"],
        }
        cells = {
            name: np.array([np.array([f"/n/fs/sun3d/data/SUNRGBD/{path}"]) for path in paths] + [None], object)[:-1]
            for name, paths in listed.items()
        }
        savemat(folder / "SUNRGBDtoolbox/traintestSUNRGBD/allsplit.mat", cells)
    return folder


def names(name: str, root: Path, **fields: str) -> list[str]:
    return list(find_set(name).select(fields).names(root))


@pytest.mark.parametrize(
    ("name", "train", "test"),
    [
        ("kitti", 2, 1),
        ("nyuv2_labeled", 1, 3),
        ("hypersim", 2, 1),
        ("sun_rgbd", 1, 2),
    ],
)
def test_train_and_test_splits_are_disjoint(tmp_path, name, train, test):
    root = written(name, tmp_path / name)
    ours, theirs = names(name, root, split="train"), names(name, root, split="test")
    assert (len(ours), len(theirs)) == (train, test)
    assert not set(ours) & set(theirs)
    assert sorted(names(name, root, split="train|test")) == sorted(ours + theirs)
    assert SetSource(find_set(name).select({"split": "train"}), root).blocks == [train]


@pytest.mark.parametrize("name", ["sintel", "eth3d", "ibims1"])
def test_fully_scored_set_has_no_train_split(tmp_path, name):
    root = written(name, tmp_path / name)
    assert names(name, root, split="test") == names(name, root)
    with pytest.raises(DataError, match=f"^{name} has no split 'train'; its splits are test$"):
        find_set(name).select({"split": "train"})


def test_every_scored_set_has_splits():
    for name in SCORED:
        declared = find_set(name)
        assert "test" in declared.split_names or "val" in declared.split_names or "{split}" in declared.images
    assert find_set("nyuv2_sync").split_names == ("train",)


def test_ddad_splits_follow_its_list(tmp_path):
    root = written("ddad", tmp_path / "ddad")
    assert names("ddad", root, split="val") == names("ddad", root)
    assert [name.split("/")[0] for name in names("ddad", root, split="train")] == ["000000"]
    assert len(names("ddad", root, split="train|val")) == 3


def test_eigen_test_drives_are_excluded_from_any_folder(tmp_path):
    assert len(EIGEN_TEST_DRIVES) == 28
    root = written("kitti", tmp_path / "kitti")
    (root / "train/2011_10_03_drive_0047_sync").parent.mkdir(exist_ok=True)
    (root / "val/2011_10_03_drive_0047_sync").rename(root / "train/2011_10_03_drive_0047_sync")
    assert all("drive_0001" in name for name in names("kitti", root, split="train"))


def test_fields_of_depth_path_select_images(tmp_path, caplog):
    root = written("kitti", tmp_path / "kitti")
    assert len(names("kitti", root, annotated="train")) == 2
    (only,) = names("kitti", root, annotated="val")
    assert "2011_10_03_drive_0047" in only
    assert names("kitti", root, annotated="val", split="train") == []
    with pytest.raises(DataError, match=r"kitti has no field 'anotated': its images are .*, its depth files \{ann"):
        find_set("kitti").select({"anotated": "val"})
    with pytest.raises(
        DataError, match=r"contains 4 images of kitti, but none has depth at .* with drive '0001' and annotated 'val'"
    ):
        SetSource(find_set("kitti").select({"drive": "0001", "annotated": "val"}), root)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("hypersim", r"metadata_images_split_scene_v1\.csv is missing: it is the owners' list of splits"),
        ("sun_rgbd", r"allsplit\.mat is missing: it is the owners' list"),
        ("nyuv2_labeled", r"splits\.mat is missing: it is the owners' list"),
    ],
)
def test_missing_split_file_raises_only_if_needed(tmp_path, name, message):
    MINIATURES[name](tmp_path / name)
    (tmp_path / name / "splits.mat").unlink(missing_ok=True)
    assert names(name, tmp_path / name)  # without splits it is not needed
    with pytest.raises(DataError, match=message):
        names(name, tmp_path / name, split="train")


def test_packed_split_is_recorded_in_manifest(tmp_path, capsys):
    root, shards = written("kitti", tmp_path / "kitti"), tmp_path / "shards"
    words = ["data", "pack", "kitti", str(root), "--output", str(shards), "--processes", "1", "--fields"]
    assert main([*words, "split=train", "--fields", "camera=02"]) == 0
    manifest = read_manifest(shards)
    assert (manifest["samples"], manifest["fields"]) == (1, {"split": "train", "camera": "02"})
    assert ShardSource(shards).blocks == [1]
    assert main([*words, "split=test"]) == 1  # what lies there would stay, and be taken for it
    assert "holds shards of kitti (camera=02, split=train)" in capsys.readouterr().err
    assert main([*words, "split=trian"]) == 1
    assert "kitti has no split 'trian'; its splits are train, test" in capsys.readouterr().err
    assert main([*words, "split"]) == 1
    assert "--fields split: give NAME=VALUE" in capsys.readouterr().err


def test_data_list_prints_splits(tmp_path):
    assert main(["data", "list", "--json", str(tmp_path / "sets.json")]) == 0
    rows = {row["name"]: row for row in json.loads((tmp_path / "sets.json").read_text())}
    listed = {name: row["splits"] for name, row in rows.items()}
    assert listed["kitti"] == ["train", "test"]
    images, depth = rows["kitti"]["patterns"]  # whose fields `--fields` takes, those beside the images too
    assert "{drive}" in images
    assert "{annotated}" in depth
    assert set(listed) == {declared.name for sets in SETS_BY_KIND.values() for declared in sets}
