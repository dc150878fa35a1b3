"""Packing into shards: equal bytes at any time and in any way, without losses."""

from __future__ import annotations

import json
import os
import re
import resource
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import webdataset
from miniature_files import Expected, encoded, picture, put
from miniature_sets import MINIATURES
from waiting import limit

from depth_anything_ros.data import retry
from depth_anything_ros.data.check import check_samples
from depth_anything_ros.data.depth_codes import CodeRange, decode_inverse_depth, from_png
from depth_anything_ros.data.folder_sets import FolderSet
from depth_anything_ros.data.frame import DataError, decode_image, decode_picture
from depth_anything_ros.data.image_set import ImageSet, SampleParts
from depth_anything_ros.data.manifest import Shard, read_manifest, shard_name, verify_shards
from depth_anything_ros.data.sets import find_set
from depth_anything_ros.data.shard_files import Part, key_of, pack_shard
from depth_anything_ros.data.shards import pack
from depth_anything_ros.system.atomic_file import partial_of
from depth_anything_ros.system.output_folder import FolderError


def packed(
    declared: ImageSet, root: Path, output: Path, per_shard: int = 2, threads: int = 2, limit: int = 0
) -> list[Shard]:
    """Pack with threads instead of processes, which gives the same shards."""
    with ThreadPoolExecutor(threads) as executor:
        return list(pack(declared, root, output, per_shard, executor, limit))


def contents(folder: Path) -> dict[str, bytes]:
    """All files but the notes, which contain times and paths."""
    files = [path for path in shown(folder) if not (path.name.startswith("shard-") and path.suffix == ".json")]
    return {path.name: path.read_bytes() for path in files}


def shown(folder: Path) -> list[Path]:
    """The visible files in a folder, in order."""
    return [path for path in sorted(folder.iterdir()) if not path.name.startswith(".")]


def samples_of(folder: Path) -> Iterator[dict[str, Any]]:
    """The samples that webdataset reads from the shards, in order."""
    shards = sorted(str(path) for path in folder.glob("*.tar"))
    yield from webdataset.WebDataset(shards, shardshuffle=False)


@pytest.fixture
def pictures(tmp_path) -> Path:
    """A folder of seven images, which make four shards of two."""
    for number in range(7):
        put(tmp_path / "pictures" / f"{number}.jpg", picture(number))
    return tmp_path / "pictures"


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


def test_shards_are_equal_for_any_number_of_processes(whole, tmp_path, pictures):
    root, shards = whole
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as executor:
        list(pack(find_set("kitti"), root, tmp_path / "kitti", 2, executor))
        list(pack(find_set("folder"), pictures, tmp_path / "folder", 2, executor))
    assert contents(tmp_path / "kitti") == contents(shards)
    packed(find_set("folder"), pictures, tmp_path / "alone", threads=1)
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


def remove(path: Path) -> None:
    path.unlink()


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:700])


def forget(path: Path) -> None:
    path.with_suffix(".json").unlink()


def alter(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[600] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize("interrupt", [remove, truncate, forget, alter])
def test_interrupted_pack_resumes(pictures, tmp_path, interrupt):
    output = tmp_path / "shards"
    packed(find_set("folder"), pictures, output)
    whole = contents(output)
    interrupt(output / "shard-000001.tar")
    (output / "manifest.json").unlink()  # which is written last
    kept = [output / shard_name(index) for index in (0, 2, 3)]
    before = [path.stat() for path in kept]
    packed(find_set("folder"), pictures, output)
    assert contents(output) == whole
    assert [path.stat() for path in kept] == before  # they were not made anew


def test_partial_files_of_killed_process_are_removed_after_a_day(pictures, tmp_path):
    """Before that it may be what another process, on whatever machine, is writing."""
    output, now = tmp_path / "shards", time.time()
    for name in (".shard-000001.tar.99999.partial", ".manifest.json.1.partial"):
        put(output / name, b"half a file")
        os.utime(output / name, (now - 25 * 3600,) * 2)
    put(output / ".shard-000002.tar.99999.partial", b"half a file, and the rest is to come")
    packed(find_set("folder"), pictures, output)
    assert [path.name for path in output.glob(".*.partial")] == [".shard-000002.tar.99999.partial"]


def test_folder_with_shards_of_other_set_is_rejected(pictures, whole, tmp_path):
    output = shutil.copytree(whole[1], tmp_path / "shards")
    before = contents(output)
    said = r"shards holds shards of kitti made from .*/set: choose another folder for shards of folder, or delete that"
    with pytest.raises(FolderError, match=said):
        packed(find_set("folder"), pictures, output)
    assert contents(output) == before
    (output / ".made.json").unlink()  # a copy without its hidden files: manifest, or notes, tell
    for content in ('{"set": "kitti"}', "{"):
        put(output / "manifest.json", content)
        with pytest.raises(FolderError, match=r"shards holds shards of kitti: choose"):
            packed(find_set("folder"), pictures, output)
    for note in output.glob("shard-*.json"):
        note.unlink()
    with pytest.raises(FolderError, match=r"shards holds shards of an unknown data set: choose"):
        packed(find_set("folder"), pictures, output)
    for name in (shard_name(0), shard_name(1)):
        assert (output / name).read_bytes() == before[name]


def test_stopped_pack_protects_shards_from_other_set(pictures, tmp_path):
    """The manifest is gone then, since a shard was made anew."""
    output = tmp_path / "shards"
    packed(find_set("folder"), pictures, output)
    put(pictures / "0.jpg", picture(33))
    with ThreadPoolExecutor(1) as executor:
        next(pack(find_set("folder"), pictures, output, 2, executor, in_flight=1))
    assert not (output / "manifest.json").exists()
    before = contents(output)
    put(tmp_path / "mine.txt", "pictures/1.jpg\n")
    with pytest.raises(
        FolderError, match=r"holds shards of folder made from .*: choose another folder for shards of list"
    ):
        packed(find_set("list"), tmp_path / "mine.txt", output)
    assert contents(output) == before
    packed(find_set("folder"), pictures, output)
    assert read_manifest(output)["samples"] == 7


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
        file.write(b"more")
    os.utime(root / one.files[-1], ns=(0, nanoseconds))
    assert declared.stamp(root, one.name) != stamp


def test_changed_image_remakes_only_its_shard(pictures, tmp_path):
    output = tmp_path / "shards"
    packed(find_set("folder"), pictures, output)
    before = {path.name: path.stat().st_ino for path in output.glob("*.tar")}
    put(pictures / "3.jpg", picture(33))
    packed(find_set("folder"), pictures, output)
    after = {path.name: path.stat().st_ino for path in output.glob("*.tar")}
    assert {name for name in before if before[name] != after[name]} == {"shard-000001.tar"}
    read = {json.loads(sample["json"])["name"]: sample["jpg"] for sample in samples_of(output)}
    assert read["3.jpg"] == (pictures / "3.jpg").read_bytes()


def test_manifest_exists_only_while_valid(pictures, tmp_path):
    """Packing anew that is stopped leaves none."""
    output = tmp_path / "shards"
    packed(find_set("folder"), pictures, output)
    put(pictures / "0.jpg", picture(33))
    with ThreadPoolExecutor(1) as executor:
        assert next(pack(find_set("folder"), pictures, output, 2, executor, in_flight=1)).samples == 2
    assert not (output / "manifest.json").exists()
    with pytest.raises(DataError, match="create it with `depth_anything_ros data pack`"):
        read_manifest(output)


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


def test_damaged_image_is_skipped_and_named(pictures, tmp_path):
    (pictures / "2.jpg").write_bytes((pictures / "2.jpg").read_bytes()[:200])
    put(pictures / "3.jpg", "this is no picture")
    shards = packed(find_set("folder"), pictures, tmp_path / "shards")
    manifest = read_manifest(tmp_path / "shards")
    assert (manifest["samples"], manifest["refused"]) == (5, 2)
    assert [shard.samples for shard in shards] == [2, 0, 2, 1]
    refused = manifest["shards"][1]["refused"]
    assert re.search(r"2\.jpg is not a picture, or is damaged: it is truncated", refused[0])
    assert re.search(r"3\.jpg is not a picture", refused[1])
    assert list(shards[1].refused) == refused
    names = [json.loads(sample["json"])["name"] for sample in samples_of(tmp_path / "shards")]
    assert names == ["0.jpg", "1.jpg", "4.jpg", "5.jpg", "6.jpg"]
    again = packed(find_set("folder"), pictures, tmp_path / "shards")  # it is not forgotten when packing goes on
    assert again == shards


def test_skipped_image_is_tried_again(pictures, tmp_path):
    """What was amiss may be mended though size and time of its file are as they were."""
    output, path = tmp_path / "shards", pictures / "2.jpg"
    whole, times = path.read_bytes(), path.stat()
    path.write_bytes(bytes(len(whole)))
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
    assert [len(shard.refused) for shard in packed(find_set("folder"), pictures, output)] == [0, 1, 0, 0]
    kept = (output / "shard-000000.tar").stat()
    path.write_bytes(whole)
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
    assert [shard.samples for shard in packed(find_set("folder"), pictures, output)] == [2, 2, 2, 1]
    found = (output / "shard-000000.tar").stat()
    assert (found.st_ino, found.st_mtime_ns) == (kept.st_ino, kept.st_mtime_ns)


def test_disk_failure_stops_pack_without_skipping_images(pictures, tmp_path, monkeypatch):
    """A process's memory stands in for the disk: read from its start it gives an input/output error."""
    memory = Path("/proc/self/mem")
    if not memory.exists():
        pytest.skip(f"there is no {memory}")
    monkeypatch.setattr(retry, "WAITS", (0.001,))
    (pictures / "3.jpg").unlink()
    (pictures / "3.jpg").symlink_to(memory)
    output = tmp_path / "shards"
    with pytest.raises(OSError, match=r"cannot read .*3\.jpg: Input/output error"):
        packed(find_set("folder"), pictures, output, threads=1)
    assert not (output / "manifest.json").exists()
    assert not list(output.glob("*000001*"))
    (pictures / "3.jpg").unlink()
    put(pictures / "3.jpg", picture(3))
    assert [shard.samples for shard in packed(find_set("folder"), pictures, output)] == [2, 2, 2, 1]


class OddSet(FolderSet):
    """Raises for some of its files, as libraries do at unexpected damage."""

    def stamp(self, root: Path, name: str) -> str:
        if name == "3.jpg":
            raise AttributeError("calibration")
        return super().stamp(root, name)

    def read_image(self, root: Path, name: str) -> np.ndarray:
        if name == "2.jpg":
            raise KeyError("width")
        return super().read_image(root, name)

    def parts(self, root: Path, name: str) -> SampleParts:
        self.read_image(root, name)
        return super().parts(root, name)


def test_reader_exception_skips_only_its_image(pictures, tmp_path):
    shards = packed(OddSet(), pictures, tmp_path / "shards")
    assert [shard.samples for shard in shards] == [2, 1, 2, 1]
    assert [shard.refused for shard in shards] == [(), ("folder/2.jpg cannot be read: KeyError: 'width'",), (), ()]


def test_reader_exception_is_reported_by_check(pictures):
    checked = list(check_samples(OddSet(), pictures, ["1.jpg", "2.jpg", "4.jpg"]))
    assert [sample.problem for sample in checked] == [None, "2.jpg cannot be read: KeyError: 'width'", None]


def test_missing_image_is_skipped(pictures, tmp_path):
    """Unlike one that the disk refuses; as when a list names what is gone, or a folder."""
    put(tmp_path / "mine.txt", "pictures/0.jpg\npictures/absent.jpg\npictures\n")
    (shard,) = packed(find_set("list"), tmp_path / "mine.txt", tmp_path / "shards", per_shard=3)
    assert shard.samples == 1
    assert ["No such file" in shard.refused[0], "Is a directory" in shard.refused[1]] == [True, True]


def test_missing_package_stops_pack_without_skipping_images(tmp_path, monkeypatch):
    root, output = tmp_path / "set", tmp_path / "shards"
    expected = MINIATURES["hypersim"](root)
    with monkeypatch.context() as without:
        without.setitem(sys.modules, "h5py", None)  # Python then says that there is none
        with pytest.raises(ImportError, match=r"needs h5py; it comes with the extra data: pip install "):
            packed(find_set("hypersim"), root, output)
    assert shown(output) == []
    packed(find_set("hypersim"), root, output)
    assert read_manifest(output)["samples"] == len([one for one in expected if not one.refused])


@pytest.mark.parametrize(("name", "damaged"), [("ibims1", 4), ("kitti", 1), ("sintel", 2), ("diode", 2)])
def test_image_with_damaged_depth_mask_or_camera_is_skipped(tmp_path, name, damaged):
    root = tmp_path / "set"
    expected = MINIATURES[name](root)
    (root / expected[0].files[damaged]).write_bytes(b"junk")
    packed(find_set(name), root, tmp_path / "shards")
    manifest = read_manifest(tmp_path / "shards")
    assert (manifest["samples"], manifest["refused"]) == (2, 1)
    assert expected[0].files[damaged] in manifest["shards"][0]["refused"][0]


def test_labels_of_other_size_are_skipped(tmp_path):
    root = tmp_path / "set"
    expected = MINIATURES["ade20k"](root)
    put(root / expected[1].files[0], picture(0, 48, 64))
    packed(find_set("ade20k"), root, tmp_path / "shards")
    assert read_manifest(tmp_path / "shards")["samples"] == 2


def test_version_changes_only_with_images(pictures, tmp_path):
    def version(output: str) -> str:
        packed(find_set("folder"), pictures, tmp_path / output)
        return read_manifest(tmp_path / output)["version"]

    first = version("first")
    assert version("same") == first
    put(pictures / "3.jpg", picture(33))
    assert version("other") != first
    changed = [
        name
        for name, content in contents(tmp_path / "other").items()
        if name.endswith(".tar") and content != (tmp_path / "first" / name).read_bytes()
    ]
    assert changed == ["shard-000001.tar"]


def test_verify_finds_missing_truncated_altered_foreign_shards(pictures, tmp_path):
    output = tmp_path / "shards"
    packed(find_set("folder"), pictures, output)
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


def test_limit_packs_only_first_images(pictures, tmp_path):
    packed(find_set("folder"), pictures, tmp_path / "shards", limit=3)
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


def test_full_disk_leaves_no_partial_shard(pictures, tmp_path):
    """/dev/full stands in for the disk: it takes no byte."""
    if not Path("/dev/full").exists():
        pytest.skip("there is no /dev/full")
    output = tmp_path / "shards"
    output.mkdir()
    partial_of(output / "shard-000000.tar").symlink_to("/dev/full")
    with pytest.raises(OSError, match=r"No space left on device: '.*/shards/shard-000000\.tar'"):
        pack_shard(find_set("folder"), pictures, output, Part(0, names=["0.jpg", "1.jpg"]))
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


def test_pack_keeps_original_compressed_bytes(tmp_path):
    """What the owners compressed is kept as they did."""
    content = encoded(".jpg", picture(0))
    put(tmp_path / "set" / "a.JPEG", content)
    packed(find_set("folder"), tmp_path / "set", tmp_path / "shards")
    (sample,) = samples_of(tmp_path / "shards")
    assert sample["jpg"] == content
