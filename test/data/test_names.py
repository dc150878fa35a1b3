"""Names of a set: an exact round trip in little memory, shared between processes."""

from __future__ import annotations

import gc
import json
import os
import random
import tracemalloc
from pathlib import Path

import pytest
from miniature_files import put_tar

from depth_anything_ros.data import picture_lists, set_version
from depth_anything_ros.data.manifest import shard_name, write_manifest
from depth_anything_ros.data.names import NameMap, Names, Seen, once
from depth_anything_ros.data.packed_names import PackedNames
from depth_anything_ros.data.path_pattern import PathPattern
from depth_anything_ros.data.picture_lists import PictureList
from depth_anything_ros.data.rgbd_declaration import Declaration
from depth_anything_ros.data.rgbd_folder import RgbdFolder
from depth_anything_ros.data.set_source import SetSource
from depth_anything_ros.data.sets import find_set
from depth_anything_ros.data.shard_source import ShardSource
from depth_anything_ros.data.tar_members import TarMembers
from depth_anything_ros.images import sorted_names
from depth_anything_ros.images.folders import PassedOver, walk_files
from depth_anything_ros.images.sorted_names import BLOCK

FOUND = ["", "a.jpg", "b/ö€😀.png", os.fsdecode(b"b/not utf-8 \xff.png"), "b/line\nbreak.jpg", "c.jpg"]


def many(count: int) -> list[str]:
    generator = random.Random(0)
    parts = (f"n{number // 1000:08d}/n{number // 1000:08d}" for number in range(count))
    return [f"{part}_{generator.randrange(10**6)}_{number % 1000}.JPEG" for number, part in enumerate(parts)]


@pytest.mark.parametrize("count", [0, 1, BLOCK - 1, BLOCK, BLOCK + 1, 3 * BLOCK])
def test_names_round_trip_in_order(tmp_path: Path, count: int) -> None:
    expected = (FOUND + many(count))[:count]
    Names(iter(expected)).save(tmp_path / "names")
    for names in (Names(expected), Names.open(tmp_path / "names")):
        assert len(names) == count
        assert list(names) == expected
        assert [names[index] for index in range(count)] == expected
        assert [names[-1 - index] for index in range(count)] == expected[::-1]
        for beyond in (count, -1 - count):
            with pytest.raises(IndexError, match=f"there are {count} names"):
                names[beyond]


def test_name_takes_less_memory_than_its_text() -> None:
    expected = many(100_000)
    tracemalloc.start()
    try:
        names = Names(iter(expected))
        assert tracemalloc.get_traced_memory()[0] < 0.4 * sum(map(len, expected))
        assert tracemalloc.get_traced_memory()[1] < 0.5 * sum(map(len, expected))
    finally:
        tracemalloc.stop()
    assert names[99_999] == expected[-1]


def test_saved_names_survive_removal_of_file(tmp_path: Path) -> None:
    Names(FOUND).save(tmp_path / "names")
    names = Names.open(tmp_path / "names")
    (tmp_path / "names").unlink()
    assert list(names) == FOUND


def test_processes_of_one_machine_scan_set_once(tmp_path: Path) -> None:
    shared, looks = tmp_path / "shared" / "labeled-0", []

    def look() -> tuple[Names, str]:
        looks.append(1)
        return Names(FOUND), "a version"

    for _ in range(3):
        names, version = once(look, shared)
        assert (list(names), version) == (FOUND, "a version")
    assert len(looks) == 1
    assert list(once(look, None)[0]) == FOUND
    assert len(looks) == 2


def test_unshareable_names_are_scanned_by_each_process(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "file").touch()
    names, _ = once(lambda: (Names(FOUND), ""), tmp_path / "file" / "labeled-0")
    assert list(names) == FOUND
    assert "cannot share the names of images" in caplog.text


def test_seen_returns_only_new_names_in_any_batches() -> None:
    expected, seen = many(2_000), Seen()
    given = [*expected, *expected[::3], *many(2_000)[::-1]]
    generator, new, start = random.Random(1), [], 0
    while start < len(given):
        end = start + generator.randrange(1, 50)
        new += seen.new_among(given[start:end])
        start = end
    assert new == expected


def test_seen_takes_eight_bytes_per_name() -> None:
    given, seen = many(100_000), Seen()
    tracemalloc.start()
    try:
        for start in range(0, len(given), 1_000):
            assert len(seen.new_among(given[start : start + 1_000])) == 1_000
        kept, peak = tracemalloc.get_traced_memory()
        assert kept < 9 * len(given)
        assert peak < 20 * len(given)
    finally:
        tracemalloc.stop()


def test_name_map_takes_few_bytes() -> None:
    expected = {name: name.replace("JPEG", "png") for name in many(20_000)}
    tracemalloc.start()
    try:
        pairs = NameMap(expected)
        assert tracemalloc.get_traced_memory()[0] < 50 * len(expected)
    finally:
        tracemalloc.stop()
    assert list(pairs) == list(expected)
    assert {name: pairs[name] for name in list(expected)[::37]} == dict(list(expected.items())[::37])
    assert "absent" not in pairs
    assert dict(NameMap({})) == {}


def test_rgbd_folder_keeps_pairs_in_few_bytes(tmp_path: Path) -> None:
    count = 2_000
    for kind, ending in (("rgb", "jpg"), ("depth", "png")):
        (tmp_path / kind).mkdir()
        for number in range(count):
            (tmp_path / kind / f"{number:06}.{ending}").touch()
    RgbdFolder(tmp_path, Declaration(), {})
    tracemalloc.start()
    try:
        folder = RgbdFolder(tmp_path, Declaration(), {})
        gc.collect()
        assert tracemalloc.get_traced_memory()[0] < 120 * count
    finally:
        tracemalloc.stop()
    assert folder.depth_file("rgb/001999.jpg") == tmp_path / "depth/001999.png"


def test_tar_members_take_few_bytes() -> None:
    """Each of many processes remembers 64 archives: as dictionaries, a gigabyte on a machine."""
    places = {f"{name}.{end}": (512 * n, n) for n, name in enumerate(many(3_000)) for end in ("jpg", "json")}
    tracemalloc.start()
    try:
        members = TarMembers(places)
        members["absent" if "absent" in members else next(iter(places))]
        assert tracemalloc.get_traced_memory()[0] < 40 * len(places)
    finally:
        tracemalloc.stop()
    assert dict(members) == places
    assert members.get("absent") is None


def test_tar_members_support_terabyte_offsets() -> None:
    places = {"a": (512, 5 << 32), "b": (1 << 42, 3), "c": (1 << 50, 0)}
    assert dict(TarMembers(places)) == places
    assert dict(TarMembers({})) == {}


def test_long_image_list_is_read_in_little_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(picture_lists, "_LINES_AT_ONCE", 100)
    monkeypatch.setattr(picture_lists, "_BYTES_AT_ONCE", 1 << 12)
    (tmp_path / "a.jpg").touch()
    expected = many(10_000)
    (tmp_path / "list.txt").write_text("\n".join(["# ours", *expected, "a.jpg", *expected[:100]]))
    listed = PictureList(tmp_path / "list.txt")
    tracemalloc.start()
    try:
        names = Names(listed)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 60 * len(expected)
    assert list(names) == [*expected, "a.jpg"]
    assert str(listed) == "10102 lines list 10001 pictures: 1 are comments, 100 repeat a picture"


def test_large_folder_is_listed_in_order_and_little_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sorted_names, "RUN", 1_000)
    expected = sorted([*many(30_000), *FOUND[1:]])
    given = random.Random(0).sample(expected, len(expected))
    tracemalloc.start()
    try:
        found = sorted_names.in_order(iter(given))
        assert tracemalloc.get_traced_memory()[1] < 40 * len(expected)
    finally:
        tracemalloc.stop()
    assert list(found) == expected
    assert list(sorted_names.in_order(given, key=lambda name: name[1:])) == sorted(given, key=lambda name: name[1:])


def test_large_folder_gives_equal_result_as_small_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("b/3.jpg", "b/1.jpg", "a.jpg", "a b.jpg", "a.png/2.jpg", ".hidden.jpg", "c.jpg"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "link").symlink_to("b")
    (tmp_path / "lost.jpg").symlink_to("nowhere")
    expected = ["a b.jpg", "a.jpg", "c.jpg", "lost.jpg", "a.png/2.jpg", "b/1.jpg", "b/3.jpg"]
    for run in (1_000, 2):
        monkeypatch.setattr(sorted_names, "RUN", run)
        passed_over = PassedOver()
        found = walk_files(tmp_path, passed_over, pytest.fail)
        assert [path.relative_to(tmp_path).as_posix() for path in found] == expected
        said = "hidden: 1 (.hidden.jpg); folders named like files: 1 (a.png); folders visited before: 1 (link)"
        assert str(passed_over) == said
        assert [found["name"] for found in PathPattern("b/{name}.jpg").find(tmp_path)] == ["1", "3"]


def test_unreadable_images_are_counted_without_list(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    absent = many(10_000)
    (tmp_path / "a.jpg").touch()
    (tmp_path / "list.txt").write_text("\n".join(["a.jpg", *absent]))
    tracemalloc.start()
    try:
        source = SetSource(find_set("list"), tmp_path / "list.txt")
        assert tracemalloc.get_traced_memory()[0] < 20 * len(absent)
    finally:
        tracemalloc.stop()
    assert source.blocks == [1]
    assert "left out 10000 images" in caplog.text


def test_version_of_many_files_needs_no_list(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(set_version, "_REMEMBERED", 100)
    names = Names(many(5_000))
    tracemalloc.start()
    try:
        root = tmp_path / ("far" * 60) / ("away" * 50)  # so that a list of paths would take 600 bytes each
        set_version.set_version(find_set("folder"), root, names)
        assert tracemalloc.get_traced_memory()[1] < 500 * len(names)
    finally:
        tracemalloc.stop()


def write_notes(folder: Path, shards: int) -> list[str]:
    """Write the notes of shards with a thousand images each, which a second pack reads first."""
    names = many(1_000 * shards)
    for number in range(shards):
        made = {"name": shard_name(number), "samples": 1_000, "size": 0, "sha256": "", "refused": [], "made_of": ""}
        of_shard = {"names": names[1_000 * number : 1_000 * (number + 1)], "refused_names": []}
        (folder / shard_name(number)).touch()
        (folder / shard_name(number)).with_suffix(".json").write_text(json.dumps({**made, **of_shard}))
    return names


def test_packed_image_takes_fourteen_bytes(tmp_path: Path) -> None:
    names = write_notes(tmp_path, 100)
    tracemalloc.start()
    try:
        packed = PackedNames(tmp_path)
        kept, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert kept < 16 * len(names)
    assert peak < 36 * len(names)
    assert packed.new_among("", [*names[:1_500], "new"]) == ["new"]
    assert packed.seen() == {0, 1}
    assert packed.unseen() == set(range(1, 100))
    assert packed.samples_unseen([0, 1, 2]) == 1_500
    assert packed.names_unseen(1) == names[1_500:2_000]


def test_image_in_two_shards_is_seen_in_both(tmp_path: Path) -> None:
    write_notes(tmp_path, 2)
    note = json.loads((tmp_path / "shard-000000.json").read_text())
    (tmp_path / "shard-000001.json").write_text(json.dumps(note))
    packed = PackedNames(tmp_path)
    assert packed.new_among("", note["names"]) == []
    assert packed.seen() == {0, 1}
    assert packed.unseen() == set()


def test_shard_takes_few_bytes_in_training_process(tmp_path: Path) -> None:
    count = 3_000
    put_tar(tmp_path / shard_name(0), {"a.jpg": b""})
    for number in range(1, count):
        (tmp_path / shard_name(number)).touch()
    described = {"samples": 1, "size": 0, "sha256": "0" * 64, "refused": []}
    entries = [{"name": shard_name(number), **described} for number in range(count)]
    write_manifest(tmp_path, {"set": "folder"}, entries)
    ShardSource(tmp_path)
    tracemalloc.start()
    try:
        source = ShardSource(tmp_path)
        assert tracemalloc.get_traced_memory()[0] < 60 * count
    finally:
        tracemalloc.stop()
    assert source.sample_name(0, 0) == f"{tmp_path.name}/{shard_name(0)}/a"
