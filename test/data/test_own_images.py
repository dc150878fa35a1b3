"""The user's own images in folders and lists."""

from __future__ import annotations

import os
import re
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np
import pytest
from damaged_files import huge_jpeg, huge_png, tiff_pages
from image_comparison import assert_is
from miniature_files import HEIGHT, JPEG, WIDTH, encoded, picture, put

from depth_anything_ros.data.archive_set import TarSet
from depth_anything_ros.data.bags import BagSet
from depth_anything_ros.data.folder_sets import FolderSet, ListSet
from depth_anything_ros.data.frame import DataError
from depth_anything_ros.data.rgbd import RgbdSet
from depth_anything_ros.data.set_source import SetSource
from depth_anything_ros.data.sets import SETS_BY_KIND
from depth_anything_ros.data.shards import pack
from depth_anything_ros.data.video_set import VideoSet
from depth_anything_ros.images import pages
from depth_anything_ros.training.input.mixture import Mixture


def test_own_sets_have_documented_names():
    assert [(one.name, type(one)) for one in SETS_BY_KIND["your own"]] == [
        *(("folder", FolderSet), ("list", ListSet), ("videos", VideoSet), ("archives", TarSet), ("bags", BagSet)),
        ("rgbd", RgbdSet),
    ]


def test_folder_reads_images_with_every_suffix_in_order(tmp_path):
    for seed, name in enumerate(("b.PNG", "a.jpg", "a/2.webp", "a/10.JPEG", "a/b/c.tif", "z.bmp", "a-b.tiff")):
        put(tmp_path / name, encoded(f".{name.rpartition('.')[2].lower()}", picture(seed)))
    for name in (
        "notes.txt",
        "a/clip.mp4",
        "a/depth.npy",
        "png",
        ".a.jpg",
        "._a.jpg",
        ".hidden/c.jpg",
        "a/.thumbs/d.jpg",
    ):
        put(tmp_path / name, b"")
    declared = FolderSet()
    names = list(declared.names(tmp_path))
    assert names == ["a-b.tiff", "a.jpg", "b.PNG", "z.bmp", "a/10.JPEG", "a/2.webp", "a/b/c.tif"]
    assert_is(declared.read_image(tmp_path, "a/10.JPEG"), picture(3), JPEG)
    assert_is(declared.read_image(tmp_path, "a/b/c.tif"), picture(4), 0)
    assert [declared.read_file(tmp_path, name)[0] for name in names] == [
        *("tiff", "jpg", "png", "bmp", "jpg", "webp", "tif"),
    ]
    assert declared.read_file(tmp_path, "z.bmp")[1] == (tmp_path / "z.bmp").read_bytes()


def test_folders_are_walked_in_order(tmp_path):
    """Disks list them in an order of their own."""
    names = [f"{letter}/{number}.png" for letter in "qwertyuiop" for number in range(2)]
    for name in names:
        put(tmp_path / name, b"")
    assert list(FolderSet().names(tmp_path)) == sorted(names)


def test_linked_folders_are_walked_without_loops(tmp_path):
    put(tmp_path / "elsewhere" / "one" / "a.png", picture(0))
    put(tmp_path / "set" / "b.png", picture(1))
    (tmp_path / "set" / "linked").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "elsewhere" / "one" / "back").symlink_to(tmp_path / "set")
    (tmp_path / "set" / "again").symlink_to(tmp_path / "set")
    (tmp_path / "set" / "nowhere").symlink_to(tmp_path / "absent")
    (tmp_path / "set" / "twice").symlink_to(tmp_path / "elsewhere" / "one")
    assert list(FolderSet().names(tmp_path / "set")) == ["b.png", "linked/one/a.png"]
    assert_is(FolderSet().read_image(tmp_path / "set", "linked/one/a.png"), picture(0), 0)


def test_gray_and_transparent_images_become_rgb(tmp_path):
    put(tmp_path / "gray.png", picture(0)[..., 0])
    put(tmp_path / "deep.png", picture(0).astype(np.uint16) * 257)
    alpha = np.dstack([picture(0)[..., ::-1], np.full((HEIGHT, WIDTH), 9, np.uint8)])
    assert cv2.imwrite(str(tmp_path / "alpha.png"), alpha)
    assert_is(FolderSet().read_image(tmp_path, "gray.png"), picture(0)[..., :1].repeat(3, 2), 0)
    assert_is(FolderSet().read_image(tmp_path, "deep.png"), picture(0), 1)
    assert_is(FolderSet().read_image(tmp_path, "alpha.png"), picture(0), 0)


def test_list_resolves_images_from_its_folder_or_root(tmp_path):
    for seed, name in enumerate(("lists/b.png", "pictures/a b.png", "elsewhere/c.png")):
        put(tmp_path / name, picture(seed))
    absolute = str(tmp_path / "elsewhere" / "c.png")
    listing = tmp_path / "lists" / "mine.txt"
    put(listing, f"# chosen by hand\n\nb.png\r\n  ../pictures/a b.png  \n{absolute}\nb.png\n")
    declared = ListSet()
    names = ["b.png", "../pictures/a b.png", absolute]  # in the list's order, each once
    assert list(declared.names(listing)) == names
    for seed, name in enumerate(names):
        assert_is(declared.read_image(listing, name), picture(seed), 0)
    assert declared.read_file(listing, absolute) == ("png", Path(absolute).read_bytes())


def test_list_with_other_encoding_and_missing_files_is_read(tmp_path):
    name = os.fsdecode(b"caf\xe9.png")
    put(tmp_path / name, picture(0))
    put(tmp_path / "mine.txt", b"caf\xe9.png\nabsent.png\n")
    declared = ListSet()
    assert list(declared.names(tmp_path / "mine.txt")) == [name, "absent.png"]
    assert_is(declared.read_image(tmp_path / "mine.txt", name), picture(0), 0)
    with pytest.raises(DataError, match=r"cannot read .*absent\.png: No such file"):
        declared.read_image(tmp_path / "mine.txt", "absent.png")
    with pytest.raises(DataError, match=r"cannot read .*other\.txt: No such file"):
        list(declared.names(tmp_path / "other.txt"))


def test_damaged_image_of_list_is_named_with_path(tmp_path):
    put(tmp_path / "a.jpg", b"junk")
    put(tmp_path / "mine.txt", "a.jpg\n")
    with pytest.raises(DataError, match=rf"^{re.escape(str(tmp_path / 'a.jpg'))} is not a picture"):
        ListSet().parts(tmp_path / "mine.txt", "a.jpg")


@pytest.mark.parametrize(
    "coding", ["utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "cp1252"], ids=lambda coding: coding
)
def test_list_is_read_in_each_text_encoding(tmp_path, coding):
    for seed, name in enumerate(("a.png", "below/b c.png", "caf\u00e9.png")):
        put(tmp_path / name, picture(seed))
    lines = ["a.png", "below\\b c.png", '"caf\u00e9.png"']
    put(tmp_path / "mine.txt", "\r\n".join(lines).encode(coding))
    declared = ListSet()
    names = list(declared.names(tmp_path / "mine.txt"))
    assert names == ["a.png", "below/b c.png", "caf\u00e9.png"]
    for seed, name in enumerate(names):
        assert_is(declared.read_image(tmp_path / "mine.txt", name), picture(seed), 0)


def test_image_name_with_leading_hash_is_no_comment(tmp_path, caplog):
    put(tmp_path / "#3.jpg", picture(3))
    put(tmp_path / "4.jpg", picture(4))
    put(tmp_path / "mine.txt", "#3.jpg\n# the best ones\n4.jpg\n\n4.jpg\nabsent.jpg\n")
    declared = ListSet()
    names = list(declared.names(tmp_path / "mine.txt"))
    assert names == ["#3.jpg", "4.jpg", "absent.jpg"]
    (said,) = caplog.messages
    assert said == f"{tmp_path / 'mine.txt'}: 5 lines list 3 pictures: 1 are comments, 1 repeat a picture"
    faults = [declared.fault(tmp_path / "mine.txt", name) for name in names]
    assert faults == [None, None, f"cannot read {tmp_path / 'absent.jpg'}: No such file or directory"]


def test_list_that_is_no_text_is_named(tmp_path):
    put(tmp_path / "mine.txt", b"\xff\xfe\x00\xd8")  # half a surrogate pair
    with pytest.raises(DataError, match=r"mine\.txt is not a list of pictures: it is not text"):
        list(ListSet().names(tmp_path / "mine.txt"))


def test_images_of_unsupported_format_are_counted(tmp_path, caplog):
    put(tmp_path / "a.png", picture(0))
    put(tmp_path / "b.heic", b"\0\0\0\x18ftypheic" + bytes(500))
    declared = FolderSet()
    assert list(declared.names(tmp_path)) == ["a.png", "b.heic"]
    assert declared.fault(tmp_path, "a.png") is None
    assert "b.heic is an image that OpenCV cannot read; convert" in declared.fault(tmp_path, "b.heic")
    with pytest.raises(DataError, match=r"b\.heic is not a picture.*it is HEIC; convert it to JPEG or PNG"):
        declared.read_image(tmp_path, "b.heic")
    assert SetSource(declared, tmp_path).blocks == [1]
    (said,) = caplog.messages
    assert said.startswith(f"{tmp_path}: left out 1 images: {tmp_path / 'b.heic'} is an image that OpenCV cannot read")


def test_skipped_files_of_folder_are_reported_once(tmp_path, caplog):
    put(tmp_path / "a.png", picture(0))
    put(tmp_path / "._a.png", b"")
    put(tmp_path / "clip.mp4", b"")
    put(tmp_path / "depth" / "predict.json", b"{}")
    put(tmp_path / "depth" / "a.png", picture(0))
    assert list(FolderSet().names(tmp_path)) == ["a.png"]
    (said,) = caplog.messages
    assert said == (
        f"{tmp_path}: skipped macOS metadata: 1 (._a.png); videos: 1 (clip.mp4); "
        "folders of results of predict: 1 (depth)"
    )


@pytest.mark.parametrize("content", [huge_png(), huge_jpeg(40_000)])
def test_image_with_huge_declared_size_is_damaged(tmp_path, content):
    put(tmp_path / "set" / "a.png", picture(0))
    put(tmp_path / "set" / "b.png", content)
    with ThreadPoolExecutor(1) as executor:
        (shard,) = pack(FolderSet(), tmp_path / "set", tmp_path / "shards", 9, executor)
    assert shard.samples == 1
    (said,) = shard.refused
    assert re.search(r"b\.png is not a picture, or is damaged: .* 40000x40000 pixels", said)
    mixture = Mixture([SetSource(FolderSet(), tmp_path / "set")], seed=0)
    assert {mixture.read(position).name for position in range(4)} == {"folder/a.png"}


def test_unused_pages_of_file_are_reported(tmp_path, caplog, monkeypatch):
    monkeypatch.setattr(pages, "_reported", set())
    for name in ("a.tif", "b.tif"):
        put(tmp_path / name, tiff_pages(50, 150))
        assert FolderSet().read_image(tmp_path, name).max() == 50
    (said,) = caplog.messages
    assert f"{tmp_path / 'a.tif'} has 2 images: only the first is used" in said
