"""Intrinsics of the user's own images with depth, and real frames."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from miniature_files import put
from rgbd_folders import HEIGHT, NUMBERS, WIDTH, message_matches, put_frame, rgbd

from depth_anything_ros.data.evaluation_sets import EVALUATION_SETS
from depth_anything_ros.geometry.camera import Camera

K = Camera(WIDTH, HEIGHT, 30.0, 31.0, 15.0, 12.0)
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
