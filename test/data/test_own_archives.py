"""The user's own archives: members in stored order, compressed and damaged files."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from image_comparison import assert_is
from miniature_files import HEIGHT, JPEG, VIDEO, WIDTH, encoded, picture, put, put_tar, put_video
from miniature_sets import MINIATURES

from depth_anything_ros.data import retry
from depth_anything_ros.data.archive_set import TarSet
from depth_anything_ros.data.check import check_samples
from depth_anything_ros.data.frame import DataError
from depth_anything_ros.data.sets import find_set
from depth_anything_ros.data.shards import Shard, key_of, pack
from depth_anything_ros.data.tar_members import tar_members
from depth_anything_ros.data.video_set import VideoSet


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
