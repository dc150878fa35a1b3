"""Depth files of the user's own images: formats, units and sizes."""

from __future__ import annotations

import json

import numpy as np
import pytest
from miniature_files import encoded, pfm, picture, put, put_exr
from rgbd_folders import HEIGHT, METERS, NUMBERS, WIDTH, message_matches, millimeters, put_array, put_frame, rgbd

from depth_anything_ros.data.frame import DataError
from depth_anything_ros.geometry.camera import Camera

NO_FLOATS = (0, np.nan, np.inf, -np.inf, -1, 65535, 3e38)
NO_UNITS = (0, 65535)


def with_invalid(depth: np.ndarray, invalid: tuple[float, ...]) -> np.ndarray:
    depth = depth.copy()
    depth[0, : len(invalid)] = invalid
    return depth


FLOATS = with_invalid(METERS, NO_FLOATS)
UNITS = with_invalid(np.rint(METERS * 1000).astype(np.uint16), NO_UNITS)
BYTES = with_invalid(np.rint(METERS / 0.03).astype(np.uint8), (0,))
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


def test_options_change_stamp_of_sample(tmp_path):
    put_frame(tmp_path, "rgb/0.png", "depth/0.png")
    said = [{}, {"depth_scale": 0.01}, {"camera": (30.0, 30.0, 15.0, 12.0)}]
    stamps = [rgbd(**values).stamp(tmp_path, "rgb/0.png") for values in said]
    put(tmp_path / "camera.json", json.dumps(NUMBERS))
    list(rgbd().names(tmp_path))
    stamps.append(rgbd().stamp(tmp_path, "rgb/0.png"))
    assert len(set(stamps)) == 4
