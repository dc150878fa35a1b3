"""Every declared set, read from a miniature in its original formats; see `miniature_sets`."""

from __future__ import annotations

import json
import math
import pickle
import re
import shutil
import struct
import sys
import zlib
from dataclasses import astuple, replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from miniature_files import HEIGHT, JPEG, WIDTH, Expected, encoded, numbers, picture, put, put_exr, put_hdf5, samples
from miniature_sets import MINIATURES

from depth_anything_ros.data.camera_files import NumbersFile, SintelCamera
from depth_anything_ros.data.ddad import _scene
from depth_anything_ros.data.depth_files import (
    DisparityPicture,
    ExrDisparity,
    Hdf5Array,
    NumpyArray,
    Picture,
    PortableFloatMap,
    RawFloats,
    RotatedPicture,
    SintelDepth,
)
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


def test_truncated_jpeg_is_rejected(tmp_path):
    """OpenCV may give its upper half and fill up with gray."""
    smooth = cv2.resize(picture(1), (640, 480), interpolation=cv2.INTER_CUBIC)
    content = encoded(".jpg", smooth)
    for keep in (len(content) // 3, len(content) - 2):
        (tmp_path / "half.jpg").write_bytes(content[:keep])
        with pytest.raises(DataError, match=r"half\.jpg is not a picture, or is damaged: it is truncated"):
            read_image(tmp_path / "half.jpg")


def test_jpeg_with_trailing_video_is_read(tmp_path):
    """As telephones take them."""
    (tmp_path / "motion.jpg").write_bytes(encoded(".jpg", picture(1)) + bytes(200_000))
    assert read_image(tmp_path / "motion.jpg").shape == (HEIGHT, WIDTH, 3)


def test_image_larger_than_opencv_limit_is_named(tmp_path):
    header = b"IHDR" + struct.pack(">IIBBBBB", 100_000, 100_000, 8, 2, 0, 0, 0)
    chunks = (header, b"IDAT" + zlib.compress(bytes(100)), b"IEND")
    parts = [struct.pack(">I", len(one) - 4) + one + struct.pack(">I", zlib.crc32(one)) for one in chunks]
    (tmp_path / "vast.png").write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(parts))
    with pytest.raises(DataError, match=r"vast\.png is not a picture, or is damaged"):
        read_image(tmp_path / "vast.png")


LIBRARIES = {
    "h5py": ("megadepth", "hypersim", "nyuv2_labeled"),
    "OpenEXR": ("irs",),
    "lmdb": ("lsun",),
    "scipy.io": ("nyuv2_labeled",),
}


@pytest.mark.parametrize(("library", "own"), [(a, b) for a in LIBRARIES for b in LIBRARIES[a]], indirect=["own"])
def test_missing_library_is_named_with_extra(own, library, monkeypatch):
    root, expected = own
    monkeypatch.setitem(sys.modules, library, None)  # Python then says that there is none
    declared = find_set(root.name)

    def read() -> None:
        list(declared.names(root))
        read_everything(root.name, root, first_whole(expected))

    with pytest.raises(ImportError, match=rf"needs {library}; it comes with the extra data: pip install "):
        read()


def test_hypersim_ray_distance_becomes_depth(tmp_path):
    """A wall three meters ahead, at the images' real size: over each pixel the length of its ray to the wall."""
    focal, wall = 886.81, 3.0
    distance = np.empty((768, 1024))
    for row in range(768):
        y = (row - 383.5) / focal
        for column in range(1024):
            distance[row, column] = wall * math.sqrt(((column - 511.5) / focal) ** 2 + y**2 + 1)
    assert distance[0, 0] > 1.22 * wall  # the corners are a fifth further away
    path = tmp_path / "frame.0000.depth_meters.hdf5"
    put_hdf5(path, dataset=distance.astype(np.float16))
    depth = find_set("hypersim").read_depth(path, (768, 1024))
    assert depth.dtype == np.float32
    np.testing.assert_allclose(depth, wall, rtol=2**-11)  # half a step of float16


@pytest.mark.parametrize("millimeters", [1, 7, 8, 500, 8191, 8192, 65535])
def test_sun_rgbd_samples_are_bit_rotated_back(tmp_path, millimeters):
    bits = f"{millimeters:016b}"
    stored = int(bits[3:] + bits[:3], 2)
    cv2.imwrite(str(tmp_path / "depth.png"), np.full((2, 3), stored, np.uint16))
    depth = RotatedPicture(0.001)(tmp_path / "depth.png", (2, 3))
    np.testing.assert_allclose(depth, millimeters / 1000, rtol=1e-6)


@pytest.mark.parametrize(("scale", "kind"), [("-1.0", "<f4"), ("1.0", ">f4"), ("-1e0", "<f4"), ("1", ">f4")])
def test_pfm_scale_sets_byte_order(tmp_path, scale, kind):
    depth = numbers(0, 0.5, 9)
    path = tmp_path / "depth.pfm"
    path.write_bytes(f"Pf\n{WIDTH} {HEIGHT}\n{scale}\n".encode() + depth[::-1].astype(kind).tobytes())
    np.testing.assert_array_equal(PortableFloatMap()(path, (HEIGHT, WIDTH)), depth)


def test_exr_with_one_channel_or_three_is_read(tmp_path):
    disparity = numbers(0, 1, 90)
    put_exr(tmp_path / "y.exr", Y=disparity)
    put_exr(tmp_path / "rgb.exr", R=disparity + 1, G=disparity, B=disparity + 2)
    put_exr(tmp_path / "half.exr", G=disparity.astype(np.float16))
    read = ExrDisparity(48.0)
    np.testing.assert_allclose(read(tmp_path / "y.exr", (HEIGHT, WIDTH)), 48 / disparity, rtol=1e-6)
    np.testing.assert_allclose(read(tmp_path / "rgb.exr", (HEIGHT, WIDTH)), 48 / disparity, rtol=1e-6)
    np.testing.assert_allclose(read(tmp_path / "half.exr", (HEIGHT, WIDTH)), 48 / disparity, rtol=2**-10)


def test_sixteen_bit_disparity_keeps_its_steps(tmp_path):
    stored = samples(0, 1, 65535)
    cv2.imwrite(str(tmp_path / "gts.png"), stored)
    depth = DisparityPicture()(tmp_path / "gts.png", (HEIGHT, WIDTH))
    assert np.isposinf(depth[stored == 0]).all()
    np.testing.assert_allclose(depth[stored > 0], 65535 / stored[stored > 0].astype(float), rtol=1e-6)


def test_file_without_depth_is_rejected_with_name(tmp_path):
    """Files that are whole, of the right ending and of the wrong kind."""
    color, bytes_of_8 = tmp_path / "color.png", tmp_path / "gray.png"
    put(color, picture(0))
    put(bytes_of_8, picture(0)[..., 0])
    put(tmp_path / "three.npy", np.zeros((4, 4, 3)))
    put(tmp_path / "text.npy", np.array([["a", "b"]]))
    put(tmp_path / "letter.pfm", b"PF\n4 4\n-1\n" + bytes(192))
    put(tmp_path / "unfinished.pfm", b"Pf\n4 4\n-\n" + bytes(64))
    put(tmp_path / "long.JPG", bytes(4 * 17))
    put(tmp_path / "short.dpt", struct.pack("<fii", 202021.25, 4, 4))
    put(tmp_path / "negative.dpt", struct.pack("<fii", 202021.25, -4, 4))
    put(tmp_path / "other.dpt", struct.pack("<fii", 1.0, 4, 4) + bytes(64))
    put_hdf5(tmp_path / "flat.h5", depth=np.zeros(4))
    put_hdf5(tmp_path / "other.h5", albedo=np.zeros((4, 4)))
    put_hdf5(tmp_path / "text.h5", depth=np.bytes_("none"))
    put_hdf5(tmp_path / "group.h5", **{"depth/map": np.zeros((4, 4))})
    with (tmp_path / "several.npy").open("wb") as file:
        np.savez(file, depth=np.zeros((4, 4)))
    put(tmp_path / "archive.npy", b"PK\3\4 and no more")
    for read, name, message in (
        (Picture(0.001), "color.png", "depth is uint8 (32, 64, 3), must be a 16-bit picture"),
        (RotatedPicture(0.001), "gray.png", "depth is uint8 (32, 64), must be a 16-bit picture"),
        (DisparityPicture(), "color.png", "must be a picture of one channel"),
        (NumpyArray(), "three.npy", "contains float64 (4, 4, 3), must be numbers (H, W)"),
        (NumpyArray(), "text.npy", "contains <U1 (1, 2), must be numbers (H, W)"),
        (PortableFloatMap(), "letter.pfm", "is not a PFM file of one channel"),
        (PortableFloatMap(), "unfinished.pfm", "is not a PFM file of one channel"),
        (RawFloats(), "long.JPG", "has 68 bytes of depth, must have 64"),
        (SintelDepth(), "short.dpt", "has 0 bytes of depth, must have 64"),
        (SintelDepth(), "negative.dpt", "is not a .dpt file: it begins with 202021.25, -4, 4"),
        (SintelDepth(), "other.dpt", "is not a .dpt file: it begins with 1.0, 4, 4"),
        (Hdf5Array("depth"), "flat.h5", "'depth' is (4,), must be (H, W)"),
        (Hdf5Array("depth"), "other.h5", "cannot read 'depth' of"),
        (Hdf5Array("depth"), "text.h5", "cannot read 'depth' of"),
        (Hdf5Array("depth"), "group.h5", "cannot read 'depth' of"),
        (NumpyArray(), "several.npy", "is an archive of arrays, must be one array"),
        (NumpyArray(), "archive.npy", "cannot read"),
    ):
        with pytest.raises(DataError, match=re.escape(message)) as refusal:
            read(tmp_path / name, (4, 4))
        assert str(tmp_path / name) in str(refusal.value)


def test_pickled_object_in_npy_is_not_executed(tmp_path):
    np.save(tmp_path / "evil.npy", np.array([{"a": 1}], dtype=object), allow_pickle=True)
    with pytest.raises(DataError, match=r"cannot read .*evil\.npy"):
        NumpyArray()(tmp_path / "evil.npy", (4, 4))


@pytest.mark.parametrize("text", ["", "1 2 3", "a b c d", "nan nan nan nan", "-500 500 320 240", "500 0 320 240"])
def test_invalid_intrinsics_file_is_rejected_with_name(tmp_path, text):
    put(tmp_path / "intrinsics.txt", text)
    with pytest.raises(DataError, match=r"intrinsics\.txt has no valid camera"):
        NumbersFile("intrinsics.txt", at=(0, 1, 2, 3))(tmp_path, {}, (4, 4))


def test_missing_calibration_line_raises(tmp_path):
    put(tmp_path / "calib.txt", "P_rect_00: 1 0 2 0 0 3 4 0 0 0 1 0\n")
    with pytest.raises(DataError, match=r"calib\.txt has no valid camera"):
        NumbersFile("calib.txt", at=(0, 5, 2, 6), after="P_rect_02:")(tmp_path, {}, (4, 4))


def test_sintel_camera_without_focal_length_raises(tmp_path):
    put(tmp_path / "frame.cam", struct.pack("<f", 202021.25) + bytes(168))
    with pytest.raises(DataError, match=r"frame\.cam has no valid camera"):
        SintelCamera("frame.cam")(tmp_path, {}, (4, 4))
    put(tmp_path / "frame.cam", struct.pack("<f", 1.0) + bytes(168))
    with pytest.raises(DataError, match=r"frame\.cam is not a \.cam file of Sintel"):
        SintelCamera("frame.cam")(tmp_path, {}, (4, 4))


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


def test_other_matlab_file_has_no_nyu_frames(tmp_path):
    put_hdf5(tmp_path / "nyu_depth_v2_labeled.mat", other=np.zeros(3))
    assert list(find_set("nyuv2_labeled").names(tmp_path)) == []


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


def test_npy_with_damaged_header_is_named(tmp_path):
    header = b"{'descr': ('<f4', \n"
    put(tmp_path / "depth.npy", b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header)
    with pytest.raises(DataError, match=r"cannot read .*depth\.npy"):
        NumpyArray()(tmp_path / "depth.npy", (2, 2))


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
