"""Images that cannot be packed are skipped and named; failing disks and missing packages stop the pack."""

from __future__ import annotations

import json
import os
import re
import sys
from pathlib import Path

import numpy as np
import pytest
from miniature_files import picture, put
from miniature_sets import MINIATURES
from packed_shards import packed, samples_of, shown

from depth_anything_ros.data import retry
from depth_anything_ros.data.check import check_samples
from depth_anything_ros.data.folder_sets import FolderSet
from depth_anything_ros.data.image_set import SampleParts
from depth_anything_ros.data.manifest import read_manifest
from depth_anything_ros.data.sets import find_set


def test_damaged_image_is_skipped_and_named(seven_pictures, tmp_path):
    (seven_pictures / "2.jpg").write_bytes((seven_pictures / "2.jpg").read_bytes()[:200])
    put(seven_pictures / "3.jpg", "this is no picture")
    shards = packed(find_set("folder"), seven_pictures, tmp_path / "shards")
    manifest = read_manifest(tmp_path / "shards")
    assert (manifest["samples"], manifest["refused"]) == (5, 2)
    assert [shard.samples for shard in shards] == [2, 0, 2, 1]
    refused = manifest["shards"][1]["refused"]
    assert re.search(r"2\.jpg is not a picture, or is damaged: it is truncated", refused[0])
    assert re.search(r"3\.jpg is not a picture", refused[1])
    assert list(shards[1].refused) == refused
    names = [json.loads(sample["json"])["name"] for sample in samples_of(tmp_path / "shards")]
    assert names == ["0.jpg", "1.jpg", "4.jpg", "5.jpg", "6.jpg"]
    again = packed(find_set("folder"), seven_pictures, tmp_path / "shards")  # it is not forgotten when packing goes on
    assert again == shards


def test_skipped_image_is_tried_again(seven_pictures, tmp_path):
    """What was amiss may be mended though size and time of its file are as they were."""
    output, path = tmp_path / "shards", seven_pictures / "2.jpg"
    whole, times = path.read_bytes(), path.stat()
    path.write_bytes(bytes(len(whole)))
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
    assert [len(shard.refused) for shard in packed(find_set("folder"), seven_pictures, output)] == [0, 1, 0, 0]
    kept = (output / "shard-000000.tar").stat()
    path.write_bytes(whole)
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
    assert [shard.samples for shard in packed(find_set("folder"), seven_pictures, output)] == [2, 2, 2, 1]
    found = (output / "shard-000000.tar").stat()
    assert (found.st_ino, found.st_mtime_ns) == (kept.st_ino, kept.st_mtime_ns)


def test_disk_failure_stops_pack_without_skipping_images(seven_pictures, tmp_path, monkeypatch):
    """A process's memory stands in for the disk: read from its start it gives an input/output error."""
    memory = Path("/proc/self/mem")
    if not memory.exists():
        pytest.skip(f"there is no {memory}")
    monkeypatch.setattr(retry, "WAITS", (0.001,))
    (seven_pictures / "3.jpg").unlink()
    (seven_pictures / "3.jpg").symlink_to(memory)
    output = tmp_path / "shards"
    with pytest.raises(OSError, match=r"cannot read .*3\.jpg: Input/output error"):
        packed(find_set("folder"), seven_pictures, output, threads=1)
    assert not (output / "manifest.json").exists()
    assert not list(output.glob("*000001*"))
    (seven_pictures / "3.jpg").unlink()
    put(seven_pictures / "3.jpg", picture(3))
    assert [shard.samples for shard in packed(find_set("folder"), seven_pictures, output)] == [2, 2, 2, 1]


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


def test_reader_exception_skips_only_its_image(seven_pictures, tmp_path):
    shards = packed(OddSet(), seven_pictures, tmp_path / "shards")
    assert [shard.samples for shard in shards] == [2, 1, 2, 1]
    assert [shard.refused for shard in shards] == [(), ("folder/2.jpg cannot be read: KeyError: 'width'",), (), ()]


def test_reader_exception_is_reported_by_check(seven_pictures):
    checked = list(check_samples(OddSet(), seven_pictures, ["1.jpg", "2.jpg", "4.jpg"]))
    assert [sample.problem for sample in checked] == [None, "2.jpg cannot be read: KeyError: 'width'", None]


def test_missing_image_is_skipped(seven_pictures, tmp_path):
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
