"""Samples by number: equal from shards and from the set itself, with matching labels or none."""

from __future__ import annotations

import json
import os
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import lmdb
import numpy as np
import pytest
import webdataset
from miniature_files import encoded, picture, put, put_tar
from miniature_sets import MINIATURES

from depth_anything_ros.data import set_version
from depth_anything_ros.data.depth_codes import encode_inverse_depth, to_png
from depth_anything_ros.data.frame import DataError, decode_image
from depth_anything_ros.data.segmentation import IGNORED
from depth_anything_ros.data.set_source import NAMES_PER_BLOCK, SetSource
from depth_anything_ros.data.sets import find_set
from depth_anything_ros.data.shard_samples import keys_of
from depth_anything_ros.data.shard_source import ShardSource
from depth_anything_ros.data.shards import pack, read_manifest
from depth_anything_ros.data.sources import Sample, read_numbered
from depth_anything_ros.data.tar_members import tar_members
from depth_anything_ros.images.file_kinds import IMAGE_SUFFIXES

SETS = ("kitti", "hrwsi", "nyuv2_sync", "ade20k", "objects365")


def packed(name: str, root: Path, output: Path, per_shard: int = 2) -> Path:
    with ThreadPoolExecutor(1) as executor:
        list(pack(find_set(name), root, output, per_shard, executor))
    return output


@pytest.fixture(scope="module")
def sets(tmp_path_factory) -> dict[str, tuple[Path, Path]]:
    """Folders of miniature sets and of their shards, by name; not to be changed."""
    made = {}
    for name in SETS:
        root = tmp_path_factory.mktemp(name)
        MINIATURES[name](root / "set")
        made[name] = root / "set", packed(name, root / "set", root / "shards")
    return made


def write_pictures(folder: Path, count: int) -> Path:
    """Write images whose every pixel is their number."""
    folder.mkdir(parents=True)
    for number in range(count):
        cv2.imwrite(str(folder / f"{number:02d}.png"), np.full((4, 6, 3), number, np.uint8))
    return folder


@pytest.fixture
def pictures(tmp_path) -> Path:
    """Seven images in shards of three."""
    return packed("folder", write_pictures(tmp_path / "pictures", 7), tmp_path / "shards", per_shard=3)


@pytest.mark.parametrize("kind", ["folder", "list", "archives"])
def test_every_image_source_reads_back_from_shards(tmp_path, kind):
    """A list may name files without an ending."""
    without_encoder = {".pbm", ".jfif"}  # the first of which has no gray at all
    endings = sorted(IMAGE_SUFFIXES - without_encoder) + ([".JPE"] if kind == "list" else [])
    files = {}
    for number, ending in enumerate(endings):
        image = picture(number)[..., 0] if ending == ".pgm" else picture(number)
        files[f"{number}{ending}"] = encoded(ending.lower(), image)
    if kind == "list":
        files["in.a.folder/bare"] = encoded(".png", picture(len(files)))
    for name, content in files.items():
        put(tmp_path / "set" / name, content)
    put(tmp_path / "set" / "mine.txt", "\n".join(files))
    put_tar(tmp_path / "archives" / "a.tar", files)
    root = {"folder": tmp_path / "set", "list": tmp_path / "set" / "mine.txt", "archives": tmp_path / "archives"}[kind]
    source = ShardSource(packed(kind, root, tmp_path / "shards", per_shard=99))
    assert list(source.blocks) == [len(files)]
    names = [name.rpartition("#")[2] for name in find_set(kind).names(root)]
    for index, name in enumerate(names):
        requested = decode_image(files[name], name)
        np.testing.assert_array_equal(source.read(0, index).image, requested, err_msg=name)
    packed_again = list(find_set("archives").names(tmp_path / "shards"))
    assert len(packed_again) == len(files)


def test_database_image_of_rare_format_reads_back_from_shards(tmp_path):
    """As LSUN's are, which have no names."""
    root, content = tmp_path / "set", encoded(".bmp", picture(0))
    (root / "bedroom_train_lmdb").mkdir(parents=True)
    with (
        lmdb.open(str(root / "bedroom_train_lmdb"), map_size=1 << 20) as database,
        database.begin(write=True) as transaction,
    ):
        transaction.put(b"00a1", content)
    source = ShardSource(packed("lsun", root, tmp_path / "shards"))
    np.testing.assert_array_equal(source.read(0, 0).image, picture(0))


def labeled(shards: Path, output: Path, **manifest) -> dict[str, np.ndarray]:
    """Write pseudo-labels for all samples of shards; return them by shard and key."""
    output.mkdir()
    written = {}
    for entry in read_manifest(shards)["shards"]:
        path = shards / entry["name"]
        with webdataset.TarWriter(str(output / path.name)) as writer:
            for index, key in enumerate(keys_of(path)):
                label = np.arange(24, dtype=np.float32).reshape(4, 6) * (index + 1) - 3
                codes, code_range = encode_inverse_depth(label)
                described = json.dumps({"depth": code_range.to_dictionary()}).encode()
                writer.write({"__key__": key, "depth.png": to_png(codes), "json": described})
                written[f"{path.name}/{key}"] = label
    own = {**read_manifest(shards), "labels_of": read_manifest(shards)["version"], "version": "of labels", **manifest}
    (output / "manifest.json").write_text(json.dumps(own))
    return written


def overwrite(shard: Path, member: str, content: bytes) -> None:
    """Overwrite the beginning of an archive's member."""
    start, size = tar_members(shard)[member]
    with shard.open("r+b") as file:
        file.seek(start)
        file.write(content[:size])


@pytest.mark.parametrize("name", SETS)
def test_shards_and_set_give_equal_samples(sets, name):
    root, shards = sets[name]
    of_set, of_shards = SetSource(find_set(name), root), ShardSource(shards)
    assert of_set.name == of_shards.name == name
    assert sum(of_set.blocks) == sum(of_shards.blocks) > 2
    assert len(of_shards.blocks) > 1
    for number in range(sum(of_set.blocks)):
        ours, theirs = read_numbered(of_set, number), read_numbered(of_shards, number)
        assert ours.image.dtype == theirs.image.dtype == np.uint8
        np.testing.assert_array_equal(ours.image, theirs.image)
        np.testing.assert_array_equal(ours.labels, theirs.labels)
        assert (ours.labels is None) == (name != "ade20k")
        assert (ours.inverse_depth is None) == (theirs.inverse_depth is None) == (name in ("ade20k", "objects365"))
        if ours.inverse_depth is not None:
            assert ours.inverse_depth.dtype == theirs.inverse_depth.dtype == np.float32
            np.testing.assert_allclose(theirs.inverse_depth, ours.inverse_depth, rtol=1e-4)


def test_samples_match_miniature_sets(sets):
    expected = MINIATURES["kitti"](sets["kitti"][0])
    for number, one in enumerate(expected):
        sample = read_numbered(ShardSource(sets["kitti"][1]), number)
        assert np.isnan(sample.inverse_depth).any()
        np.testing.assert_allclose(sample.inverse_depth, 1 / one.depth, rtol=1e-4)
    sample = read_numbered(ShardSource(sets["ade20k"][1]), 0)
    assert IGNORED in sample.labels
    np.testing.assert_array_equal(sample.labels, MINIATURES["ade20k"](sets["ade20k"][0])[0].labels)


@pytest.mark.parametrize(("name", "metric"), [("kitti", True), ("hrwsi", False), ("ade20k", False)])
def test_source_knows_whether_depth_is_metric(sets, name, metric):
    root, shards = sets[name]
    assert SetSource(find_set(name), root).is_metric is metric
    assert ShardSource(shards).is_metric is metric


def test_shards_with_empty_first_shard_are_metric(tmp_path):
    root = tmp_path / "set"
    first = MINIATURES["kitti"](root)[0]
    (root / first.name).write_bytes(b"no picture")
    source = ShardSource(packed("kitti", root, tmp_path / "shards", per_shard=1))
    assert source.blocks == [0, 1, 1]
    assert source.is_metric
    assert read_numbered(source, 0).name.startswith("shard-000001.tar/")


def test_samples_are_numbered_through_all_blocks(pictures):
    source = ShardSource(pictures)
    assert source.blocks == [3, 3, 1]
    for number in range(7):
        assert (read_numbered(source, number).image == number).all()
    assert (source.read(1, 2).image == 5).all()
    assert source.read(2, 0).name == "shard-000002.tar/06%2Epng"


def test_set_source_has_blocks_of_a_thousand_names(tmp_path):
    folder = write_pictures(tmp_path / "pictures", 1)
    for number in range(1, NAMES_PER_BLOCK + 2):
        (folder / f"{number:06d}.png").symlink_to("00.png")
    (folder / f"{NAMES_PER_BLOCK + 1:06d}.png").unlink()
    cv2.imwrite(str(folder / f"{NAMES_PER_BLOCK + 1:06d}.png"), np.full((4, 6, 3), 9, np.uint8))
    source = SetSource(find_set("folder"), folder)
    assert source.blocks == [1000, 2]
    assert source.read(1, 1).name == "folder/001001.png"
    assert (source.read(1, 1).image == 9).all()
    assert (read_numbered(source, 999).image == 0).all()
    assert source.version.startswith("1002 images, content ")
    assert SetSource(find_set("folder"), folder, limit=3).blocks == [3]
    assert SetSource(find_set("folder"), folder, limit=1000).blocks == [1000]


def version(root: Path, kind: str = "folder") -> str:
    return SetSource(find_set(kind), root).version


def test_version_of_small_set_depends_on_content_and_names(tmp_path, monkeypatch):
    """A picture that is replaced counts, and one that is renamed; times and places do not."""
    folder = write_pictures(tmp_path / "pictures", 3)
    first = version(folder)
    assert first.startswith("3 images, content ")
    os.utime(folder / "01.png", (1, 1))
    assert version(folder) == first
    assert version(Path(shutil.copytree(folder, tmp_path / "elsewhere", copy_function=shutil.copyfile))) == first
    (tmp_path / "link").symlink_to(folder)
    assert version(tmp_path / "link") == first
    times = (folder / "01.png").stat()
    cv2.imwrite(str(folder / "01.png"), np.full((4, 6, 3), 77, np.uint8))  # of the same size
    os.utime(folder / "01.png", ns=(times.st_atime_ns, times.st_mtime_ns))
    other = version(folder)
    assert other != first
    (folder / "02.png").rename(folder / "03.png")
    assert version(folder) not in (first, other)


def test_version_of_large_set_depends_on_names_sizes_and_times(tmp_path, monkeypatch):
    folder = write_pictures(tmp_path / "pictures", 3)
    monkeypatch.setattr(set_version, "MAX_HASHED_BYTES", 100)
    first = version(folder)
    assert first.startswith("3 images, names, sizes and times ")
    moved = Path(shutil.copytree(folder, tmp_path / "elsewhere", copy_function=shutil.copy2))
    assert version(moved) == first
    os.utime(moved / "01.png", (1, 1))
    assert version(moved) != first


def test_version_includes_depth_and_archives(tmp_path):
    root = tmp_path / "set"
    one = MINIATURES["kitti"](root)[0]
    first = version(root, "kitti")
    (root / one.files[1]).write_bytes((root / one.files[1]).read_bytes() + b"more")
    assert version(root, "kitti") != first
    put_tar(
        tmp_path / "archives" / "a.tar", {"a.jpg": encoded(".jpg", picture(0)), "b.jpg": encoded(".jpg", picture(1))}
    )
    first = version(tmp_path / "archives", "archives")
    put_tar(
        tmp_path / "archives" / "a.tar", {"a.jpg": encoded(".jpg", picture(2)), "b.jpg": encoded(".jpg", picture(1))}
    )
    assert version(tmp_path / "archives", "archives") != first


def test_version_includes_read_options(tmp_path):
    root, moved = tmp_path / "set", tmp_path / "moved"
    for number in range(2):
        put(root / "rgb" / f"{number}.png", picture(number))
        put(root / "depth" / f"{number}.png", np.full((32, 64), 1000 + number, np.uint16))
    put(root / "rgbd.yaml", "depth_scale: 0.001")
    first = version(root, "rgbd")
    assert version(Path(shutil.copytree(root, moved)), "rgbd") == first
    put(moved / "rgbd.yaml", "depth_scale: 0.0002")
    assert version(moved, "rgbd") != first


def test_folder_without_images_raises(tmp_path):
    with pytest.raises(DataError, match=r"contains no image of kitti; the expected path is {date}/"):
        SetSource(find_set("kitti"), tmp_path)


def test_folder_without_manifest_raises(tmp_path, pictures):
    with pytest.raises(DataError, match=r"manifest\.json.*create it with `depth_anything_ros data pack`"):
        ShardSource(tmp_path / "pictures")
    with pytest.raises(DataError, match=r"labels has no manifest\.json; .* label`"):
        ShardSource(pictures, tmp_path / "labels")


def test_missing_shard_is_named_at_start(pictures, tmp_path):
    copy = Path(shutil.copytree(pictures, tmp_path / "copy"))
    labeled(pictures, tmp_path / "labels")
    (copy / "shard-000001.tar").unlink()
    with pytest.raises(DataError, match=r"copy/shard-000001\.tar is missing \(1 of 3 shards are\)"):
        ShardSource(copy)
    (tmp_path / "labels/shard-000002.tar").unlink()
    with pytest.raises(DataError, match=r"labels/shard-000002\.tar is missing"):
        ShardSource(pictures, tmp_path / "labels")


def test_labels_replace_depth(pictures, tmp_path):
    written = labeled(pictures, tmp_path / "labels")
    source = ShardSource(pictures, tmp_path / "labels")
    assert source.version == f"{ShardSource(pictures).version}, labels of labels"
    assert source.blocks == [3, 3, 1]
    assert len(written) == 7
    for number in range(7):
        sample = read_numbered(source, number)
        assert (sample.image == number).all()
        assert sample.labels is None
        label = written[sample.name]
        np.testing.assert_allclose(sample.inverse_depth, label, atol=np.ptp(label) / 65533)


def test_labeled_depth_is_not_metric(sets, tmp_path):
    shards = sets["kitti"][1]
    labeled(shards, tmp_path / "labels")
    assert not ShardSource(shards, tmp_path / "labels").is_metric


def test_labels_of_other_version_are_rejected(pictures, tmp_path):
    labeled(pictures, tmp_path / "labels", labels_of="another")
    with pytest.raises(
        DataError, match=r"labels contains labels of version another, but .*shards is [0-9a-f]{64}: run label"
    ):
        ShardSource(pictures, tmp_path / "labels")
    labels_of_themselves = pictures  # images in place of labels
    with pytest.raises(DataError, match=r"shards contains labels of version None, .*: run label again"):
        ShardSource(pictures, labels_of_themselves)


def test_image_without_label_is_named(pictures, tmp_path):
    labeled(pictures, tmp_path / "labels")
    with webdataset.TarWriter(str(tmp_path / "labels" / "shard-000001.tar")) as writer:
        writer.write({"__key__": "03%2Epng", "json": b"{}"})
    with pytest.raises(DataError, match=r"labels/shard-000001\.tar has no 04%2Epng\.depth\.png"):
        ShardSource(pictures, tmp_path / "labels").read(1, 1)


@pytest.mark.parametrize(
    ("content", "trouble"),
    [(b'{"depth": {"scale": 1}}', "must have scale, low and high"), (b"{", "is damaged"), (b"\xff\xfe", "is damaged")],
)
def test_damaged_label_description_is_named(pictures, tmp_path, content, trouble):
    labeled(pictures, tmp_path / "labels")
    shard = tmp_path / "labels" / "shard-000000.tar"
    overwrite(shard, "01%2Epng.json", content.ljust(tar_members(shard)["01%2Epng.json"][1]))
    source = ShardSource(pictures, tmp_path / "labels")
    with pytest.raises(DataError, match=rf"shard-000000\.tar.*01%2Epng.*{trouble}"):
        source.read(0, 1)
    assert source.read(0, 0).inverse_depth is not None


def test_damaged_depth_image_is_named(pictures, tmp_path):
    labeled(pictures, tmp_path / "labels")
    overwrite(tmp_path / "labels" / "shard-000000.tar", "01%2Epng.depth.png", b"no picture at all")
    with pytest.raises(DataError, match=r"shard-000000\.tar: depth of 01%2Epng: .*not a picture"):
        ShardSource(pictures, tmp_path / "labels").read(0, 1)


def test_damaged_image_is_named(pictures):
    overwrite(pictures / "shard-000001.tar", "04%2Epng.png", b"no picture at all")
    with pytest.raises(DataError, match=r"shard-000001\.tar: 04%2Epng\.png is not a picture"):
        ShardSource(pictures).read(1, 1)


def test_shard_with_fewer_samples_than_manifest_is_named(pictures):
    (pictures / "shard-000000.tar").write_bytes((pictures / "shard-000002.tar").read_bytes())
    source = ShardSource(pictures)
    assert source.read(0, 0).name == "shard-000000.tar/06%2Epng"
    with pytest.raises(DataError, match=r"shard-000000\.tar has 1 samples, but its manifest lists 3: fetch it again"):
        source.read(0, 1)


def tagged(jpeg: bytes) -> bytes:
    """A JPEG with a tag that rotates it clockwise by a quarter."""
    exif = b"Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0"
    return jpeg[:2] + b"\xff\xe1" + (len(exif) + 2).to_bytes(2, "big") + exif + jpeg[2:]


@pytest.mark.parametrize(("name", "turned"), [("nyuv2_sync", False), ("ade20k", False), ("objects365", True)])
def test_orientation_tag_rotates_only_unlabeled_images(tmp_path, name, turned):
    root = tmp_path / "set"
    first = MINIATURES[name](root)[0]
    stored = SetSource(find_set(name), root).read(0, 0).image
    (root / first.name).write_bytes(tagged((root / first.name).read_bytes()))
    expected = np.rot90(stored, -1) if turned else stored
    assert not np.array_equal(np.rot90(stored, -1), stored)
    for source in (SetSource(find_set(name), root), ShardSource(packed(name, root, tmp_path / "shards"))):
        np.testing.assert_array_equal(source.read(0, 0).image, expected)


def test_sample_with_labels_of_other_size_raises():
    image = np.zeros((4, 6, 3), np.uint8)
    with pytest.raises(DataError, match=r"one: image is \(4, 6\), its depth or labels are \(6, 4\)"):
        Sample("one", image, np.zeros((6, 4), np.float32))
    with pytest.raises(DataError, match=r"one: image is \(4, 6\), its depth or labels are \(4, 5\)"):
        Sample("one", image, labels=np.zeros((4, 5), np.uint8))


@pytest.mark.parametrize(
    ("least_side", "expected"), [(0, (96, 200)), (97, (96, 200)), (96, (96, 200)), (48, (48, 100)), (12, (12, 25))]
)
def test_decode_image_downscales_to_least_side(tmp_path, least_side, expected):
    ramp = np.repeat(np.linspace(0, 255, 200).astype(np.uint8)[None, :, None], 96, axis=0).repeat(3, axis=2)
    (tmp_path / "pictures").mkdir()
    cv2.imwrite(str(tmp_path / "pictures/ramp.jpg"), ramp)
    source = ShardSource(packed("folder", tmp_path / "pictures", tmp_path / "shards"))
    image = source.read(0, 0, least_side).image
    assert image.shape[:2] == expected
    requested = cv2.resize(ramp, expected[::-1], interpolation=cv2.INTER_AREA)
    assert np.abs(image.astype(int) - requested).mean() < 3


def test_labeled_images_are_never_downscaled(sets):
    for name in ("kitti", "ade20k"):
        root, shards = sets[name]
        whole = read_numbered(SetSource(find_set(name), root), 0)
        assert ShardSource(shards).read(0, 0, least_side=1).image.shape == whole.image.shape


def test_truncated_photograph_is_named_at_any_scale():
    content = cv2.imencode(".jpg", np.zeros((64, 64, 3), np.uint8))[1].tobytes()
    with pytest.raises(DataError, match="cut is not a picture, or is damaged"):
        decode_image(content[: len(content) // 2], "cut", least_side=8)
