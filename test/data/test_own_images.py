"""The user's own images: folders, lists, videos, archives and bags."""

from __future__ import annotations

import os
import re
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from bag_files import TYPES, header, put_bag, raw
from damaged_files import forget_length, huge_jpeg, huge_png, tiff_pages, write_video, zero_frames
from miniature_files import HEIGHT, JPEG, VIDEO, WIDTH, encoded, picture, put, put_tar, put_video
from miniature_sets import MINIATURES
from rosbags.rosbag1 import Writer as Writer1
from rosbags.rosbag2 import StoragePlugin, Writer
from rosbags.typesys import Stores, get_typestore

from depth_anything_ros.data import retry
from depth_anything_ros.data.archive_set import TarSet
from depth_anything_ros.data.bags import BagSet
from depth_anything_ros.data.check import check_samples
from depth_anything_ros.data.folder_sets import FolderSet, ListSet
from depth_anything_ros.data.frame import DataError, decode_image
from depth_anything_ros.data.rgbd import RgbdSet
from depth_anything_ros.data.set_source import SetSource
from depth_anything_ros.data.sets import SETS_BY_KIND, find_set
from depth_anything_ros.data.shards import Shard, key_of, pack
from depth_anything_ros.data.tar_members import tar_members
from depth_anything_ros.data.video_set import VideoSet
from depth_anything_ros.images import pages
from depth_anything_ros.images.intensity import InputRange
from depth_anything_ros.training.input.mixture import Mixture


def centers(image: np.ndarray) -> np.ndarray:
    """Colors of the four quadrants away from their edges, which video blurs: int (4, 3)."""
    height, width = image.shape[:2]
    rows, columns = (height // 4, 3 * height // 4), (width // 4, 3 * width // 4)
    return np.array([image[row, column] for row in rows for column in columns], int)


def assert_is(image: np.ndarray, requested: np.ndarray, tolerance: int) -> None:
    assert image.dtype == np.uint8
    assert image.shape == requested.shape
    np.testing.assert_allclose(centers(image), centers(requested), rtol=0, atol=tolerance)


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


@pytest.mark.parametrize("name", ["clip.mp4", "clip.MOV", "clip.mkv", "clip.avi"])
def test_video_frames_match_their_times(tmp_path, name):
    rate = 10.0
    frames = [picture(number) for number in range(35)]
    put_video(tmp_path / name, frames, rate)
    declared = VideoSet(seconds_apart=0.5)
    names = list(declared.names(tmp_path))
    assert names == [f"{name}#{milliseconds}" for milliseconds in range(0, 3500, 500)]
    for one in names:
        number = int(one.partition("#")[2]) // 100
        assert_is(declared.read_image(tmp_path, one), frames[number], VIDEO)


def test_video_frames_are_equal_in_any_read_order(tmp_path):
    """In order they are read on; behind, or far ahead, they are sought."""
    frames = [picture(number) for number in range(130)]
    put_video(tmp_path / "a.mp4", frames)
    put_video(tmp_path / "b.mp4", frames[::-1])
    declared = VideoSet(seconds_apart=0.7)
    names = list(declared.names(tmp_path))
    assert len(names) == 36
    forwards = {name: declared.read_image(tmp_path, name) for name in names}
    for name in names:
        number = int(name.partition("#")[2]) // 100
        assert_is(forwards[name], frames[number] if name.startswith("a") else frames[129 - number], VIDEO)
    leaps = [*names[::-1], names[0], names[17], names[3], names[18], names[35], names[35], names[16]]
    for name in leaps:
        np.testing.assert_array_equal(VideoSet().read_image(tmp_path, name), forwards[name])


def test_video_shorter_than_step_gives_first_frame(tmp_path):
    put_video(tmp_path / "short.mp4", [picture(number) for number in range(3)])
    assert list(VideoSet().names(tmp_path)) == ["short.mp4#0"]
    assert_is(VideoSet().read_image(tmp_path, "short.mp4#0"), picture(0), VIDEO)
    assert_is(VideoSet().read_image(tmp_path, "short.mp4#90000"), picture(2), VIDEO)  # the last one


def test_video_frame_is_packed_as_jpeg(tmp_path):
    put_video(tmp_path / "clip.mp4", [picture(number) for number in range(15)])
    ending, content = VideoSet().read_file(tmp_path, "clip.mp4#1000")
    assert ending == "jpg"
    assert_is(decode_image(content, "frame"), picture(10), VIDEO + JPEG)


@pytest.mark.parametrize("content", [b"", b"no video at all\n" * 100, encoded(".png", picture(0))[:60]])
def test_file_that_is_no_video_is_skipped_and_named(tmp_path, content, caplog):
    put_video(tmp_path / "clip.mp4", [picture(0)] * 10)
    put(tmp_path / "notes.mp4", content)
    put_video(tmp_path / "other.mp4", [picture(1)] * 10)
    assert list(VideoSet().names(tmp_path)) == ["clip.mp4#0", "notes.mp4#", "other.mp4#0"]
    (said,) = caplog.messages
    is_picture = content.startswith(b"\x89PNG")  # which OpenCV opens as a video, without frames
    why = "no frame can be decoded" if is_picture else "it is damaged, or of an unknown kind"
    assert said == f"left out: {tmp_path / 'notes.mp4'} cannot be read as a video: {why}"
    assert VideoSet().fault(tmp_path, "notes.mp4#") == said.removeprefix("left out: ")
    assert VideoSet().fault(tmp_path, "clip.mp4#0") is None
    for name in ("notes.mp4#", "notes.mp4#0"):
        with pytest.raises(DataError, match=r"notes\.mp4 (cannot be read as a video|has no frame at 0 ms)"):
            VideoSet().read_image(tmp_path, name)


def test_videos_and_archives_in_subfolders_are_found(tmp_path):
    put_video(tmp_path / "b.mp4", [picture(0)] * 10)
    put_video(tmp_path / "below" / "deep" / "a.mp4", [picture(1)] * 10)
    put_tar(tmp_path / "b.tar", {"1.png": encoded(".png", picture(2))})
    put_tar(tmp_path / "be#low" / "a.tar", {"1#.png": encoded(".png", picture(3))})
    assert list(VideoSet().names(tmp_path)) == ["b.mp4#0", "below/deep/a.mp4#0"]
    assert_is(VideoSet().read_image(tmp_path, "below/deep/a.mp4#0"), picture(1), VIDEO)
    names = list(TarSet().names(tmp_path))
    assert names == ["b.tar#1.png", "be#low/a.tar#1#.png"]
    assert_is(TarSet().read_image(tmp_path, names[1]), picture(3), 0)
    assert TarSet().sources(tmp_path, names[1]) == (tmp_path / "be#low" / "a.tar",)


@pytest.mark.parametrize(("ending", "tool"), [(".tar.gz", "gunzip"), (".tgz", "gunzip"), (".tar.zst", "unzstd")])
def test_compressed_archive_is_named_with_unpack_command(tmp_path, ending, tool, caplog):
    put_tar(tmp_path / "a.tar", {"1.png": encoded(".png", picture(2))})
    put(tmp_path / f"b{ending}", b"compressed")
    declared = TarSet()
    assert list(declared.names(tmp_path)) == ["a.tar#1.png", f"b{ending}#"]
    why = f"cannot read {tmp_path / f'b{ending}'}: it is compressed; run `{tool} b{ending}`"
    assert caplog.messages == [f"left out: {why}"]
    assert declared.fault(tmp_path, f"b{ending}#") == why
    with pytest.raises(DataError, match=r"it is compressed; run"):
        declared.read_image(tmp_path, f"b{ending}#")


def test_rare_image_formats_in_archive_are_read_or_named(tmp_path, caplog):
    put_tar(tmp_path / "a.tar", {"1.jp2": encoded(".jp2", picture(2)), "2.heic": b"", "3.txt": b"", "4.bin": b""})
    declared = TarSet()
    names = list(declared.names(tmp_path))
    assert names == ["a.tar#1.jp2", "a.tar#2.heic"]
    assert declared.read_image(tmp_path, names[0]).shape == (HEIGHT, WIDTH, 3)
    with pytest.raises(DataError, match=r"a\.tar#2\.heic is not a picture"):
        declared.read_image(tmp_path, names[1])
    assert caplog.messages == [f"{tmp_path}: skipped other members: 2 (3.txt, 4.bin)"]


def test_frames_next_to_damage_match_their_times(tmp_path):
    """A frame that is asked for and cannot be decoded is refused, the others do not move."""
    grays = range(20, 200, 6)
    zero_frames(write_video(tmp_path / "a.avi", grays), 3, 10, 11)
    declared = VideoSet(seconds_apart=0.5)
    names = list(declared.names(tmp_path))
    assert names == [f"a.avi#{milliseconds}" for milliseconds in range(0, 3000, 500)]
    for name in names:
        number = int(name.partition("#")[2]) // 100
        if number == 10:
            with pytest.raises(DataError, match=r"a\.avi has no frame at 1000 ms that can be decoded"):
                declared.read_image(tmp_path, name)
        else:
            assert declared.read_image(tmp_path, name).mean() == pytest.approx(grays[number], abs=5)


def test_damage_between_requested_frames_is_reported(tmp_path, caplog):
    zero_frames(write_video(tmp_path / "a.avi", range(20, 200, 6)), 13, 14)
    declared = VideoSet()
    assert len([declared.read_image(tmp_path, name) for name in declared.names(tmp_path)]) == 3
    assert caplog.messages == [f"{tmp_path / 'a.avi'}: 2 of 30 frames cannot be decoded: 13 to 14, so far"]


def test_video_of_killed_recorder_gives_all_frames(tmp_path):
    forget_length(write_video(tmp_path / "a.mkv", range(20, 200, 6)))
    declared = VideoSet(seconds_apart=0.5)
    names = list(declared.names(tmp_path))
    assert names == [f"a.mkv#{milliseconds}" for milliseconds in range(0, 3000, 500)]
    for name in (*names, *names[::-1]):  # backwards too, where there is no index to seek by
        number = int(name.partition("#")[2]) // 100
        assert declared.read_image(tmp_path, name).mean() == pytest.approx(20 + 6 * number, abs=5)


def test_impossible_frame_rate_loses_no_frames(tmp_path, caplog):
    write_video(tmp_path / "a.avi", [100] * 90, rate=1000.0)
    assert list(VideoSet().names(tmp_path)) == [f"a.avi#{milliseconds}" for milliseconds in (0, 1000, 2000)]
    assert caplog.messages == [f"{tmp_path / 'a.avi'}: it claims 1000 frames a second; using 30"]


@pytest.mark.parametrize(("frames", "apart", "requested"), [(3, 0.1, 3), (6, 0.1, 6), (7, 0.1, 7), (29, 0.1, 29)])
def test_frame_times_are_robust_to_rounding(tmp_path, frames, apart, requested):
    """0.3 / 0.1 is less than 3 in floating point."""
    put_video(tmp_path / "clip.avi", [picture(number) for number in range(frames)], rate=10.0)
    assert len(list(VideoSet(seconds_apart=apart).names(tmp_path))) == requested


def test_truncated_video_is_named_at_missing_frame(tmp_path):
    """An .avi keeps its index at the end and its number of frames at the start."""
    noise = np.random.default_rng(0)
    put_video(tmp_path / "cut.avi", [noise.integers(0, 255, (96, 128, 3), np.uint8) for _ in range(40)])
    content = (tmp_path / "cut.avi").read_bytes()
    (tmp_path / "cut.avi").write_bytes(content[: len(content) // 2])
    declared = VideoSet()
    names = list(declared.names(tmp_path))
    assert names == [f"cut.avi#{1000 * second}" for second in range(4)]
    assert declared.read_image(tmp_path, names[0]).shape == (96, 128, 3)
    with pytest.raises(DataError, match=r"cut\.avi has no frame at 3000 ms that can be decoded: it is damaged or"):
        declared.read_image(tmp_path, names[-1])


def test_archive_members_are_read_in_stored_order(tmp_path):
    pictures = {
        "z/1.jpg": encoded(".jpg", picture(0)),
        "a/2.PNG": encoded(".png", picture(1)),
        "a/2.json": b"{}",
        "a/2.depth.png": encoded(".png", picture(2)),
        "a/2.label.png": encoded(".png", picture(2)),
        "a/._2.png": b"",
    }
    put_tar(tmp_path / "second.tar", pictures)
    put_tar(tmp_path / "first.tar", {"3.jpeg": encoded(".jpg", picture(3))})
    put_tar(tmp_path / "other.zip", {"4.jpg": encoded(".jpg", picture(4))})
    declared = TarSet()
    assert list(declared.names(tmp_path)) == [
        *("first.tar#3.jpeg", "other.zip#", "second.tar#z/1.jpg", "second.tar#a/2.PNG"),
    ]
    assert "other.zip: it is compressed; unpack it" in declared.fault(tmp_path, "other.zip#")
    assert_is(declared.read_image(tmp_path, "second.tar#a/2.PNG"), picture(1), 0)
    assert declared.read_file(tmp_path, "second.tar#z/1.jpg") == ("jpg", pictures["z/1.jpg"])
    assert declared.read_file(tmp_path, "first.tar#3.jpeg")[0] == "jpg"
    with pytest.raises(DataError, match=r"second\.tar has no 9\.jpg"):
        declared.read_image(tmp_path, "second.tar#9.jpg")


@pytest.mark.parametrize("name", ["kitti", "bdd100k", "nyuv2_labeled", "lsun", "cityscapes"])
def test_packed_shards_are_readable_as_archives(tmp_path, name):
    """What has depth or classes beside is read for its images alone."""
    expected = MINIATURES[name](tmp_path / "set")
    with ThreadPoolExecutor(1) as executor:
        list(pack(find_set(name), tmp_path / "set", tmp_path / "shards", 2, executor))
    declared = TarSet()
    names = list(declared.names(tmp_path / "shards"))
    assert len(names) == len(expected)
    for member in names:
        requested = next(one for one in expected if f"#{key_of(one.name)}." in member)
        assert_is(declared.read_image(tmp_path / "shards", member), requested.image, requested.tolerance + JPEG)


def test_damaged_archive_and_image_are_named(tmp_path):
    half = encoded(".jpg", picture(0))[:300]
    put_tar(tmp_path / "a.tar", {"whole.jpg": encoded(".jpg", picture(0)), "half.jpg": half})
    with pytest.raises(DataError, match=r"a\.tar#half\.jpg is not a picture, or is damaged"):
        TarSet().read_image(tmp_path, "a.tar#half.jpg")
    content = (tmp_path / "a.tar").read_bytes()
    for folder, damaged in (("cut", content[:700]), ("text", b"no archive" * 200)):
        put(tmp_path / folder / "a.tar", damaged)
        assert list(TarSet().names(tmp_path / folder)) == ["a.tar#"]
        with pytest.raises(DataError, match=rf"cannot read .*{folder}/a\.tar"):
            TarSet().read_image(tmp_path / folder, "a.tar#")
    put(tmp_path / "late" / "a.tar", content)
    assert len(list(TarSet().names(tmp_path / "late"))) == 2
    (tmp_path / "late" / "a.tar").write_bytes(content[:700])  # it shrinks while it is read
    with pytest.raises(DataError, match=r"a\.tar ends within whole\.jpg; fetch it or pack it again"):
        TarSet().read_image(tmp_path / "late", "a.tar#whole.jpg")


@pytest.mark.parametrize(("name", "file"), [("folder", "one.jpg"), ("archives", "one.tar")])
def test_disk_error_is_not_reported_as_damaged_image(tmp_path, monkeypatch, name, file):
    """A process's memory stands in for the disk: read from its start it gives an input/output error."""
    memory = Path("/proc/self/mem")
    if not memory.exists():
        pytest.skip(f"there is no {memory}")
    monkeypatch.setattr(retry, "WAITS", (0.001,))
    (tmp_path / file).symlink_to(memory)
    declared = find_set(name)
    with pytest.raises(OSError, match=r"Input/output error"):
        list(check_samples(declared, tmp_path, list(declared.names(tmp_path))))


def test_truncated_archive_is_skipped_and_others_are_packed(tmp_path, caplog):
    root, output = tmp_path / "set", tmp_path / "shards"
    for number in range(3):
        put_tar(root / f"sa_{number}.tar", {f"{one}.jpg": encoded(".jpg", picture(one)) for one in range(3)})
    whole = (root / "sa_1.tar").read_bytes()
    put(root / "sa_1.tar", whole[:700])

    def packed() -> list[Shard]:
        with ThreadPoolExecutor(1) as executor:
            return list(pack(find_set("sa1b"), root, output, 4, executor))

    shards = packed()
    assert [(shard.samples, len(shard.refused)) for shard in shards] == [(3, 1), (3, 0)]
    assert str(root / "sa_1.tar") in shards[0].refused[0]
    (said,) = caplog.messages
    assert said == f"left out: {shards[0].refused[0]}"
    put(root / "sa_1.tar", whole)
    tar_members.cache_clear()
    assert [(shard.samples, len(shard.refused)) for shard in packed()] == [(3, 0), (3, 0), (3, 0)]


def compressed(content: bytes, kind: str) -> Any:
    return TYPES.types["sensor_msgs/msg/CompressedImage"](header(0), kind, np.frombuffer(content, np.uint8))


def test_bag_gives_color_images_without_depth(tmp_path):
    color, gray = picture(0), picture(1)[..., 0].copy()
    depth = np.full((HEIGHT, WIDTH), 1500, np.uint16)
    put_bag(
        tmp_path / "bag",
        {
            "/rgb": [(1, raw(color, "rgb8")), (1.5, raw(picture(2), "rgb8")), (2, raw(picture(3), "rgb8"))],
            "/bgr": [(1, raw(color[..., ::-1].copy(), "bgr8"))],
            "/gray": [(1, raw(gray, "mono8"))],
            "/depth": [(1, raw(depth, "16UC1"))],
            "/meters": [(1, raw(depth.astype(np.float32), "32FC1"))],
            "/jpeg": [(1, compressed(encoded(".jpg", color), "rgb8; jpeg compressed bgr8"))],
            "/gray_jpeg": [(1, compressed(encoded(".jpg", gray), "mono8; jpeg compressed "))],
            "/depth_png": [(1, compressed(encoded(".png", depth), "16UC1; compressedDepth png"))],
        },
    )
    declared = BagSet()
    names = list(declared.names(tmp_path / "bag"))
    assert sorted(names) == [
        *("/bgr#1000000000", "/gray#1000000000", "/gray_jpeg#1000000000", "/jpeg#1000000000"),
        *("/rgb#1000000000", "/rgb#2000000000"),
    ]
    on_three = gray[..., None].repeat(3, 2)
    for name, requested, tolerance in (
        ("/rgb#1000000000", color, 0),
        ("/rgb#2000000000", picture(3), 0),
        ("/bgr#1000000000", color, 0),
        ("/gray#1000000000", on_three, 0),
        ("/jpeg#1000000000", color, JPEG),
        ("/gray_jpeg#1000000000", on_three, JPEG),
    ):
        assert_is(declared.read_image(tmp_path / "bag", name), requested, tolerance)
    ending, content = declared.read_file(tmp_path / "bag", "/rgb#1000000000")
    assert ending == "jpg"
    assert_is(decode_image(content, ""), color, JPEG)
    with pytest.raises(DataError, match=r"bag has no image /rgb#1250000000"):
        declared.read_image(tmp_path / "bag", "/rgb#1250000000")


def test_depth_topic_is_recognized_by_encoding_and_name(tmp_path, caplog):
    deep = picture(0)[..., 0].astype(np.uint16) * 16
    topics = {
        "/camera/depth/image_rect_raw": raw(deep, "mono16"),
        "/camera/aligned_depth_to_color/image_raw/compressed": compressed(
            encoded(".png", deep), "mono16; png compressed "
        ),
        "/camera/image": raw(deep, "16UC1"),
        "/flir/thermal/image_raw": raw(deep, "16UC1"),
        "/camera/infra1/image_rect_raw": raw(deep, "mono16"),
        "/camera/depth/preview": raw(picture(1), "rgb8"),
        "/left/disparity_image": raw(deep.astype(np.float32), "32FC1"),
        "/flow": raw(np.dstack([deep, deep]).astype(np.float32), "32FC2"),
        "/distance/compressed": compressed(bytes(12) + encoded(".png", deep), ""),
    }
    put_bag(tmp_path / "bag", {topic: [(1, message)] for topic, message in topics.items()})
    taken = {name.partition("#")[0] for name in BagSet().names(tmp_path / "bag")}
    assert taken == {"/flir/thermal/image_raw", "/camera/infra1/image_rect_raw", "/camera/depth/preview"}
    said = "\n".join(caplog.messages)
    for topic in topics.keys() - taken:
        assert f"left out: {topic} of " in said
    assert said.count("give it with --topic") == 3
    asked = BagSet(topics=("/camera/image",))
    (name,) = asked.names(tmp_path / "bag")
    assert_is(asked.read_image(tmp_path / "bag", name), picture(0)[..., :1].repeat(3, 2), 0)
    with pytest.raises(DataError, match=r"has no images on /cam; topics with images: /camera/aligned_depth"):
        list(BagSet(topics=("/cam",)).names(tmp_path / "bag"))


def test_input_range_is_applied_in_shards(tmp_path):
    deep = picture(0)[..., 0].astype(np.uint16) * 16
    put(tmp_path / "set" / "deep.png", deep)
    put(tmp_path / "set" / "plain.png", picture(1))
    put_bag(tmp_path / "bag", {"/ir": [(1, raw(deep, "mono16"))]})
    for mode, expected in (("auto", picture(0)[..., 0]), ("full", deep >> 8), ("0,2047", np.minimum(deep >> 3, 255))):
        for declared, root in ((FolderSet(), tmp_path / "set"), (BagSet(), tmp_path / "bag")):
            declared = replace(declared, input_range=InputRange.of(mode))
            with ThreadPoolExecutor(1) as executor:  # over the shards of another range, which are made anew
                list(pack(declared, root, tmp_path / f"{declared.name} shards", 9, executor))
            tar_members.cache_clear()
            archives = tmp_path / f"{declared.name} shards"
            names = list(TarSet().names(archives))
            gray = np.asarray(expected, np.uint8)[..., None].repeat(3, 2)
            assert_is(TarSet().read_image(archives, names[0]), gray, 0 if declared.name == "folder" else JPEG)
    assert_is(TarSet().read_image(tmp_path / "folder shards", "shard-000000.tar#plain%2Epng.png"), picture(1), 0)


def test_unreadable_bag_images_are_named(tmp_path):
    put_bag(
        tmp_path / "bag",
        {
            "/short": [(1, replace(raw(picture(0), "rgb8"), height=HEIGHT + 1))],
            "/odd": [(1, raw(picture(0), "yuv999"))],
            "/cut": [(1, compressed(encoded(".jpg", picture(0))[:300], "jpeg"))],
        },
    )
    names = list(BagSet().names(tmp_path / "bag"))
    assert len(names) == 3
    for name in names:
        with pytest.raises(DataError, match=rf"bag: {name} (cannot be read|is not a picture)"):
            BagSet().read_image(tmp_path / "bag", name)


def test_damaged_or_missing_bag_is_named(tmp_path):
    put_bag(tmp_path / "bag", {"/rgb": [(1, raw(picture(0), "rgb8"))]})
    (recording,) = (tmp_path / "bag").glob("*.mcap")
    content = recording.read_bytes()
    for keep in (len(content) // 2, 0):
        recording.write_bytes(content[:keep])
        with pytest.raises(DataError, match=r"cannot read .*bag"):
            list(BagSet().names(tmp_path / "bag"))
    (tmp_path / "bag" / "metadata.yaml").write_text("nothing: here\n")
    with pytest.raises(DataError, match=r"cannot read .*bag"):
        list(BagSet().names(tmp_path / "bag"))
    with pytest.raises(DataError, match=r"cannot read .*absent"):
        list(BagSet().names(tmp_path / "absent"))


def test_path_that_is_no_bag_gets_advice(tmp_path):
    put_bag(tmp_path / "bags" / "one", {"/rgb": [(1, raw(picture(0), "rgb8"))]})
    put_bag(tmp_path / "bags" / "two", {"/rgb": [(1, raw(picture(0), "rgb8"))]})
    (recording,) = (tmp_path / "bags" / "one").glob("*.mcap")
    put(tmp_path / "bare" / "a.mcap", recording.read_bytes())
    assert list(BagSet().names(tmp_path / "bare" / "a.mcap")) == ["/rgb#1000000000"]
    put(tmp_path / "packed" / "a.mcap.zstd", b"compressed")
    put(tmp_path / "old.bag.active", b"#ROSBAG")
    put(tmp_path / "pictures" / "a.png", b"")
    put(tmp_path / "empty.mcap", b"")
    put(tmp_path / "words.txt", b"words")
    for path, said in (
        ("bags", f"a folder of 2 bags: give one of {tmp_path / 'bags' / 'one'}, {tmp_path / 'bags' / 'two'}"),
        (
            "bare",
            f"no metadata.yaml, .*run `ros2 bag reindex {tmp_path / 'bare'}`, or give {tmp_path / 'bare' / 'a.mcap'}",
        ),
        ("packed/a.mcap.zstd", f"is compressed: run `unzstd a.mcap.zstd`, and give {tmp_path / 'packed' / 'a.mcap'}"),
        ("packed", r"has no metadata\.yaml, and a\.mcap\.zstd is compressed: .*run `unzstd"),
        ("bags/one/metadata.yaml", f"give its folder {tmp_path / 'bags' / 'one'}"),
        ("old.bag.active", r"run `rosbag reindex old\.bag\.active`"),
        ("pictures", r"no metadata\.yaml and no \.mcap, \.db3 or \.bag file"),
        ("empty.mcap", "the file is empty"),
        ("words.txt", "it is not a bag: give the folder of a bag"),
    ):
        with pytest.raises(DataError, match=rf"^cannot read {tmp_path / path}: .*{said}"):
            list(BagSet().names(tmp_path / path))


def test_bag_with_one_timestamp_is_reported(tmp_path, caplog):
    put_bag(tmp_path / "bag", {"/rgb": [(0, raw(picture(number), "rgb8")) for number in range(4)]})
    assert list(BagSet().names(tmp_path / "bag")) == ["/rgb#0"]
    assert caplog.messages == [
        f"/rgb of {tmp_path / 'bag'}: all of its 4 messages have the time 0, so only the first one is read"
    ]


def test_empty_bag_and_bag_without_images_are_distinguished(tmp_path):
    with Writer(tmp_path / "empty", version=9, storage_plugin=StoragePlugin.MCAP) as writer:
        writer.add_connection("/rgb", "sensor_msgs/msg/Image", typestore=TYPES)
    put_bag(tmp_path / "stamps", {"/clock": [(1, header(1))]})
    for name, said in (
        ("empty", "is an empty bag without messages"),
        ("stamps", "has no topic with images; its topics are /clock (std_msgs/msg/Header)"),
    ):
        assert list(BagSet().names(tmp_path / name)) == []
        assert BagSet().empty_message(tmp_path / name).startswith(f"{tmp_path / name} {said}")


@pytest.mark.parametrize("storage", StoragePlugin)
def test_bag_with_flipped_bytes_is_named(tmp_path, storage):
    """In what lists the topics, in their names, in tables and in indices."""
    images = [(seconds, compressed(encoded(".png", picture(seconds)), "png")) for seconds in (1, 2)]
    put_bag(tmp_path / "bag", {"/rgb": images}, storage)
    (recording,) = (path for path in (tmp_path / "bag").iterdir() if path.suffix != ".yaml")
    content, refused = recording.read_bytes(), 0
    for place in range(0, len(content), len(content) // 40):
        recording.write_bytes(
            content[:place] + bytes(one ^ 0xA5 for one in content[place : place + 8]) + content[place + 8 :]
        )
        try:
            for name in BagSet().names(tmp_path / "bag"):
                BagSet().read_image(tmp_path / "bag", name)
        except DataError as error:
            assert "bag" in str(error)  # noqa: PT017 - where bytes do not matter, there is no error
            refused += 1
    assert refused > 0


def test_truncated_bag_message_is_skipped_and_named(tmp_path):
    kind = "sensor_msgs/msg/Image"
    with Writer(tmp_path / "bag", version=9, storage_plugin=StoragePlugin.MCAP) as writer:
        connection = writer.add_connection("/rgb", kind, typestore=TYPES)
        for second in (1, 2, 3):
            content = bytes(TYPES.serialize_cdr(raw(picture(second), "rgb8"), kind))
            writer.write(connection, 1_000_000_000 * second, content[: len(content) // 2] if second == 2 else content)
    with ThreadPoolExecutor(1) as executor:
        (shard,) = pack(BagSet(), tmp_path / "bag", tmp_path / "shards", 9, executor)
    assert shard.samples == 2
    assert re.match(r"cannot read /rgb#2000000000 of .*bag: ", shard.refused[0])


def test_bag_without_rosbags_names_extra(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "rosbags.highlevel", None)
    with pytest.raises(ImportError, match=r"needs rosbags\.highlevel; it comes with the extra data: "):
        list(BagSet().names(tmp_path))


def test_ros1_bag_is_read(tmp_path):
    types = get_typestore(Stores.ROS1_NOETIC)
    kinds = types.types
    stamp = kinds["std_msgs/msg/Header"](0, kinds["builtin_interfaces/msg/Time"](1, 0), "camera")
    rows = picture(0)[..., ::-1].copy().ravel()
    message = kinds["sensor_msgs/msg/Image"](stamp, HEIGHT, WIDTH, "bgr8", 0, 3 * WIDTH, rows)
    with Writer1(tmp_path / "old.bag") as writer:
        connection = writer.add_connection("/camera", message.__msgtype__, typestore=types)
        writer.write(connection, 1_000_000_000, types.serialize_ros1(message, message.__msgtype__))
    assert list(BagSet().names(tmp_path / "old.bag")) == ["/camera#1000000000"]
    assert_is(BagSet().read_image(tmp_path / "old.bag", "/camera#1000000000"), picture(0), 0)


def test_recorded_bag_gives_its_original_frames(shared):
    """Fifteen color images at 5 Hz, raw and compressed, and depth, which is none."""
    bag, frames = shared / "data" / "bags" / "sevenscenes_rgbd_converted", shared / "data" / "sevenscenes_redkitchen"
    if not bag.is_dir():
        pytest.skip(f"there is no {bag}")
    names = list(BagSet().names(bag))
    topics = [name.partition("#")[0] for name in names]
    assert topics == ["/camera/color/image_raw"] * 3 + ["/camera/color/image_raw/compressed"] * 3
    for name, number in zip(names, (0, 30, 60) * 2, strict=True):  # a second apart
        requested = FolderSet().read_image(frames, f"frame-{number:06}.color.jpg")
        np.testing.assert_array_equal(BagSet().read_image(bag, name), requested)
