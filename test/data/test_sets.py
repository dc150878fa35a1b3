"""Every declared set, read from a miniature in its original formats; see `miniature_sets`."""

from __future__ import annotations

import json
import pickle
import re
import shutil
import struct
import sys
from dataclasses import astuple, replace
from pathlib import Path

import numpy as np
import pytest
from miniature_files import HEIGHT, JPEG, WIDTH, Expected, encoded, picture, put
from miniature_sets import MINIATURES

from depth_anything_ros.data.ddad import _scene
from depth_anything_ros.data.depth_set import DepthSet
from depth_anything_ros.data.frame import DataError, decode_image, read_image
from depth_anything_ros.data.lmdb_images import _open
from depth_anything_ros.data.segmentation import SegmentationSet
from depth_anything_ros.data.set_source import SetSource
from depth_anything_ros.data.sets import ALL_SETS, SETS_BY_KIND, find_set
from depth_anything_ros.data.tar_members import tar_members
from depth_anything_ros.data.video_set import _video

Written = tuple[Path, list[Expected]]
DECLARED = [
    declared for kind in ("labeled", "unlabeled", "benchmark", "segmentation") for declared in SETS_BY_KIND[kind]
]
NAMES = [declared.name for declared in DECLARED]
WITH_DEPTH = [declared.name for declared in DECLARED if isinstance(declared, DepthSet)]
WITH_CLASSES = [declared.name for declared in DECLARED if isinstance(declared, SegmentationSet)]


@pytest.fixture(scope="module")
def written(tmp_path_factory) -> dict[str, Written]:
    """The folder of each miniature and its expected frames; not to be changed."""
    folder = tmp_path_factory.mktemp("sets")
    return {name: (folder / name, build(folder / name)) for name, build in MINIATURES.items()}


@pytest.fixture
def own(written, tmp_path, request) -> Written:
    """A copy of one miniature to damage, at its own path, because readers keep files open by their paths."""
    root, expected = written[request.param]
    return Path(shutil.copytree(root, tmp_path / request.param)), expected


def of_all(names: list[str]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("own", names, indirect=True)


def assert_is(image: np.ndarray, expected: Expected) -> None:
    assert image.dtype == np.uint8
    assert image.shape == expected.image.shape
    read, requested = (inside(array).astype(int) for array in (image, expected.image))
    np.testing.assert_allclose(read, requested, rtol=0, atol=expected.tolerance)


def inside(image: np.ndarray) -> np.ndarray:
    """The quadrants without the seams between them, which JPEG and video blur."""
    height, width = image.shape[:2]
    image = np.delete(image, range(height // 2 - 2, height // 2 + 2), axis=0)
    return np.delete(image, range(width // 2 - 2, width // 2 + 2), axis=1)


def test_every_declared_set_has_a_miniature():
    elsewhere = {declared.name for kind in ("sample", "your own") for declared in SETS_BY_KIND[kind]}
    assert set(MINIATURES) == set(ALL_SETS) - elsewhere
    assert sum(len(sets) for sets in SETS_BY_KIND.values()) == len(ALL_SETS)  # no two of one name


@pytest.mark.parametrize("name", NAMES)
def test_set_names_are_exactly_the_images_in_order(written, name):
    root, expected = written[name]
    assert list(find_set(name).names(root)) == [one.name for one in expected]


@of_all(NAMES)
def test_hidden_files_are_no_images(own):
    """macOS leaves a ._ file beside each that it copies, and other tools hidden folders."""
    root, expected = own
    for path in [path for path in root.rglob("*") if path.is_file()]:
        shutil.copy(path, path.with_name(f"._{path.name}"))
    for folder in [path for path in root.iterdir() if path.is_dir()]:
        shutil.copytree(folder, root / f".{folder.name}")
    assert list(find_set(root.name).names(root)) == [one.name for one in expected]


@pytest.mark.parametrize("name", NAMES)
def test_images_are_read_as_written(written, name):
    root, expected = written[name]
    declared = find_set(name)
    for one in expected:
        assert_is(declared.read_image(root, one.name), one)


@pytest.mark.parametrize("name", NAMES)
def test_read_file_returns_original_bytes(written, name):
    root, expected = written[name]
    declared = find_set(name)
    for one in expected:
        ending, content = declared.read_file(root, one.name)
        assert ending in ("jpg", "png", "webp")
        assert_is(decode_image(content, one.name), one)
        if one.files[0] == one.name:
            assert content == (root / one.name).read_bytes()


@pytest.mark.parametrize("name", WITH_DEPTH)
def test_depth_matches_written_depth(written, name):
    root, expected = written[name]
    declared = find_set(name)
    for one in expected:
        if one.refused:
            with pytest.raises(DataError, match=one.refused) as refusal:
                declared.read(root, one.name)
            assert one.files[1] in str(refusal.value)
            continue
        frame = declared.read(root, one.name)
        assert frame.name == f"{name}/{one.name}"
        assert frame.depth.dtype == np.float32
        np.testing.assert_allclose(frame.depth, one.depth, rtol=2e-6)  # NaN and infinities stand where they must
        assert 0 < frame.valid.mean() < 1
        assert_is(frame.image, one)


@pytest.mark.parametrize("name", WITH_DEPTH)
def test_cameras_match_written_cameras(written, name):
    root, expected = written[name]
    for one in expected:
        if not one.refused:
            camera = find_set(name).read(root, one.name).camera
            requested = None if one.camera is None else pytest.approx((WIDTH, HEIGHT, *one.camera))
            assert (None if camera is None else astuple(camera)) == requested


@pytest.mark.parametrize("name", WITH_CLASSES)
def test_labels_match_training_classes(written, name):
    root, expected = written[name]
    declared = find_set(name)
    for one in expected:
        labels = declared.read_labels(root, one.name)
        assert labels.dtype == np.uint8
        np.testing.assert_array_equal(labels, one.labels)
        assert set(np.unique(labels)) <= {*range(len(declared.classes)), 255}
    assert len(declared.classes) == len(declared.stored)


@pytest.mark.parametrize("name", NAMES)
def test_sets_can_be_pickled_unused_and_used(written, name):
    """Other processes read it, into which it is pickled."""
    root, expected = written[name]
    unused = pickle.loads(pickle.dumps(type(find_set(name))(**vars_of(name))))
    used = pickle.loads(pickle.dumps(find_set(name)))
    last = next(one for one in reversed(expected) if not one.refused)
    for declared in (unused, used):
        assert list(declared.names(root)) == [one.name for one in expected]
        assert_is(declared.read_image(root, last.name), last)
        if last.depth is not None:
            np.testing.assert_array_equal(
                declared.read(root, last.name).depth, find_set(name).read(root, last.name).depth
            )
        if last.labels is not None:
            np.testing.assert_array_equal(declared.read_labels(root, last.name), last.labels)


def vars_of(name: str) -> dict[str, object]:
    """The declaration's own fields, without its caches."""
    declared = find_set(name)
    return {field: getattr(declared, field) for field in declared.__dataclass_fields__}


def read_everything(name: str, root: Path, expected: Expected) -> None:
    """Read all parts of a frame."""
    declared = find_set(name)
    if expected.depth is not None or expected.labels is not None:
        declared.read(root, expected.name)
    else:
        declared.read_image(root, expected.name)


def first_whole(expected: list[Expected]) -> Expected:
    return next(one for one in expected if not one.refused)


@pytest.mark.parametrize("keep", [0.5, 0.0], ids=["truncated", "empty"])
@of_all(NAMES)
def test_damaged_file_is_named(own, keep):
    root, expected = own
    frame = first_whole(expected)
    for file in frame.files:
        path = root / file
        content = path.read_bytes()
        path.write_bytes(content[: int(keep * len(content))])
        with pytest.raises(DataError, match=re.escape(path.name)):
            read_everything(root.name, root, frame)
        path.write_bytes(content)
        forget()
    read_everything(root.name, root, frame)  # it was the damage


@of_all(NAMES)
def test_missing_file_is_named(own):
    root, expected = own
    frame = first_whole(expected)
    for place, file in enumerate(frame.files):
        path = root / file
        names = [re.escape(path.name)]
        if root.name == "ddad" and path.name.startswith("scene_"):
            names = [r"000150 contains 0 files scene_\*\.json"]
        elif place == 1 and frame.depth is not None:
            names.append(f"{re.escape(Path(frame.name).name)} has no depth at")
        path.rename(path.with_name("gone"))
        with pytest.raises(DataError, match="|".join(names)):
            read_everything(root.name, root, frame)
        path.with_name("gone").rename(path)
        forget()


def forget() -> None:
    """Close the files that readers keep open by path."""
    for kept in (_scene, _open, _video, tar_members):
        kept.cache_clear()


@of_all([name for name in (*WITH_DEPTH, *WITH_CLASSES) if name not in ("ddad", "nyuv2_labeled")])
def test_depth_or_labels_of_other_size_are_rejected(own):
    """Of ETH3D, whose files tell no size, as many bytes must be there. The two left out have but one size."""
    root, expected = own
    frame = first_whole(expected)
    image = root / frame.files[0]
    image.write_bytes(encoded(Path(frame.name).suffix, picture(0, HEIGHT, WIDTH + 8)))
    with pytest.raises(DataError, match=re.escape(frame.files[1])):
        find_set(root.name).read(root, frame.name)


@of_all([name for name in (*WITH_DEPTH, *WITH_CLASSES) if name != "nyuv2_labeled"])
def test_orientation_tag_does_not_rotate_labeled_image(own):
    root, expected = own
    frame = first_whole(expected)
    path = root / frame.files[0]
    path.write_bytes(turned(encoded(".jpg", frame.image)))
    assert read_image(path).shape == (WIDTH, HEIGHT, 3)  # as a photograph for which nothing else is known
    image = find_set(root.name).read_image(root, frame.name)
    assert_is(image, replace(frame, tolerance=JPEG))
    read_everything(root.name, root, frame)


def turned(jpeg: bytes) -> bytes:
    """The same JPEG with an Exif header that rotates it."""
    entry = struct.pack(">HHIHH", 0x0112, 3, 1, 6, 0)
    tiff = b"MM\0*" + struct.pack(">IH", 8, 1) + entry + bytes(4)
    return jpeg[:2] + b"\xff\xe1" + struct.pack(">H", 8 + len(tiff)) + b"Exif\0\0" + tiff + jpeg[2:]


LIBRARIES = {
    "h5py": ("megadepth", "hypersim", "nyuv2_labeled"),
    "OpenEXR": ("irs",),
    "lmdb": ("lsun",),
    "scipy.io": ("nyuv2_labeled",),
    "PIL.Image": ("moge_nyuv2",),
}


@pytest.mark.parametrize(("library", "own"), [(a, b) for a in LIBRARIES for b in LIBRARIES[a]], indirect=["own"])
def test_missing_library_is_named_with_extra(own, library, monkeypatch):
    root, expected = own
    for name in {library, library.partition(".")[0]}:
        monkeypatch.setitem(sys.modules, name, None)  # Python then says that there is none
    declared = find_set(root.name)

    def read() -> None:
        list(declared.names(root))
        read_everything(root.name, root, first_whole(expected))

    with pytest.raises(ImportError, match=rf"needs {library}; it comes with the extra data: pip install "):
        read()


@of_all(["nyuv2_labeled"])
def test_nyu_without_splits_reads_all_labeled_frames(own):
    root, _ = own
    (root / "splits.mat").unlink()
    declared = find_set("nyuv2_labeled")
    assert list(declared.names(root)) == ["0000", "0001", "0002", "0003"]
    np.testing.assert_array_equal(declared.read_image(root, "0001"), picture(1))
    with pytest.raises(DataError, match=r"nyu_depth_v2_labeled\.mat has no images of frame 0004"):
        declared.read_image(root, "0004")


@pytest.mark.parametrize("keep", [0, 100, 140, 0.5])
@of_all(["nyuv2_labeled"])
def test_damaged_nyu_splits_are_named(own, keep):
    path = own[0] / "splits.mat"
    content = path.read_bytes()
    path.write_bytes(content[: int(keep * len(content)) if keep < 1 else keep])
    with pytest.raises(DataError, match=r"cannot read testNdxs of .*splits\.mat"):
        list(find_set("nyuv2_labeled").names(own[0]))


@of_all(["ddad"])
def test_ddad_listing_without_split_is_named(own):
    root, _ = own
    for content in ('{"scene_splits": {"0": {"filenames": []}}}', "[]", '{"scene_spl'):
        (root / "ddad.json").write_text(content)
        with pytest.raises(DataError, match=r"ddad\.json lists no scenes of split 1"):
            list(find_set("ddad").names(root))
    (root / "ddad.json").unlink()
    with pytest.raises(DataError, match=r"cannot read .*ddad\.json"):
        list(find_set("ddad").names(root))


@of_all(["ddad"])
@pytest.mark.parametrize("pose", [{}, {"rotation": {}}, {"rotation": None}])
def test_ddad_sample_without_pose_is_named(own, pose):
    """A quaternion of nothing but zeros is no turn."""
    root, expected = own
    listing = root / expected[0].files[1]
    content = json.loads(listing.read_text())
    for datum in content["data"]:
        next(iter(datum["datum"].values()))["pose"] = pose
    listing.write_text(json.dumps(content))
    with pytest.raises(DataError, match=rf"{listing.name} has no pose of rgb/CAMERA_01/\d+\.png or of its scan"):
        find_set("ddad").read(root, expected[0].name)


@of_all(["ddad"])
def test_ddad_scan_with_flipped_byte_is_named(own):
    """In the header of the archive, in what is compressed, in its list of members."""
    root, expected = own
    declared, frame = find_set("ddad"), expected[0]
    (path,) = (root / file for file in frame.files if file.endswith(".npz"))
    content, refused = path.read_bytes(), 0
    for place in [*range(0, 60), *range(60, len(content), 9)]:
        path.write_bytes(content[:place] + bytes([content[place] ^ 0x17]) + content[place + 1 :])
        try:
            declared.read(root, frame.name)
        except DataError as error:
            assert path.name in str(error)  # noqa: PT017 - where a byte does not matter, there is no error
            refused += 1
    assert refused > 50


@of_all(["ddad"])
def test_ddad_cameras_can_be_selected(own):
    root, expected = own
    side = replace(find_set("ddad"), camera_name="CAMERA_05")
    assert list(side.names(root)) == [one.name.replace("CAMERA_01", "CAMERA_05") for one in expected]
    frame = side.read(root, next(side.names(root)))
    np.testing.assert_array_equal(frame.image, picture(51))
    assert frame.camera.fx == 11.0


@of_all(["lsun"])
def test_missing_lsun_image_is_named(own):
    with pytest.raises(DataError, match=r"data\.mdb has no image abc"):
        find_set("lsun").read_image(own[0], "bedroom_train_lmdb/data.mdb#abc")


@of_all(["lsun"])
def test_lsun_database_with_damaged_page_is_named(own):
    """Whole in length, which the first look at it goes by."""
    path = own[0] / "bedroom_train_lmdb" / "data.mdb"
    content = path.read_bytes()
    path.write_bytes(content[: 2 * 4096] + b"\xab" * (len(content) - 2 * 4096))
    with pytest.raises(DataError, match=r"cannot read .*bedroom_train_lmdb/data\.mdb: .*MDB_CORRUPTED"):
        list(find_set("lsun").names(own[0]))


@of_all(["hypersim"])
def test_images_without_depth_are_counted(own, caplog):
    """As where one of several archives is not unpacked yet, or none of those with depth."""
    root, expected = own
    declared = find_set("hypersim")
    lacking = root / expected[0].files[1]
    lacking.unlink()
    assert list(declared.names(root)) == [one.name for one in expected[1:]]
    (said,) = caplog.messages
    where = f"{declared.depths}: {expected[0].name}"
    assert said == f"{root}: left out 1 of {len(expected)} images without depth at {where}"
    for one in expected[1:]:
        (root / one.files[1]).unlink()
    assert list(declared.names(root)) == []
    message = f"{root} contains {len(expected)} images of hypersim, but none has depth at {declared.depths}"
    assert declared.empty_message(root) == message
    with pytest.raises(DataError, match=re.escape(message)):
        SetSource(declared, root)


def test_foreign_names_and_unknown_sets_are_rejected(tmp_path):
    put(tmp_path / "elsewhere.png", picture(0))
    with pytest.raises(DataError, match=r"elsewhere\.png is not an image of kitti; its images are"):
        find_set("kitti").read(tmp_path, "elsewhere.png")
    with pytest.raises(DataError, match=r"there is no set 'x'; the sets are .*blendedmvs, diml_indoor"):
        find_set("x")
    with pytest.raises(DataError, match="there is no set 'nyu': did you mean nyuv2"):
        find_set("nyu")
