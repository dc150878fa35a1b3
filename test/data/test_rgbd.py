"""The user's own images with depth: layouts, declarations and lists of pairs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from miniature_files import encoded, put
from rgbd_folders import HEIGHT, METERS, WIDTH, millimeters, put_array, put_frame, rgbd

from depth_anything_ros.data.frame import DataError
from depth_anything_ros.data.rgbd import RgbdSet
from depth_anything_ros.geometry.camera import Camera


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
        ("pairs: gone.txt", "pairs: there is no file gone.txt"),
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


@pytest.mark.parametrize(
    "listed",
    [
        "1\n2\n",
        "1.jpg\n2.jpg\n",
        "hall/1\n2\n",
        "hall/1.jpg\nhall/2.jpg\n",
        "/rgb/hall/1.jpg\n./rgb/hall/2.jpg\n",
        "# train\nrgb\\hall\\2.jpg\nhall/1\n1\n",
    ],
)
def test_split_file_of_names_selects_images(tmp_path, listed, caplog):
    for name in "123":
        put_frame(tmp_path, f"rgb/hall/{name}.jpg", f"depth/hall/{name}.png")
    put(tmp_path / "splits" / "train.txt", listed)
    declared = rgbd(pairs="splits/train.txt")
    assert depth_of(tmp_path, declared) == {f"rgb/hall/{n}.jpg": Path(f"depth/hall/{n}.png") for n in "12"}
    assert declared.unpaired(tmp_path) == []
    assert f"matched by name, as {tmp_path / 'splits' / 'train.txt'} lists" in caplog.text


def test_names_of_split_file_without_one_image_are_left_out(tmp_path):
    for folder in ("hall", "kitchen"):
        put_frame(tmp_path, f"rgb/{folder}/1.jpg", f"depth/{folder}/1.png")
    put(tmp_path / "val.txt", "hall/1\nhall/2\n1\n")
    declared = rgbd(pairs="val.txt")
    assert list(declared.names(tmp_path)) == ["rgb/hall/1.jpg"]
    absent, ambiguous = declared.unpaired(tmp_path)
    assert absent == "hall/2, listed in val.txt, is no image with depth"
    assert ambiguous == "1, listed in val.txt, is rgb/hall/1.jpg and rgb/kitchen/1.jpg: list it with its folder"
    put(tmp_path / "val.txt", "hall/3\n")
    with pytest.raises(DataError, match=r"val\.txt names no image: hall/3, .*; the folder has images such as rgb/hall"):
        declared.names(tmp_path)
    put(tmp_path / "val.txt", "\n# nothing\n")
    with pytest.raises(DataError, match=r"val\.txt lists no image with its depth; each line needs both, or the name"):
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


def test_stamp_of_image_equals_that_of_earlier_releases(tmp_path):
    """The notes of packed shards contain its hash: with another text, all of them would be packed again."""
    put_frame(tmp_path, "rgb/0.png", "depth/0.png")
    put(tmp_path / "camera.txt", "30 31 15 12")
    stamp = rgbd().stamp(tmp_path, "rgb/0.png")
    intrinsics = "Intrinsics(fx=30.0, fy=31.0, cx=15.0, cy=12.0, size=None, is_distorted=False)"
    file = tmp_path / "camera.txt"
    assert stamp.endswith(f" Beside(intrinsics={intrinsics}, file={file!r}, depth_scale=None)")
