"""Shards: equal bytes at any time and in any way, keys, versions and the manifest."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from miniature_files import Expected, encoded, picture, put
from miniature_sets import MINIATURES
from packed_shards import alter, contents, packed, remove, samples_of, shown, truncate

from depth_anything_ros.data.depth_codes import CodeRange, decode_inverse_depth, from_png
from depth_anything_ros.data.folder_sets import FolderSet
from depth_anything_ros.data.frame import DataError, decode_image, decode_picture
from depth_anything_ros.data.image_set import ImageSet
from depth_anything_ros.data.manifest import read_manifest, shard_name, verify_shards
from depth_anything_ros.data.sets import find_set
from depth_anything_ros.data.shard_files import key_of
from depth_anything_ros.data.shards import pack
from depth_anything_ros.system.output_folder import FolderError


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> tuple[Path, Path]:
    """A miniature of KITTI and its shards; not to be changed."""
    root = tmp_path_factory.mktemp("kitti")
    MINIATURES["kitti"](root / "set")
    packed(find_set("kitti"), root / "set", root / "shards")
    return root / "set", root / "shards"


@pytest.mark.parametrize("name", MINIATURES)
def test_webdataset_reads_every_packed_set(tmp_path, name):
    """Images byte by byte, depth within the code's error, classes as they are, and each sample once."""
    root, declared = tmp_path / "set", find_set(name)
    expected = {one.name: one for one in MINIATURES[name](root)}
    whole = [one for one in expected.values() if not one.refused]
    packed(declared, root, tmp_path / "shards", threads=1)
    read = list(samples_of(tmp_path / "shards"))
    assert [json.loads(sample["json"])["name"] for sample in read] == [one.name for one in whole]
    assert [sample["__key__"] for sample in read] == [key_of(one.name) for one in whole]
    assert len({sample["__key__"] for sample in read}) == len(whole)
    for sample, one in zip(read, whole, strict=True):
        check_sample(declared, root, sample, one)


def check_sample(declared: ImageSet, root: Path, sample: dict[str, Any], expected: Expected) -> None:
    ending, content = declared.read_file(root, expected.name)
    assert sample[ending] == content
    if expected.files[0] == expected.name:
        assert content == (root / expected.name).read_bytes()
    assert decode_image(content, "").shape == expected.image.shape
    described = json.loads(sample["json"])
    assert described["set"] == declared.name
    assert ("depth" in described) == ("depth.png" in sample) == (expected.depth is not None)
    assert ("label.png" in sample) == (expected.labels is not None)
    if expected.depth is not None:
        code_range = CodeRange.from_dictionary(described["depth"])
        inverse = decode_inverse_depth(from_png(sample["depth.png"]), code_range)
        step = (code_range.high - code_range.low) / 65533
        with np.errstate(divide="ignore"):
            np.testing.assert_allclose(inverse, 1 / expected.depth, rtol=0.51 * step + 3e-6)
        assert described["is_metric"] == declared.is_metric
        camera = None if expected.camera is None else pytest.approx(list(expected.camera))
        assert described.get("camera") == camera
    if expected.labels is not None:
        np.testing.assert_array_equal(decode_picture(sample["label.png"], ""), expected.labels)


def test_shards_are_equal_for_equal_images(whole, tmp_path):
    root, shards = whole
    packed(find_set("kitti"), root, tmp_path / "again")
    assert contents(tmp_path / "again") == contents(shards)
    os.utime(root / "2011_09_26" / "calib_cam_to_cam.txt", (1, 1))  # when files were written does not matter
    packed(find_set("kitti"), shutil.copytree(root, tmp_path / "elsewhere"), tmp_path / "third")  # nor where they lie
    assert contents(tmp_path / "third") == contents(shards)


def test_shards_are_equal_for_any_number_of_processes(whole, tmp_path, seven_pictures):
    root, shards = whole
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as executor:
        list(pack(find_set("kitti"), root, tmp_path / "kitti", 2, executor))
        list(pack(find_set("folder"), seven_pictures, tmp_path / "folder", 2, executor))
    assert contents(tmp_path / "kitti") == contents(shards)
    packed(find_set("folder"), seven_pictures, tmp_path / "alone", threads=1)
    assert contents(tmp_path / "folder") == contents(tmp_path / "alone")


def test_manifest_describes_packed_set(whole):
    _, shards = whole
    manifest = read_manifest(shards)
    assert manifest["set"] == "kitti"
    assert (manifest["samples"], manifest["refused"]) == (3, 0)
    assert [shard["name"] for shard in manifest["shards"]] == ["shard-000000.tar", "shard-000001.tar"]
    assert [shard["samples"] for shard in manifest["shards"]] == [2, 1]
    assert [shard["size"] for shard in manifest["shards"]] == [
        (shards / shard_name(index)).stat().st_size for index in range(2)
    ]
    assert manifest["terms"] == find_set("kitti").terms
    assert [path.name for path in shown(shards)] == [
        *("manifest.json", "shard-000000.json", "shard-000000.tar", "shard-000001.json", "shard-000001.tar"),
    ]


def test_folder_with_shards_of_other_set_is_rejected(seven_pictures, whole, tmp_path):
    output = shutil.copytree(whole[1], tmp_path / "shards")
    before = contents(output)
    said = r"shards holds shards of kitti made from .*/set: choose another folder for shards of folder, or delete that"
    with pytest.raises(FolderError, match=said):
        packed(find_set("folder"), seven_pictures, output)
    assert contents(output) == before
    (output / ".made.json").unlink()  # a copy without its hidden files: manifest, or notes, tell
    for content in ('{"set": "kitti"}', "{"):
        put(output / "manifest.json", content)
        with pytest.raises(FolderError, match=r"shards holds shards of kitti: choose"):
            packed(find_set("folder"), seven_pictures, output)
    for note in output.glob("shard-*.json"):
        note.unlink()
    with pytest.raises(FolderError, match=r"shards holds shards of an unknown data set: choose"):
        packed(find_set("folder"), seven_pictures, output)
    for name in (shard_name(0), shard_name(1)):
        assert (output / name).read_bytes() == before[name]


@pytest.mark.parametrize("name", MINIATURES)
def test_stamp_changes_with_every_source_file(tmp_path, name):
    """Be it the image's, the depth's, the mask's, the camera's or the labels'."""
    declared, root = find_set(name), tmp_path / "set"
    one = MINIATURES[name](root)[0]
    stamp = declared.stamp(root, one.name)
    for nanoseconds, file in enumerate(one.files):
        assert declared.stamp(root, one.name) == stamp
        os.utime(root / file, ns=(0, nanoseconds))
        assert declared.stamp(root, one.name) != stamp, file
        stamp = declared.stamp(root, one.name)
    with (root / one.files[-1]).open("ab") as file:
        file.write(b"\n")  # the file may be a list that the stamp reads
    os.utime(root / one.files[-1], ns=(0, nanoseconds))
    assert declared.stamp(root, one.name) != stamp


class CountingSet(FolderSet):
    """Counts the names that it was asked for."""

    asked = 0

    def names(self, root: Path) -> Iterator[str]:
        for name in super().names(root):
            type(self).asked += 1
            yield name


def test_pack_reads_names_lazily(tmp_path):
    """Of tens of millions, only those of the shards that are being made are held."""
    for number in range(40):
        put(tmp_path / "set" / f"{number:02}.jpg", picture(number))
    with ThreadPoolExecutor(1) as executor:
        shards = pack(CountingSet(), tmp_path / "set", tmp_path / "shards", 2, executor, in_flight=3)
        for number in range(1, 5):
            next(shards)
            assert CountingSet.asked <= 2 * (number + 3)
        assert len(list(shards)) == 16
    assert CountingSet.asked == 40
    assert read_manifest(tmp_path / "shards")["samples"] == 40


def test_version_changes_only_with_images(seven_pictures, tmp_path):
    def version(output: str) -> str:
        packed(find_set("folder"), seven_pictures, tmp_path / output)
        return read_manifest(tmp_path / output)["version"]

    first = version("first")
    assert version("same") == first
    put(seven_pictures / "3.jpg", picture(33))
    assert version("other") != first
    changed = [
        name
        for name, content in contents(tmp_path / "other").items()
        if name.endswith(".tar") and content != (tmp_path / "first" / name).read_bytes()
    ]
    assert changed == ["shard-000001.tar"]


def test_verify_finds_missing_truncated_altered_foreign_shards(seven_pictures, tmp_path):
    output = tmp_path / "shards"
    packed(find_set("folder"), seven_pictures, output)
    assert [trouble for _, trouble in verify_shards(output)] == [""] * 4
    size = (output / "shard-000001.tar").stat().st_size
    remove(output / "shard-000000.tar")
    truncate(output / "shard-000001.tar")
    alter(output / "shard-000003.tar")
    put(output / "shard-000004.tar", b"from elsewhere")
    assert dict(verify_shards(output)) == {
        "shard-000000.tar": "is missing",
        "shard-000001.tar": f"has 700 bytes, must have {size}",
        "shard-000002.tar": "",
        "shard-000003.tar": "has another SHA-256",
        "shard-000004.tar": "is not in the manifest",
    }


def test_invalid_manifest_is_rejected(tmp_path):
    with pytest.raises(DataError, match=r"manifest\.json.*create it with `depth_anything_ros data pack`"):
        read_manifest(tmp_path)
    for content in ("{", "[]"):
        put(tmp_path / "manifest.json", content)
        with pytest.raises(DataError, match=r"manifest\.json cannot be read: .*; pack the set again"):
            read_manifest(tmp_path)
    put(tmp_path / "manifest.json", '{"format": 0}')
    with pytest.raises(DataError, match="has format 0, must be 1; pack the set again"):
        read_manifest(tmp_path)


def test_limit_packs_only_first_images(seven_pictures, tmp_path):
    packed(find_set("folder"), seven_pictures, tmp_path / "shards", limit=3)
    names = [json.loads(sample["json"])["name"] for sample in samples_of(tmp_path / "shards")]
    assert names == ["0.jpg", "1.jpg", "2.jpg"]


def test_folder_without_images_writes_no_manifest(tmp_path):
    put(tmp_path / "set" / "readme.txt", "")
    with pytest.raises(DataError, match="contains no image of kitti; the expected path is"):
        packed(find_set("kitti"), tmp_path / "set", tmp_path / "shards")
    assert not (tmp_path / "shards" / "manifest.json").exists()


@pytest.mark.parametrize(
    "names",
    [
        ["0000", "0001"],
        ["bedroom_train_lmdb/data.mdb#00a1", "bedroom_train_lmdb/data.mdb#00a2"],
        ["videos/a.mov#0", "videos/a.mov#500"],
        ["/camera/image#1700000000", "/camera/image#1800000000"],
        ["a/1.jpg", "a/1.png"],
        ["a.b/1.jpg", "a/b/1.jpg", "a_b/1.jpg", "a__b/1.jpg", "a%2Fb/1.jpg"],
    ],
)
def test_keys_are_unique_and_free_of_separators(names):
    """WebDataset takes for one sample what has one key."""
    keys = [key_of(name) for name in names]
    assert len(set(keys)) == len(names)
    for key in keys:
        assert not set(key) & {".", "/"}


def test_keys_are_unique_within_shard(tmp_path):
    """webdataset makes one sample, or none, of what has one key."""
    for seed, name in enumerate(("a.b.jpg", "a_b.jpg", "a.b_jpg.jpg")):
        put(tmp_path / "set" / name, picture(seed))
    packed(find_set("folder"), tmp_path / "set", tmp_path / "shards", per_shard=3)
    assert {json.loads(sample["json"])["name"]: sample["jpg"] for sample in samples_of(tmp_path / "shards")} == {
        name: (tmp_path / "set" / name).read_bytes() for name in ("a.b.jpg", "a_b.jpg", "a.b_jpg.jpg")
    }


def test_images_of_equal_stem_or_odd_name_stay_distinct(tmp_path):
    root = tmp_path / "set"
    names = ["a.jpg", "a.png", "b.c/d.jpg", "b_c/d.jpg", "häuser/ä b#1.jpg", f"{'long/' * 30}name.jpg"]
    for seed, name in enumerate(names):
        put(root / name, picture(seed))
    latin = os.fsdecode(b"caf\xe9.jpg")  # no UTF-8, as old archives have it
    put(root / latin, picture(9))
    packed(find_set("folder"), root, tmp_path / "shards")
    read = {json.loads(sample["json"])["name"]: sample for sample in samples_of(tmp_path / "shards")}
    assert set(read) == {*names, latin}
    for name, sample in read.items():
        assert sample["png" if name.endswith("png") else "jpg"] == (root / name).read_bytes()


def test_pack_keeps_original_compressed_bytes(tmp_path):
    """What the owners compressed is kept as they did."""
    content = encoded(".jpg", picture(0))
    put(tmp_path / "set" / "a.JPEG", content)
    packed(find_set("folder"), tmp_path / "set", tmp_path / "shards")
    (sample,) = samples_of(tmp_path / "shards")
    assert sample["jpg"] == content
