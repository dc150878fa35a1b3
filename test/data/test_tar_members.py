"""Archive members are read by position, and every truncation is detected."""

from __future__ import annotations

import gzip
import tarfile
from pathlib import Path

import pytest
import webdataset
from hypothesis import given, settings
from hypothesis import strategies as st
from miniature_files import put, put_tar

from depth_anything_ros.data.frame import DataError
from depth_anything_ros.data.tar_members import ArchiveError, read_member, tar_members

MEMBERS = {"b/1.jpg": b"x" * 700, "a.json": b"{}", "empty.txt": b"", f"{'long/' * 30}häuser.png": b"y" * 512}


@settings(deadline=None, max_examples=50)
@given(
    members=st.dictionaries(
        st.text(min_size=1, max_size=120).map(lambda name: name.replace("/", "_").replace("\0", "_")),
        st.binary(max_size=1500),
        max_size=5,
    )
)
def test_members_round_trip_by_position(tmp_path_factory, members):
    path = tmp_path_factory.mktemp("any") / "a.tar"
    put_tar(path, members)
    assert list(tar_members(path)) == list(members)
    assert {name: read_member(path, name) for name in members} == members


def test_webdataset_members_are_read_by_position(tmp_path):
    with webdataset.TarWriter(str(tmp_path / "a.tar")) as writer:
        writer.write({"__key__": "one", "jpg": b"image", "depth.png": b"depth", "json": b"{}"})
    assert sorted(tar_members(tmp_path / "a.tar")) == ["one.depth.png", "one.jpg", "one.json"]
    assert read_member(tmp_path / "a.tar", "one.depth.png") == b"depth"


def test_folders_and_links_are_no_members(tmp_path):
    put(tmp_path / "set" / "a.txt", "content")
    (tmp_path / "set" / "link.txt").symlink_to("a.txt")
    with tarfile.open(tmp_path / "a.tar", "w") as archive:
        archive.add(tmp_path / "set", "set")
    assert list(tar_members(tmp_path / "a.tar")) == ["set/a.txt"]


def test_archive_is_listed_once(tmp_path):
    put_tar(tmp_path / "a.tar", MEMBERS)
    assert tar_members(tmp_path / "a.tar") is tar_members(tmp_path / "a.tar")


def test_missing_member_is_named_with_archive(tmp_path):
    put_tar(tmp_path / "a.tar", MEMBERS)
    with pytest.raises(DataError, match=r"a\.tar has no 9\.jpg$") as lacking:
        read_member(tmp_path / "a.tar", "9.jpg")
    assert not isinstance(lacking.value, ArchiveError)
    with pytest.raises(ArchiveError, match=r"cannot read .*b\.tar: No such file or directory$"):
        read_member(tmp_path / "b.tar", "9.jpg")


def test_truncated_archive_is_rejected_at_every_length(tmp_path):
    """Even between two members, where tarfile sees a shorter archive and nothing wrong."""
    put_tar(tmp_path / "whole.tar", MEMBERS)
    content = (tmp_path / "whole.tar").read_bytes()
    end = max(sum(place) for place in tar_members(tmp_path / "whole.tar").values())
    for length in {*range(0, end + 1, 256), 1, 700, end - 1, end}:
        path = tmp_path / f"{length}.tar"
        path.write_bytes(content[:length])
        with pytest.raises(ArchiveError, match=rf"{length}\.tar.*; fetch it or pack it again$"):
            tar_members(path)


def test_archive_with_damaged_header_is_rejected(tmp_path):
    """Where tarfile ends quietly."""
    put_tar(tmp_path / "a.tar", {"1.jpg": b"x" * 512, "2.jpg": b"y", "3.jpg": b"z"})
    content = bytearray((tmp_path / "a.tar").read_bytes())
    content[1024 + 150] ^= 255  # the second's checksum
    (tmp_path / "a.tar").write_bytes(content)
    with pytest.raises(DataError, match=r"a\.tar has no member at byte 1024, .*; fetch it or pack it again$"):
        tar_members(tmp_path / "a.tar")


@pytest.mark.parametrize("pack", [gzip.compress, lambda content: b"no archive" * 200])
def test_compressed_or_foreign_file_is_rejected(tmp_path, pack):
    put_tar(tmp_path / "plain.tar", MEMBERS)
    path = Path(tmp_path / "a.tar")
    path.write_bytes(pack((tmp_path / "plain.tar").read_bytes()))
    with pytest.raises(DataError, match=r"cannot read .*a\.tar: .*it is damaged or not an uncompressed tar"):
        tar_members(path)


def test_archive_that_shrinks_during_read_is_named(tmp_path):
    path = tmp_path / "a.tar"
    put_tar(path, MEMBERS)
    tar_members(path)
    path.write_bytes(path.read_bytes()[:600])
    with pytest.raises(DataError, match=r"a\.tar ends within b/1\.jpg; fetch it or pack it again$"):
        read_member(path, "b/1.jpg")
