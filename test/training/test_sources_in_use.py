"""Unused data of a stage is rejected and used data listed: labels, teachers, depth, each source's part."""

from __future__ import annotations

import json
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="training needs the `train` extra")
pytest.importorskip("lightning_fabric", reason="training needs the `train` extra")

from scene_shards import pack_scenes  # noqa: E402

from depth_anything_ros.data.frame import DataError  # noqa: E402
from depth_anything_ros.data.sets import find_set  # noqa: E402
from depth_anything_ros.data.shards import pack, read_manifest  # noqa: E402
from depth_anything_ros.training.configuration import StageConfiguration  # noqa: E402
from depth_anything_ros.training.input.samples import SampleIndex, open_data  # noqa: E402
from depth_anything_ros.training.input.sources_in_use import sources_table  # noqa: E402

pytestmark = pytest.mark.usefixtures("renderer")


@pytest.fixture(scope="module")
def folders(tmp_path_factory) -> dict[str, Path]:
    """Rendered scenes, images in three shards of four, and labels of all of them, of two, of one."""
    root = tmp_path_factory.mktemp("sources")
    (root / "pictures").mkdir()
    for number in range(12):
        image = np.random.default_rng(number).integers(0, 256, (28, 42, 3), np.uint8)
        cv2.imwrite(str(root / "pictures" / f"{number:02d}.png"), image)
    with ThreadPoolExecutor(1) as executor:
        list(pack(find_set("folder"), root / "pictures", root / "shards", 4, executor))
    scenes = pack_scenes(root / "scenes", 6, 0, (28, 42))
    for count in (1, 3):
        labels = root / f"labels{count}"
        labels.mkdir()
        manifest = read_manifest(root / "shards")
        shards = manifest["shards"][:count]
        for shard in shards:
            shutil.copy(root / "shards" / shard["name"], labels)
        made = {**manifest, "labels_of": manifest["version"], "version": f"labels of {count}", "shards": shards}
        (labels / "manifest.json").write_text(json.dumps(made))
    return {"scenes": scenes, "shards": root / "shards", "pictures": root / "pictures",
            "some": root / "labels1", "all": root / "labels3"}  # fmt: skip


def student(folders, unlabeled, teacher: bool, **data) -> StageConfiguration:
    values = {
        "stage": "student",
        "name": "student",
        "network": {"encoder": "tiny"},
        "optimizer": {"steps": 1},
        "teacher": {"model": "absent.safetensors"} if teacher else None,
        "data": {
            **{"labeled": [{"shards": str(folders["scenes"])}], "labeled_batch_size": 4},
            **{"unlabeled": unlabeled, "unlabeled_batch_size": 8, "sizes": [[14, 28]], **data},
        },
    }
    return StageConfiguration.from_dictionary(values)


def shards(folders, labels: str | None = None) -> dict[str, str]:
    return {"shards": str(folders["shards"])} | ({"labels": str(folders[labels])} if labels else {})


def test_shards_without_labels_are_rejected_unless_allowed(folders):
    message = r"labels1: labels for 1 of 3 shards of .*shards \(4 of 12 images\): label the others .*partial_labels"
    with pytest.raises(DataError, match=message):
        open_data(student(folders, [shards(folders, "some")], teacher=False))
    data = open_data(student(folders, [shards(folders, "some")], teacher=False, allow=["partial_labels"]))
    assert len(data.samples.mixtures["unlabeled"]) == 4
    open_data(student(folders, [shards(folders, "all")], teacher=False))


def test_shards_without_labels_are_rejected_in_every_source(folders):
    source = shards(folders, "some")
    for kind in ("labeled", "validation", "evaluation"):
        configuration = student(folders, [shards(folders, "all")], teacher=False, overlap="allow", **{kind: [source]})
        with pytest.raises(DataError, match="labels for 1 of 3 shards"):
            open_data(configuration)


def test_labels_unused_beside_teacher_are_rejected(folders):
    other = {"set": "folder", "root": str(folders["pictures"])}
    mixed = [shards(folders, "all"), other]
    message = r"1 of 2 unlabeled sources have labels \(.*labels3\), which are unused, since the teacher absent\."
    with pytest.raises(DataError, match=message):
        open_data(student(folders, mixed, teacher=True))
    partly = [shards(folders, "some"), other]
    data = open_data(student(folders, partly, teacher=True, allow=["unused_labels"]))
    assert len(data.samples.mixtures["unlabeled"]) == 24  # the images without labels too, for the teacher labels all
    assert data.samples.view(SampleIndex("unlabeled", 0, 0)).inverse_depth is None


def test_teacher_unused_beside_labels_is_rejected(folders):
    with pytest.raises(DataError, match=r"all unlabeled sources have labels, so the teacher absent.* is unused"):
        open_data(student(folders, [shards(folders, "all")], teacher=True))
    open_data(student(folders, [shards(folders, "all")], teacher=True, allow=["unused_teacher"]))


def test_used_part_of_each_source_is_listed(folders, tmp_path):
    validation = pack_scenes(tmp_path / "validation", 5, 900, (28, 42))
    unlabeled = [shards(folders, "all"), {"shards": str(folders["shards"]), "labels": str(folders["some"])}]
    data = {"allow": ["partial_labels"], "validation": [{"shards": str(validation)}], "validation_images": 3}
    configuration = student(folders, unlabeled, teacher=False, **data)
    lines = [line.split("  ") for line in sources_table(configuration, open_data(configuration).sources).splitlines()]
    assert [[cell.strip() for cell in line if cell.strip()] for line in lines] == [
        ["source", "images", "labels", "in each step"],
        ["labeled", "rendered_scenes", "6", "depth in meters", "4 of 4"],
        ["unlabeled", "folder", "12", "labels for 3 of 3 shards", "6 of 8"],
        ["unlabeled", "folder", "4", "labels for 1 of 3 shards", "2 of 8"],
        ["validation", "rendered_scenes", "3 of 5", "depth in meters"],
    ]
    configuration = student(folders, [shards(folders)], teacher=True)
    assert "labeled by absent.safetensors" in sources_table(configuration, open_data(configuration).sources)


def test_labeled_source_without_depth_is_rejected_at_start(folders):
    source = {"shards": str(folders["shards"])}
    configuration = student(folders, [shards(folders, "all")], teacher=False, labeled=[source])
    with pytest.raises(DataError, match=r"shard-000000\.tar/00%2Epng has no depth: labeled images need depth"):
        open_data(configuration)


def test_scored_set_without_split_warns(tmp_path, caplog, folders):
    from miniature_sets import MINIATURES

    MINIATURES["kitti"](tmp_path / "kitti")
    source = {"set": "kitti", "root": str(tmp_path / "kitti")}
    for fields, warned in ({}, True), ({"split": "train"}, False):
        caplog.clear()
        labeled = [{**source, "fields": fields}]
        open_data(student(folders, [shards(folders, "all")], teacher=False, labeled=labeled))
        assert any("kitti (labeled) is not narrowed to a split" in message for message in caplog.messages) == warned
