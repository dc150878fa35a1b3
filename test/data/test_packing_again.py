"""Packing into a folder with shards: existing shards stay, new images are added, other sets are rejected."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import webdataset
from folder_holder import held
from miniature_files import encoded, picture, put, put_tar, put_video

from depth_anything_ros.data.frame import DataError
from depth_anything_ros.data.manifest import Shard, read_manifest, verify_shards
from depth_anything_ros.data.sets import find_set
from depth_anything_ros.data.shard_files import key_of
from depth_anything_ros.data.shards import pack
from depth_anything_ros.system.output_folder import NOTE, SHARDS, FolderError

FOLDER = find_set("folder")


def packed(roots: Path | list[Path], output: Path, kind: str = "folder", per_shard: int = 4, **options) -> list[Shard]:
    with ThreadPoolExecutor(2) as executor:
        return list(pack(find_set(kind), roots, output, per_shard, executor, **options))


def shards_in(output: Path) -> dict[str, tuple[int, bytes]]:
    """Inode and content of each shard; the inode shows whether it was written again."""
    return {path.name: (path.stat().st_ino, path.read_bytes()) for path in sorted(output.glob("*.tar"))}


def samples_of(output: Path) -> Iterator[dict]:
    shards = [str(output / entry["name"]) for entry in read_manifest(output)["shards"]]
    yield from webdataset.WebDataset(shards, shardshuffle=False)


def put_pictures(folder: Path, first: int, count: int) -> Path:
    """Write images named by their number, whose content depends on ``first``."""
    for number in range(count):
        put(folder / f"{number:02}.png", picture(first + number))
    return folder


@pytest.fixture
def first(tmp_path) -> Path:
    """Twelve images, which make three shards of four."""
    return put_pictures(tmp_path / "first", 0, 12)


@pytest.fixture
def second(tmp_path) -> Path:
    """Other images with the same names."""
    return put_pictures(tmp_path / "second", 100, 12)


def put_one(kind: str, place: Path, seed: int) -> Path:
    """Write a root of this kind whose one image has the same name for every seed."""
    if kind == "list":
        put(place / "a.png", picture(seed))
        put(place / "list.txt", "a.png\n")
        return place / "list.txt"
    if kind == "videos":
        put_video(place / "clip.avi", [picture(seed)] * 3)
    elif kind == "archives":
        put_tar(place / "a.tar", {"a.png": encoded(".png", picture(seed))})
    else:
        put(place / "a.png", picture(seed))
    return place


@pytest.mark.parametrize("kind", ["folder", "list", "videos", "archives"])
def test_pack_of_other_root_is_rejected_with_both_names(tmp_path, kind):
    one, other = put_one(kind, tmp_path / "one", 1), put_one(kind, tmp_path / "other", 2)
    output = tmp_path / "shards"
    packed(one, output, kind)
    before = shards_in(output)
    with pytest.raises(FolderError) as raised:
        packed(other, output, kind)
    assert f"{output} contains shards of {kind} made from {one}, but {other} has other images" in str(raised.value)
    assert shards_in(output) == before
    assert [trouble for _, trouble in verify_shards(output)] == [""]


def test_several_roots_pack_without_name_collision(first, second, tmp_path):
    output = tmp_path / "shards"
    packed([first, second], output)
    read = list(samples_of(output))
    assert len({sample["__key__"] for sample in read}) == 24
    for sample in read:
        described = json.loads(sample["json"])
        root = {"first": first, "second": second}[described["root"]]
        assert sample["png"] == (root / described["name"]).read_bytes()
        assert sample["__key__"] == key_of(described["name"], described["root"])
    for folder in (first, second):
        shutil.copytree(folder, tmp_path / "elsewhere" / folder.name)
    packed([tmp_path / "elsewhere" / folder.name for folder in (first, second)], tmp_path / "again")
    assert [content for _, content in shards_in(tmp_path / "again").values()] == [
        content for _, content in shards_in(output).values()
    ]


def test_roots_of_equal_name_are_distinguished(tmp_path):
    roots = [put_pictures(tmp_path / run / "camera", seed, 1) for seed, run in enumerate(("monday", "tuesday"))]
    packed(roots, tmp_path / "shards")
    labels = [json.loads(sample["json"])["root"] for sample in samples_of(tmp_path / "shards")]
    assert labels == ["monday/camera", "tuesday/camera"]


def test_added_root_leaves_existing_shards_unchanged(first, second, tmp_path):
    output = tmp_path / "shards"
    packed(first, output)
    before = shards_in(output)
    packed([first, second], output)
    after = shards_in(output)
    assert {name: after[name] for name in before} == before
    assert read_manifest(output)["samples"] == 24
    packed(first, output)  # one of those that are known: the other's shards stay
    assert shards_in(output) == after
    assert read_manifest(output)["samples"] == 24


def test_missing_shard_of_unnamed_root_is_reported(first, second, tmp_path):
    output = tmp_path / "shards"
    packed([first, second], output)
    (output / "shard-000004.tar").unlink()
    with pytest.raises(
        DataError, match=r"shard-000004\.tar is missing, and its root second is not given: give this root"
    ):
        packed(first, output)
    packed([second, first], output)
    assert read_manifest(output)["samples"] == 24


def test_duplicate_root_is_rejected(first, tmp_path):
    (tmp_path / "link").symlink_to(first)
    with pytest.raises(DataError, match="a root is given twice"):
        packed([first, tmp_path / "link"], tmp_path / "shards")


def test_root_without_images_is_rejected_before_writing(first, tmp_path):
    (tmp_path / "empty").mkdir()
    packed(first, tmp_path / "shards")
    before = shards_in(tmp_path / "shards")
    with pytest.raises(DataError, match=f"{tmp_path / 'empty'} contains no picture"):
        packed([first, tmp_path / "empty"], tmp_path / "shards")
    assert shards_in(tmp_path / "shards") == before


@pytest.mark.parametrize("keeps_times", [True, False])
def test_moved_root_counts_as_equal(first, tmp_path, keeps_times, caplog):
    output, moved = tmp_path / "shards", tmp_path / "moved"
    packed(first, output)
    before = {name: content for name, (_, content) in shards_in(output).items()}
    shutil.copytree(first, moved, copy_function=shutil.copy2 if keeps_times else shutil.copy)
    shutil.rmtree(first)
    put(moved / "12.png", picture(12))
    packed(moved, output)
    after = {name: content for name, (_, content) in shards_in(output).items()}
    assert {name: after[name] for name in before} == before
    assert read_manifest(output)["samples"] == 13
    assert f"the images of {first} have moved to {moved}" in caplog.text
    packed(moved, output)  # as it is noted now


def test_added_image_changes_no_other_shard(first, tmp_path):
    output = tmp_path / "shards"
    packed(first, output)
    before = shards_in(output)
    put(first / "00a.png", picture(50))  # the second in order
    packed(first, output)
    after = shards_in(output)
    assert {name: after[name] for name in before} == before
    assert set(after) - set(before) == {"shard-000003.tar"}
    assert [entry["samples"] for entry in read_manifest(output)["shards"]] == [4, 4, 4, 1]


def test_unchanged_roots_write_nothing(first, second, tmp_path):
    output = tmp_path / "shards"
    packed([first, second], output)

    def state() -> dict[str, tuple[int, int]]:
        found = {path.name: path.stat() for path in output.iterdir() if not path.name.startswith(".")}
        return {name: (one.st_ino, one.st_mtime_ns) for name, one in found.items()}

    before = state()
    packed([first, second], output)
    assert state() == before


def test_limit_deletes_nothing_and_rest_is_packed_later(first, tmp_path):
    output = tmp_path / "shards"
    packed(first, output, limit=6)
    assert [entry["samples"] for entry in read_manifest(output)["shards"]] == [4, 2]
    packed(first, output)
    whole = shards_in(output)
    assert read_manifest(output)["samples"] == 12
    packed(first, output, limit=4)
    assert shards_in(output) == whole
    assert read_manifest(output)["samples"] == 12


def test_samples_of_deleted_images_stay_until_prune(first, tmp_path, caplog):
    """As of a disk that is mounted by half."""
    output = tmp_path / "shards"
    packed(first, output)
    before, manifest = shards_in(output), read_manifest(output)
    for number in (1, 4, 5, 6, 7):
        (first / f"{number:02}.png").unlink()
    put(first / "20.png", picture(20))
    with pytest.raises(DataError) as raised:
        packed(first, output)
    said = f"{output} has 12 samples, but 5 of their images are gone, such as 01.png of {first}. Is a disk"
    assert said in str(raised.value)
    assert "give --prune" in str(raised.value)
    assert (shards_in(output), read_manifest(output)) == (before, manifest)
    packed(first, output, prune=True)
    after = shards_in(output)
    assert "removing 5 samples whose images are gone" in caplog.text
    assert after["shard-000002.tar"] == before["shard-000002.tar"]
    names = [json.loads(sample["json"])["name"] for sample in samples_of(output)]
    assert names == [f"{number:02}.png" for number in (0, 2, 3, 8, 9, 10, 11, 20)]
    assert [trouble for _, trouble in verify_shards(output)] == [""] * 3


def test_samples_of_unreadable_images_stay_until_prune(first, tmp_path):
    """As of a disk that has begun to fail."""
    output = tmp_path / "shards"
    packed(first, output)
    before, manifest = shards_in(output), read_manifest(output)
    put(first / "05.png", b"")
    with pytest.raises(DataError) as raised:
        packed(first, output)
    assert f"{output / 'shard-000001.tar'} has samples of 1 images that can no longer be read" in str(raised.value)
    assert "05.png" in str(raised.value)
    assert (shards_in(output), read_manifest(output)) == (before, manifest)
    packed(first, output, prune=True)
    manifest = read_manifest(output)
    assert (manifest["samples"], manifest["refused"]) == (11, 1)


def test_deleted_image_that_was_never_packed_is_forgotten(first, tmp_path):
    put(first / "01.png", b"no picture")
    packed(first, tmp_path / "shards")
    assert read_manifest(tmp_path / "shards")["refused"] == 1
    (first / "01.png").unlink()
    packed(first, tmp_path / "shards")
    manifest = read_manifest(tmp_path / "shards")
    assert (manifest["samples"], manifest["refused"]) == (11, 0)


def test_new_shard_size_applies_only_to_new_shards(first, tmp_path, caplog):
    output = tmp_path / "shards"
    packed(first, output)
    before = shards_in(output)
    put(output / "notes.txt", "mine")
    packed(first, output, per_shard=3)
    assert shards_in(output) == before
    assert (output / "notes.txt").read_text() == "mine"
    assert f"{output}: existing shards keep up to 4 images; only new ones have 3" in caplog.text


def make_older(output: Path) -> None:
    """Change shards to the form of the first release: notes without names, and no hidden files."""
    (output / NOTE).unlink()
    for path in output.glob("shard-*.json"):
        noted = json.loads(path.read_text())
        for name in ("names", "refused_names", "root"):
            noted.pop(name, None)
        path.write_text(json.dumps(noted))


def test_shards_of_first_release_are_continued(first, second, tmp_path):
    output = tmp_path / "shards"
    packed(first, output)
    make_older(output)
    before = shards_in(output)
    with pytest.raises(FolderError, match="made from an unknown root"):
        packed(second, output)
    assert shards_in(output) == before
    put(first / "sub.dir" / "a%2E.png", picture(60))
    packed(first, output)
    after = shards_in(output)
    assert {name: after[name] for name in before} == before
    make_older(output)
    packed(first, output)  # names with all that keys write in other letters
    assert shards_in(output) == after


def test_second_packing_process_is_rejected(first, tmp_path):
    output = tmp_path / "shards"
    packed(first, output)
    before = shards_in(output)
    put(first / "20.png", picture(20))
    with (
        held(output, SHARDS, "shards of folder", "data pack"),
        pytest.raises(FolderError, match=f"another process .* is writing into {output}: wait for it"),
    ):
        packed(first, output)
    assert shards_in(output) == before
    packed(first, output)
    assert read_manifest(output)["samples"] == 13


@pytest.mark.parametrize("name", ["../outside.tar", "/outside.tar", "sub/shard.tar", "..", "shard.json", ".tar", 7])
def test_manifest_with_outside_path_is_rejected(first, tmp_path, name):
    output = tmp_path / "shards"
    packed(first, output)
    manifest = read_manifest(output)
    manifest["shards"][1]["name"] = name
    put(output / "manifest.json", json.dumps(manifest))
    with pytest.raises(DataError, match=r"manifest\.json is damaged: .* is not a valid shard name"):
        read_manifest(output)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda manifest: manifest.pop("shards"), "'shards'"),
        (lambda manifest: manifest["shards"].append(manifest["shards"][0]), "lists shard-000000.tar twice"),
        (lambda manifest: manifest["shards"][0].update(samples="4"), "must be whole numbers"),
        (lambda manifest: manifest["shards"][0].update(samples=-1), "must be whole numbers"),
        (lambda manifest: manifest.update(version=None), "must be text"),
    ],
)
def test_damaged_manifest_is_rejected_with_reason(first, tmp_path, change, message):
    packed(first, tmp_path / "shards")
    manifest = read_manifest(tmp_path / "shards")
    change(manifest)
    put(tmp_path / "shards" / "manifest.json", json.dumps(manifest))
    with pytest.raises(DataError, match=rf"manifest\.json is damaged: .*{message}.*; pack the set again"):
        read_manifest(tmp_path / "shards")
