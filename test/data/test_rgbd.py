"""The user's own images with depth: layouts, file formats, units, intrinsics and errors."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tifffile
from miniature_files import encoded, pfm, picture, put, put_exr

from depth_anything_ros.data.evaluation_sets import EVALUATION_SETS
from depth_anything_ros.data.frame import DataError
from depth_anything_ros.data.rgbd import RgbdSet
from depth_anything_ros.data.rgbd_declaration import Declaration
from depth_anything_ros.geometry.camera import Camera

HEIGHT, WIDTH = 24, 32


def millimeters(seed: int = 0, height: int = HEIGHT, width: int = WIDTH) -> np.ndarray:
    stored = np.random.default_rng(seed).integers(500, 6000, (height, width)).astype(np.uint16)
    stored[0] = 0
    return stored


def put_frame(root: Path, image: str, depth: str, seed: int = 0) -> None:
    put(root / image, picture(seed, HEIGHT, WIDTH))
    put(root / depth, encoded(".png", millimeters(seed)))


def rgbd(**said) -> RgbdSet:
    return RgbdSet(declared=Declaration(**said))


def depth_of(root: Path, declared: RgbdSet | None = None) -> dict[str, Path]:
    declared = declared or rgbd()
    return {name: declared.sources(root, name)[1].relative_to(root) for name in declared.names(root)}


def frames(count: int, image: str, depth: str, start: int = 0) -> dict[str, str]:
    return {image.format(number): depth.format(number) for number in range(start, start + count)}


LAYOUTS = {
    "rgb and depth": frames(3, "rgb/{:04d}.png", "depth/{:04d}.png"),
    "ScanNet": frames(12, "color/{}.jpg", "depth/{}.png"),
    "images of mixed kinds": {"images/a.JPG": "depth/a.png", "images/b.png": "depth/b.png"},
    "left": frames(2, "left/{:06d}.png", "depth/{:06d}.png"),
    "KITTI": frames(2, "image_2/{:06d}.png", "depth_2/{:06d}.png"),
    "both in one folder": frames(2, "frame-{:06d}.color.png", "frame-{:06d}.depth.png"),
    "depth beside plain names": frames(2, "IMG_{:04d}.jpg", "IMG_{:04d}_depth.png"),
    "depth in a folder of the images": frames(2, "photos/{:04d}.jpg", "photos/depth/{:04d}.png"),
    "NYUv2": frames(3, "rgb/rgb_{:05d}.jpg", "depth/sync_depth_{:05d}.png"),
    "Blender": frames(3, "Image{:04d}.png", "Depth{:04d}.png", start=1),
    "Replica": frames(3, "results/frame{:06d}.jpg", "results/depth{:06d}.png"),
    "numbers of other lengths": {"rgb/7.png": "depth/0007.png", "rgb/12.png": "depth/0012.png"},
    "scenes": {
        **frames(2, "kitchen/rgb/{}.png", "kitchen/depth/{}.png"),
        **frames(2, "hall/rgb/{}.png", "hall/depth/{}.png"),
    },
    "scenes below": {
        **frames(2, "rgb/left_room/{}.png", "depth/left_room/{}.png"),
        **frames(2, "rgb/right_room/{}.png", "depth/right_room/{}.png"),
    },
    "scenes in names of folders": {
        **frames(2, "kitchen_rgb/{}.png", "kitchen_depth/{}.png"),
        **frames(2, "hall_rgb/{}.png", "hall_depth/{}.png"),
    },
    "RealSense": frames(2, "color_{:03d}.png", "aligned_depth_to_color_{:03d}.png"),
    "British words": {"colour/1.png": "depth/1.png", "colour/2.png": "depth/2.png"},
    "British words in names": {"1_colour.png": "1_depth.png", "2_colour.png": "2_depth.png"},
    "times": {
        "rgb/1305031102.175304.png": "depth/1305031102.160407.png",
        "rgb/1305031102.211214.png": "depth/1305031102.226738.png",
        "rgb/1305031102.275326.png": "depth/1305031102.262886.png",
    },
    "times in ns": {
        "color/1403636579763555584.png": "depth/1403636579764000000.png",
        "color/1403636579813555456.png": "depth/1403636579810000000.png",
    },
    "a dash, a word and capitals": {"Color/Scene-A 1.png": "Depth/Scene-A 1.png"},
    "umlauts": {"rgb/Küche.png": "depth/Küche.png"},
    "one frame": {"rgb.png": "depth.png"},
    "a frame a folder": {"a/rgb.png": "a/depth.png", "b/rgb.png": "b/depth.png"},
    "KITTI's selection": {
        "image/2011_09_26_drive_0002_sync_image_0000000005_image_02.png": "groundtruth_depth/"
        "2011_09_26_drive_0002_sync_groundtruth_depth_0000000005_image_02.png"
    },
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_common_rgbd_layouts_are_detected(tmp_path, layout, caplog):
    for seed, (image, depth) in enumerate(LAYOUTS[layout].items()):
        put_frame(tmp_path, image, depth, seed)
    found = depth_of(tmp_path)
    assert found == {image: Path(depth) for image, depth in LAYOUTS[layout].items()}
    assert rgbd().unpaired(tmp_path) == []
    (said,) = caplog.messages
    assert f"{tmp_path}: images such as {next(iter(found))}, depth such as {next(iter(found.values()))}" in said
    assert "depth is uint16, 0.001 m per unit" in said
    for seed, image in enumerate(LAYOUTS[layout]):
        frame = rgbd().read(tmp_path, image)
        expected = np.where(millimeters(seed) > 0, millimeters(seed) / 1000, np.nan)
        np.testing.assert_allclose(frame.depth, expected, rtol=1e-6)
        assert frame.name == f"rgbd/{image}"


def test_other_images_are_skipped_and_reported(tmp_path, caplog):
    for image, depth in frames(3, "rgb/{}.png", "depth/{}.png").items():
        put_frame(tmp_path, image, depth)
    for other in ("right/0.png", "depth_vis/0.png", "masks/0.png", "depth_raw/0.png", "overview.png", ".hidden/0.png"):
        put(tmp_path / other, encoded(".png", millimeters()))
    put(tmp_path / "depth" / "0_mask.png", encoded(".png", millimeters()))
    assert len(depth_of(tmp_path)) == 3
    assert "(ignored: overview.png and 5 more)" in caplog.text
    assert rgbd().unpaired(tmp_path) == []


def test_ambiguous_layout_raises_with_options(tmp_path):
    for number in range(2):
        put_frame(tmp_path, f"rgb/{number}.png", f"depth_filled/{number}.png")
        put_frame(tmp_path, f"rgb/{number}.png", f"depth_raw/{number}.png")
    with pytest.raises(DataError, match=r"several kinds .* rgb/0\.png with depth_raw/0\.png\): choose with --im"):
        rgbd().names(tmp_path)
    chosen = rgbd(images="rgb", depths="depth_raw")
    assert depth_of(tmp_path, chosen) == {f"rgb/{number}.png": Path(f"depth_raw/{number}.png") for number in range(2)}


def test_duplicate_depth_formats_raise_with_options(tmp_path):
    for number in range(2):
        put_frame(tmp_path, f"rgb/{number}.png", f"depth/{number}.png")
        put_array(tmp_path / "depth" / f"{number}.npy", METERS)
    with pytest.raises(DataError, match=r"rgb/0\.png with depth/0\.npy; rgb/0\.png with depth/0\.png"):
        rgbd().names(tmp_path)
    found = depth_of(tmp_path, rgbd(images="rgb", depths="depth/*.npy"))
    assert found == {f"rgb/{number}.png": Path(f"depth/{number}.npy") for number in range(2)}


@pytest.mark.parametrize(
    ("files", "message"),
    [
        (
            ["rgb/0.png", "rgb/1.png"],
            r"contains 2 images such as rgb/0\.png, but no depth\. Depth is files that end w",
        ),
        (["rgb/0.png", "depth/0.jpg"], r"contains 1 images such as rgb/0\.png, but no depth\. .* \(never JPEG\)"),
        (["depth/0.png"], "contains depth, but no images"),
        (["notes.txt"], "contains no images and no depth"),
        (["rgb/a.png", "depth/b.png"], r"none of 1 images such as rgb/a\.png matches one of 1 depth files"),
    ],
)
def test_folder_without_rgbd_layout_raises_with_reason(tmp_path, files, message):
    for file in files:
        put(tmp_path / file, b"" if file == "notes.txt" else encoded(file[-4:], millimeters().astype(np.uint8)))
    with pytest.raises(DataError, match=message):
        rgbd().names(tmp_path)


def test_images_without_partner_are_reported_and_rest_is_read(tmp_path, caplog):
    for image, depth in frames(4, "rgb/{}.png", "depth/{}.png").items():
        put_frame(tmp_path, image, depth)
    (tmp_path / "depth" / "1.png").unlink()
    (tmp_path / "rgb" / "3.png").unlink()
    assert sorted(depth_of(tmp_path)) == ["rgb/0.png", "rgb/2.png"]
    assert "left out 2 files: rgb/1.png has no depth, depth/3.png has no image" in caplog.text


@pytest.mark.parametrize(
    ("images", "depths"),
    [
        ("cam/a", "cam/b"),
        ("cam/a/*.png", "cam/b/*.png"),
        ("{place}/a/{frame}.png", "{place}/b/{frame}.png"),
        ("./cam/a/", "cam/b"),
    ],
)
def test_declared_patterns_find_pairs(tmp_path, images, depths, caplog):
    """Folders whose names tell nothing."""
    for image, depth in frames(2, "cam/a/{}.png", "cam/b/{}.png").items():
        put_frame(tmp_path, image, depth)
    said = {"images": images, "depths": depths, "depth_scale": 0.001, "camera": (30.0, 30.0, 15.5, 11.5)}
    expected = {f"cam/a/{number}.png": Path(f"cam/b/{number}.png") for number in range(2)}
    assert depth_of(tmp_path, rgbd(**said)) == expected
    assert caplog.messages == []  # nothing was found out by itself
    put(
        tmp_path / "rgbd.yaml",
        f"images: '{images}'\ndepths: '{depths}'\ndepth_scale: 1000\ncamera: [30, 30, 15.5, 11.5]",
    )
    assert depth_of(tmp_path) == expected
    assert caplog.messages == []
    assert rgbd().read(tmp_path, "cam/a/0.png").camera == Camera(WIDTH, HEIGHT, 30, 30, 15.5, 11.5)


def test_options_override_declaration_of_any_path(tmp_path):
    put_frame(tmp_path / "data", "rgb/0.png", "depth/0.png")
    declaration = tmp_path / "kitchen.yaml"
    put(declaration, "folder: data\ndepth_scale: 1/5000\n")
    (name,) = rgbd().names(declaration)
    assert np.nanmax(rgbd().read(declaration, name).depth) == pytest.approx(millimeters().max() / 5000)
    assert np.nanmax(rgbd(depth_scale=0.01).read(declaration, name).depth) == pytest.approx(millimeters().max() / 100)


@pytest.mark.parametrize(
    ("images", "depths"),
    [
        ("*/a/*.png", "*/b/*.png"),
        ("**/a/*.png", "**/b/*.png"),
        ("{scene}/a/{frame}.png", "{scene}/b/{frame}.png"),
        ("day/*/a/*", "day/*/b/*"),
        ("a", "../depth"),
    ],
)
def test_declared_formats_read_depth(tmp_path, images, depths):
    """Each has a frame of the same name."""
    for number, scene in enumerate(("hall", "kitchen")):
        scene = f"day/{scene}" if images.startswith("day") else scene
        places = (f"a/{scene}", f"../depth/{scene}") if images == "a" else (f"{scene}/a", f"{scene}/b")
        put_frame(tmp_path / "root", f"{places[0]}/0.png", f"{places[1]}/0.png", number)
    declared = rgbd(images=images, depths=depths)
    root = tmp_path / "root"
    for number, name in enumerate(declared.names(root)):
        expected = np.where(millimeters(number) > 0, millimeters(number) / 1000, np.nan)
        np.testing.assert_allclose(declared.read(root, name).depth, expected, rtol=1e-6)
    assert number == 1
    assert declared.unpaired(root) == []


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("depth_scael: 0.001", "rgbd.yaml: there is no setting 'depth_scael': did you mean depth_scale"),
        ("depth_scale: 0", "rgbd.yaml: depth_scale is 0, must be a positive number"),
        ("depth_scale: [1]", r"depth_scale is \[1\], must be a number"),
        ("camera: [1, 2]", r"camera is \[1, 2\], must be fx, fy, cx and cy"),
        ("camera: gone.json", r"cannot read .*gone\.json"),
        ("match: luck", "match is 'luck', must be name, number, time"),
        ("images: rgb", "images needs depths, and the reverse"),
        ("images: rgb\ndepths: nowhere", "there is no folder .*nowhere"),
        ("images: 'rgb/*.bmp'\ndepths: depth", r"contains no picture or array at rgb/\*\.bmp"),
        ("pairs: gone.txt", r"cannot read .*gone\.txt"),
        ("folder: nowhere", "there is no folder .*nowhere"),
        ("- 1", "must contain names and values"),
        ("a: [", r"cannot read .*rgbd\.yaml"),
        ("resize_depth: 1", "resize_depth is 1, must be true or false"),
    ],
)
def test_invalid_declaration_raises(tmp_path, text, message):
    put_frame(tmp_path, "rgb/0.png", "depth/0.png")
    put(tmp_path / "rgbd.yaml", text)
    with pytest.raises(DataError, match=message):
        rgbd().names(tmp_path)


def test_fields_of_declared_pattern_select_subset(tmp_path):
    for split in ("train", "test"):
        put_frame(tmp_path, f"{split}/rgb/0.png", f"{split}/depth/0.png")
    put(tmp_path / "rgbd.yaml", "images: '{split}/rgb/{frame}.png'\ndepths: '{split}/depth/{frame}.png'")
    assert list(rgbd().select({"split": "train"}).names(tmp_path)) == ["train/rgb/0.png"]
    with pytest.raises(DataError, match="have no field camera"):
        rgbd().select({"camera": "1"}).names(tmp_path)
    (tmp_path / "rgbd.yaml").unlink()
    with pytest.raises(DataError, match="fields need images and depths as patterns"):
        rgbd().select({"split": "train"}).names(tmp_path)


ASSOCIATIONS = (
    "# image depth\n1.1 rgb/a.png 1.1 depth/x.png\n1.2 depth/y.png 1.2 rgb/b.png\n\n1.3 rgb/c.png 1.3 depth/z.png\n"
)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_associations_file_pairs_images_in_tum_units(tmp_path, encoding, caplog):
    for image, depth in (("rgb/a.png", "depth/x.png"), ("rgb/b.png", "depth/y.png")):
        put_frame(tmp_path, image, depth)
    put_frame(tmp_path, "rgb/unlisted.png", "depth/unlisted.png")
    put(tmp_path / "associations.txt", ASSOCIATIONS.encode(encoding))
    assert depth_of(tmp_path) == {"rgb/a.png": Path("depth/x.png"), "rgb/b.png": Path("depth/y.png")}
    assert "depth is uint16, 0.0002 m per unit" in caplog.text
    reason = "rgb/c.png and depth/z.png, listed in associations.txt, is missing"
    assert rgbd().unpaired(tmp_path) == [reason]
    assert np.nanmax(rgbd().read(tmp_path, "rgb/a.png").depth) == pytest.approx(millimeters().max() / 5000)


def test_pair_list_can_be_named(tmp_path):
    """Of BTS: a leading slash, and a focal length behind."""
    put_frame(tmp_path, "kitchen/rgb_1.jpg", "kitchen/sync_depth_9.png")
    put(
        tmp_path / "train.txt",
        "/kitchen/rgb_1.jpg /kitchen/sync_depth_9.png 518.8579\n/kitchen/rgb_2.jpg None 518.8579\n",
    )
    declared = rgbd(pairs="train.txt")
    assert depth_of(tmp_path, declared) == {"kitchen/rgb_1.jpg": Path("kitchen/sync_depth_9.png")}
    (left_out,) = declared.unpaired(tmp_path)
    assert "rgb_2.jpg" in left_out
    assert "lists 1 files" in left_out
    put(tmp_path / "train.csv", "image,depth\nkitchen/rgb_1.jpg,kitchen/sync_depth_9.png\n")
    assert rgbd(pairs="train.csv").unpaired(tmp_path) == []
    put(tmp_path / "train.txt", "nothing here\n")
    with pytest.raises(DataError, match=r"train\.txt lists no image with its depth"):
        declared.names(tmp_path)


def test_tum_lists_are_paired_by_time(tmp_path):
    for name in "abc":
        put_frame(tmp_path, f"rgb/{name}.png", f"depth/{name}.png")
    put(tmp_path / "rgb.txt", "# t f\n10.000 rgb/a.png\n10.033 rgb/b.png\n10.066 rgb/c.png\n")
    put(tmp_path / "depth.txt", "10.005 depth/b.png\n10.040 depth/c.png\n10.500 depth/a.png\n10.6 depth/gone.png\n")
    assert depth_of(tmp_path) == {"rgb/a.png": Path("depth/b.png"), "rgb/b.png": Path("depth/c.png")}
    assert rgbd().unpaired(tmp_path) == [
        "'10.6 depth/gone.png' in depth.txt is not a stamp with an existing file",
        "rgb/c.png has no depth at its time",
        "depth/a.png has no image at its time",
    ]


def invalid_here_and_there(depth: np.ndarray, *values: float) -> np.ndarray:
    for column, value in enumerate(values):
        depth[0, column] = value
    return depth


METERS = np.random.default_rng(5).uniform(0.5, 6, (HEIGHT, WIDTH)).astype(np.float32)
NO_FLOATS = (0, np.nan, np.inf, -np.inf, -1, 65535, 3e38)
NO_UNITS = (0, 65535)


def with_invalid(depth: np.ndarray, invalid: tuple[float, ...]) -> np.ndarray:
    depth = depth.copy()
    depth[0, : len(invalid)] = invalid
    return depth


FLOATS = with_invalid(METERS, NO_FLOATS)
UNITS = with_invalid(np.rint(METERS * 1000).astype(np.uint16), NO_UNITS)
BYTES = with_invalid(np.rint(METERS / 0.03).astype(np.uint8), (0,))


def put_array(path: Path, *array: np.ndarray, **arrays: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".npy":
        np.save(path, *array)
    elif path.suffix == ".npz":
        np.savez_compressed(path, *array, **arrays)
    else:
        tifffile.imwrite(path, *array)


# What writes the depth of an image, what has to be said of it, and how many of its values mean unknown.
FORMATS = {
    "png": (lambda root: put(root / "0.png", encoded(".png", UNITS)), {}, 2),
    "png of 8 bits": (lambda root: put(root / "0.png", encoded(".png", BYTES)), {"depth_scale": 0.03}, 1),
    "gray png of 3 channels": (lambda root: put(root / "0.png", encoded(".png", np.dstack([UNITS] * 3))), {}, 2),
    "tiff of floats": (lambda root: put_array(root / "0.tiff", FLOATS), {}, 7),
    "tiff of 16 bits": (lambda root: put_array(root / "0.tif", UNITS), {}, 2),
    "exr": (lambda root: put_exr(root / "0.exr", Y=FLOATS), {}, 7),
    "exr of half floats": (
        lambda root: put_exr(root / "0.exr", Z=with_invalid(METERS, (0, np.inf)).astype("f2")),
        {},
        2,
    ),
    "exr of a renderer": (lambda root: put_exr(root / "0.exr", **{"View.Depth.Z": FLOATS, "R": METERS}), {}, 7),
    "gray exr": (lambda root: put_exr(root / "0.exr", R=FLOATS, G=FLOATS, B=FLOATS), {}, 7),
    "npy": (lambda root: put_array(root / "0.npy", FLOATS), {}, 7),
    "npy of doubles, (1, H, W)": (lambda root: put_array(root / "0.npy", FLOATS.astype(np.float64)[None]), {}, 7),
    "npy of half floats": (
        lambda root: put_array(root / "0.npy", with_invalid(METERS, (0, np.nan)).astype("f2")),
        {},
        2,
    ),
    "npy of 16 bits, (H, W, 1)": (lambda root: put_array(root / "0.npy", UNITS[..., None]), {}, 2),
    "npy of 64 bits": (lambda root: put_array(root / "0.npy", UNITS.astype(np.int64)), {}, 2),
    "npz": (lambda root: put_array(root / "0.npz", FLOATS), {}, 7),
    "npz with depth": (lambda root: put_array(root / "0.npz", depth=FLOATS, mask=FLOATS > 1), {}, 7),
    "npz by name": (lambda root: put_array(root / "0.npz", near=FLOATS / 2, far=FLOATS), {"depth_key": "far"}, 7),
    "pfm": (lambda root: put(root / "0.pfm", pfm(FLOATS)), {}, 7),
    "millimeters in floats": (
        lambda root: put_array(root / "0.npy", with_invalid(1000 * METERS, NO_FLOATS)),
        {"depth_scale": 0.001},
        7,
    ),
    "another value for nothing": (
        lambda root: put_array(root / "0.npy", with_invalid(METERS, (0, 10))),
        {"invalid": (10.0,)},
        2,
    ),
}


@pytest.mark.parametrize("kind", FORMATS)
def test_every_depth_format_gives_equal_meters(tmp_path, kind, caplog):
    write, said, unknown = FORMATS[kind]
    put(tmp_path / "rgb" / "0.png", picture(0, HEIGHT, WIDTH))
    write(tmp_path / "depth")
    declared = rgbd(**said)
    (name,) = declared.names(tmp_path)
    assert "implausible" not in caplog.text
    depth = declared.read(tmp_path, name).depth
    assert depth.dtype == np.float32
    assert np.isnan(depth[0, :unknown]).all()
    assert np.isnan(depth).sum() == unknown
    tolerance = {"png of 8 bits": 0.016, "exr of half floats": 0.002, "npy of half floats": 0.002}.get(kind, 6e-4)
    np.testing.assert_allclose(depth[1:], METERS[1:], atol=tolerance)


@pytest.mark.parametrize(
    ("name", "write", "message"),
    [
        ("0.png", lambda path: put(path, picture(0, HEIGHT, WIDTH)), "has 3 channels: it is a colored picture"),
        ("0.png", lambda path: put(path, encoded(".png", UNITS)[:300]), "not a picture, or is damaged"),
        ("0.npy", lambda path: put(path, b"no array"), r"cannot read .*0\.npy"),
        (
            "0.npy",
            lambda path: put_array(path, np.zeros((2, HEIGHT, WIDTH))),
            r"contains float64 \(2, 24, 32\), must be",
        ),
        (
            "0.npz",
            lambda path: put_array(path, near=FLOATS, far=FLOATS),
            "contains near, far; choose the depth with --depth-key",
        ),
        ("0.npz", lambda path: put(path, b"PK no archive"), r"cannot read .*0\.npz"),
        (
            "0.exr",
            lambda path: put_exr(path, R=FLOATS, G=METERS),
            "has the channels .*; choose the depth with --depth-key",
        ),
        ("0.exr", lambda path: put(path, b"no picture"), r"cannot read .*0\.exr"),
        ("0.pfm", lambda path: put(path, b"P6 2 2"), "is not a PFM file"),
        (
            "0.png",
            lambda path: put(path, encoded(".png", UNITS[:, :-8])),
            "is 24x24, its image is 32x24, another aspect ratio",
        ),
        (
            "0.png",
            lambda path: put(path, encoded(".png", UNITS[::2, ::2])),
            "is 16x12, its image is 32x24; --resize-depth",
        ),
    ],
)
def test_invalid_depth_file_raises(tmp_path, name, write, message):
    put(tmp_path / "rgb" / "0.png", picture(0, HEIGHT, WIDTH))
    write(tmp_path / "depth" / name)
    (image,) = rgbd().names(tmp_path)
    with pytest.raises(DataError, match=message):
        rgbd().read(tmp_path, image)


def test_eight_bit_depth_requires_unit(tmp_path):
    put(tmp_path / "rgb" / "0.png", picture(0, HEIGHT, WIDTH))
    put(tmp_path / "depth" / "0.png", encoded(".png", BYTES))
    with pytest.raises(DataError, match=r"depth/0\.png: 8-bit depth has no usual unit; give --depth-scale"):
        rgbd().names(tmp_path)


def test_smaller_depth_is_resized_to_nearest_on_request(tmp_path):
    stored = millimeters(0, 2, 3)
    stored[:] = [[1000, 2000, 3000], [4000, 0, 6000]]
    put(tmp_path / "rgb" / "0.png", picture(0, 4, 6))
    put(tmp_path / "depth" / "0.png", encoded(".png", stored))
    depth = rgbd(resize_depth=True).read(tmp_path, "rgb/0.png").depth
    np.testing.assert_allclose(depth, np.kron(np.where(stored > 0, stored / 1000, np.nan), np.ones((2, 2))))


def test_images_of_many_sizes_are_one_set(tmp_path):
    sizes = [(24, 32), (32, 24), (48, 64)]
    for number, (height, width) in enumerate(sizes):
        put(tmp_path / "rgb" / f"{number}.png", picture(number, height, width))
        put(tmp_path / "depth" / f"{number}.png", encoded(".png", millimeters(number, height, width)))
    put(tmp_path / "camera.json", json.dumps({"width": 32, "height": 24, "fx": 30, "fy": 31, "cx": 15.5, "cy": 11.5}))
    read = [rgbd().read(tmp_path, name) for name in rgbd().names(tmp_path)]
    assert [frame.depth.shape for frame in read] == sizes
    given = rgbd(camera=(30.0, 31.0, 15.5, 11.5, 32.0, 24.0))
    assert [given.read(tmp_path, f"rgb/{number}.png").camera for number in range(3)] == [frame.camera for frame in read]
    assert [frame.camera for frame in read] == [
        *(Camera(32, 24, 30, 31, 15.5, 11.5), None, Camera(64, 48, 60, 62, 31.5, 23.5))
    ]


SCALES = {
    "depth_scale.txt": "5000\n",
    "scale.txt": "0.0002",
    "cam_params.json": json.dumps(
        {"camera": {"w": 32, "h": 24, "fx": 9, "fy": 9, "cx": 15, "cy": 11, "scale": 5000.0}}
    ),
    "camera.yaml": "%YAML:1.0\n---\nCamera.fx: 30.0\nCamera.fy: 30.0\nCamera.cx: 15.5\nCamera.cy: 11.5\n"
    "DepthMapFactor: 5000.0\n",
    "transforms.json": json.dumps(
        {"fl_x": 9, "fl_y": 9, "cx": 15, "cy": 11, "depth_unit_scale_factor": 0.0002, "scale": 4}
    ),
}


@pytest.mark.parametrize("file", SCALES)
def test_depth_unit_is_read_from_files_and_options_override(tmp_path, file):
    put_frame(tmp_path, "rgb/0.png", "depth/0.png")
    put(tmp_path / file, SCALES[file])
    put(tmp_path / "rgb" / "1.png", picture(0, HEIGHT, WIDTH))
    put_array(tmp_path / "depth" / "1.npy", METERS)
    expected = millimeters().max()
    declared = rgbd(images="rgb", depths="depth")
    list(declared.names(tmp_path))
    assert np.nanmax(declared.read(tmp_path, "rgb/0.png").depth) == pytest.approx(expected / 5000)
    assert np.nanmax(declared.read(tmp_path, "rgb/1.png").depth) == pytest.approx(METERS.max())  # floats are meters
    assert np.nanmax(rgbd(depth_scale=0.01).read(tmp_path, "rgb/0.png").depth) == pytest.approx(expected / 100)


@pytest.mark.parametrize(
    ("depth", "said", "message"),
    [
        (
            1000 * METERS,
            {},
            r"median depth is 3\.\d+e\+03 m, which is implausible: with --depth-scale 0\.001 .* it is 3\.\d+ m",
        ),
        (
            METERS,
            {"depth_scale": 0.001},
            r"median depth is 0\.003\d+ m, which is implausible: with --depth-scale 1 .* it is 3\.",
        ),
        (100 * METERS, {}, r"with --depth-scale 0\.01 "),
        (5000 * METERS, {"depth_scale": 1.0}, r"with --depth-scale 1/5000 "),
    ],
)
def test_improbable_depth_unit_warns(tmp_path, depth, said, message, caplog):
    put(tmp_path / "rgb" / "0.png", picture(0, HEIGHT, WIDTH))
    put_array(tmp_path / "depth" / "0.npy", depth)
    list(rgbd(**said).names(tmp_path))
    assert caplog.messages[-1].startswith(f"{tmp_path}: the ")
    assert np.any([message_matches(text, message) for text in caplog.messages]), caplog.messages


def message_matches(text: str, message: str) -> bool:
    return re.search(message, text) is not None


K = Camera(WIDTH, HEIGHT, 30.0, 31.0, 15.0, 12.0)
NUMBERS = {"fx": 30.0, "fy": 31.0, "cx": 15.0, "cy": 12.0}
MATRIX = [[30.0, 0, 15.0], [0, 31.0, 12.0], [0, 0, 1]]
CAMERA_INFO = """image_width: {width}
image_height: {height}
camera_name: front
camera_matrix: {{rows: 3, cols: 3, data: [{fx}, 0, {cx}, 0, {fy}, {cy}, 0, 0, 1]}}
distortion_model: plumb_bob
distortion_coefficients: {{rows: 1, cols: 5, data: [0, 0, 0, 0, 0]}}
"""
INTRINSICS = {
    "intrinsics.txt": "30 0 15\n0 31 12\n0 0 1\n",
    "camera-intrinsics.txt": "3.0e+01 0.0e+00 1.5e+01\n0.0e+00 3.1e+01 1.2e+01\n0 0 1\n",
    "intrinsics.K.txt": "[[30, 0, 15], [0, 31, 12], [0, 0, 1]]",
    "intrinsic/intrinsic_color.txt": "30 0 15 0\n0 31 12 0\n0 0 1 0\n0 0 0 1\n",
    "K.txt": "30 0 15 0 31 12 0 0 1",
    "camera.txt": "# fx fy cx cy\n30 31 15 12\n",
    "calibration.txt": "30 31 15 12 0 0 0 0 0",
    "camera.json": json.dumps(NUMBERS),
    "cam.json": json.dumps({"K": MATRIX}),
    "camera_intrinsic.json": json.dumps(
        {"width": WIDTH, "height": HEIGHT, "intrinsic_matrix": [30, 0, 0, 0, 31, 0, 15, 12, 1]}
    ),
    "rgb_intrinsics.json": json.dumps(
        {"width": 32, "height": 24, "ppx": 15, "ppy": 12, "fx": 30, "fy": 31, "coeffs": [0] * 5}
    ),
    "intrinsics.json": json.dumps({"color": NUMBERS, "depth": {**NUMBERS, "fx": 20.0}}),
    "transforms.json": json.dumps({"w": 32, "h": 24, "fl_x": 30, "fl_y": 31, "cx": 15, "cy": 12, "frames": []}),
    "camera_info.yaml": CAMERA_INFO.format(width=WIDTH, height=HEIGHT, **NUMBERS),
    "camera.yaml": "cam: {H: 24, W: 32, fx: 30, fy: 31, cx: 15, cy: 12}",
    "tum1.camera.yaml": "%YAML:1.0\n\nCamera.fx: 30.0\nCamera.fy: 31.0\nCamera.cx: 15.0\nCamera.cy: 12.0\n",
}


@pytest.mark.parametrize("file", INTRINSICS)
def test_intrinsics_are_read_from_common_files(tmp_path, file, caplog):
    put_frame(tmp_path, "scene/rgb/0.png", "scene/depth/0.png")
    put(tmp_path / file, INTRINSICS[file])
    (name,) = rgbd().names(tmp_path)
    assert rgbd().read(tmp_path, name).camera == K
    assert f"intrinsics of {file}" in caplog.text
    assert len(caplog.messages) == 1
    given = rgbd(camera=str(tmp_path / file))
    assert given.read(tmp_path, name).camera == K


def test_intrinsics_of_nearest_folder_apply(tmp_path):
    for scene, focal in (("a", 30), ("b", 40)):
        put_frame(tmp_path, f"{scene}/rgb/0.png", f"{scene}/depth/0.png")
        put(tmp_path / scene / "intrinsics.txt", f"{focal} {focal} 15 12")
    put(tmp_path / "intrinsics.txt", "50 50 15 12")
    assert [rgbd().read(tmp_path, name).camera.fx for name in rgbd().names(tmp_path)] == [30, 40]
    assert rgbd(camera=(60.0, 60.0, 15.0, 12.0)).read(tmp_path, "a/rgb/0.png").camera.fx == 60


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"camera.txt": "1 2 3"}, r"not used: .*camera\.txt: has 3 numbers"),
        ({"camera.json": "{}"}, r"not used: .*camera\.json: has neither fx"),
        ({"camera.yaml": "a: ["}, r"not used: .*camera\.yaml: "),
        ({"camera.txt": "30 -31 15 12"}, "focal lengths are"),
        (
            {"cam0.txt": "30 30 15 12", "cam1.txt": "31 31 15 12"},
            r"several different intrinsics \(cam0.txt, cam1.txt\)",
        ),
        ({"camera.txt": "300 300 160 120"}, "not used for images of 32x24: cx 160 and cy 120 are far from the center"),
        ({"camera.txt": "30 31 15 12 0.1 0 0 0 0"}, "the lens distorts; the intrinsics apply only to rectified images"),
        (
            {"camera_info.yaml": CAMERA_INFO.format(width=32, height=32, **NUMBERS)},
            "not used for images of 32x24: they are for 32x32, but the image is 32x24, another aspect ratio",
        ),
    ],
)
def test_unusable_intrinsics_warn_once(tmp_path, files, message, caplog):
    put_frame(tmp_path, "rgb/0.png", "depth/0.png")
    for file, text in files.items():
        put(tmp_path / file, text)
    (name,) = rgbd().names(tmp_path)
    for _ in range(2):
        camera = rgbd().read(tmp_path, name).camera
    assert (camera is None) == ("rectified" not in message)
    assert sum(message_matches(text, message) for text in caplog.messages) == 1, caplog.messages


def test_options_change_stamp_of_sample(tmp_path):
    put_frame(tmp_path, "rgb/0.png", "depth/0.png")
    said = [{}, {"depth_scale": 0.01}, {"camera": (30.0, 30.0, 15.0, 12.0)}]
    stamps = [rgbd(**values).stamp(tmp_path, "rgb/0.png") for values in said]
    put(tmp_path / "camera.json", json.dumps(NUMBERS))
    list(rgbd().names(tmp_path))
    stamps.append(rgbd().stamp(tmp_path, "rgb/0.png"))
    assert len(set(stamps)) == 4


REAL = [
    declared
    for declared in EVALUATION_SETS
    if declared.name in ("tum", "nyuv2", "kitti_depth", "realsense_shelf", "sevenscenes_redkitchen")
]


@pytest.mark.parametrize("known", REAL, ids=lambda declared: declared.name)
def test_real_rgbd_frames_match_declared_sets(shared, known):
    """Without a word on their layout; their units and, where no file says them, intrinsics are given."""
    root = shared / "data" / known.name
    own = rgbd(depth_scale=known.read_depth.meters_per_unit, camera=known.camera)
    names = list(own.names(root))
    assert names == list(known.names(root))
    frame, expected = own.read(root, names[-1]), known.read(root, names[-1])
    assert np.array_equal(frame.image, expected.image)
    np.testing.assert_array_equal(frame.depth, expected.depth)
    assert frame.camera == expected.camera
    assert replace(frame, name="").valid.any()
    found = rgbd().read(root, names[-1]).camera
    assert found is None or (found.fx, found.fy, found.cx, found.cy) == pytest.approx(known.camera, abs=1e-3)
    assert (found is not None) == (known.name in ("realsense_shelf", "sevenscenes_redkitchen"))


def test_the_stamp_of_an_image_keeps_the_words_of_earlier_releases(tmp_path):
    """The notes of packed shards contain its hash: with another text, all of them would be packed again."""
    put_frame(tmp_path, "rgb/0.png", "depth/0.png")
    put(tmp_path / "camera.txt", "30 31 15 12")
    stamp = rgbd().stamp(tmp_path, "rgb/0.png")
    intrinsics = "Intrinsics(fx=30.0, fy=31.0, cx=15.0, cy=12.0, size=None, is_distorted=False)"
    file = tmp_path / "camera.txt"
    assert stamp.endswith(f" Beside(intrinsics={intrinsics}, file={file!r}, depth_scale=None)")
