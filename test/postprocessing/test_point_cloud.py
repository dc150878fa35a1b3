"""The bytes of the organized cloud: positions, colors, invalid points, stride; and PLY files."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from depth_anything_ros.geometry.camera import Camera
from depth_anything_ros.postprocessing.ply import write_ply
from depth_anything_ros.postprocessing.point_cloud import (
    POINT_STEP,
    POSITION_STEP,
    finite_points,
    organized_size,
    write_point_cloud,
)


def make_cloud(camera: Camera, depth: np.ndarray, rgb: np.ndarray | None, stride: int = 1, **limits) -> np.ndarray:
    """Return the cloud's bytes, uint8 (rows, columns, bytes of a point)."""
    rows, columns = organized_size(*depth.shape, stride)
    step = POSITION_STEP if rgb is None else POINT_STEP
    out = np.full(rows * columns * step, 0xAB, np.uint8)
    write_point_cloud(depth, *camera.rays(), rgb, out, stride, **limits)
    return out.reshape(rows, columns, step)


def layouts(rgb: np.ndarray) -> list[np.ndarray]:
    """The same colors in the layouts of cameras: RGB, BGR, either with a fourth byte, padded rows, planes."""
    height, width = rgb.shape[:2]
    rgba, bgra = np.zeros((height, width, 4), np.uint8), np.zeros((height, width, 4), np.uint8)
    rgba[..., :3], bgra[..., 2::-1] = rgb, rgb
    padded = np.zeros((height, width + 2, 3), np.uint8)
    padded[:, :width] = rgb
    planes = np.ascontiguousarray(rgb.transpose(2, 0, 1)).transpose(1, 2, 0)
    reversed_view = np.ascontiguousarray(rgb[..., ::-1])[..., ::-1]
    return [rgb, reversed_view, rgba[..., :3], bgra[..., 2::-1], padded[:, :width], planes]


@settings(max_examples=80, deadline=None)
@given(
    *(st.integers(1, 150), st.integers(1, 90), st.integers(1, 5), st.integers(0, 2**32 - 1)),
    *(st.floats(0, 5), st.floats(5, 40) | st.just(np.inf), st.sampled_from([None, bool, np.uint8])),
    st.integers(0, 5) | st.none(),
)
def test_point_cloud_bytes_match_reference(height, width, stride, seed, minimum, maximum, mask_type, layout):
    random = np.random.default_rng(seed)
    camera = Camera(width, height, 80.0, 90.0, width / 2 - 0.3, height / 2 + 0.2)
    depth = random.uniform(0.2, 30, (height, width)).astype(np.float32)
    invalid = random.random((height, width)) < 0.2
    depth[invalid] = random.choice(np.array([np.nan, np.inf, -np.inf, -1], np.float32), int(invalid.sum()))
    invalid |= (depth < np.float32(minimum)) | (depth > np.float32(maximum))
    rgb = random.integers(0, 256, (height, width, 3), np.uint8)
    flying = None
    if mask_type is not None:
        flying = (random.random((height, width)) < 0.1).astype(mask_type) * mask_type(255)
        invalid |= flying != 0

    colors = None if layout is None else layouts(rgb)[layout]
    cloud = make_cloud(camera, depth, colors, stride, minimum=minimum, maximum=maximum, flying=flying)

    v, u = np.mgrid[0:height:stride, 0:width:stride]
    points = cloud.view(np.float32)[..., :3]
    taken, bad = depth[::stride, ::stride], invalid[::stride, ::stride]
    assert np.all(np.isnan(points[bad]))
    expected = camera.back_project(np.stack([u, v], axis=-1)[~bad], taken[~bad])
    assert points[~bad] == pytest.approx(expected, rel=1e-6, abs=1e-6)
    if layout is not None:
        assert np.array_equal(cloud[..., 14:11:-1], rgb[::stride, ::stride])
        assert np.all(cloud[..., 15] == 0)


def test_point_cloud_limits_are_inclusive():
    camera = Camera(4, 1, 1.0, 1.0, 0.0, 0.0)
    depth = np.array([[0.3, 0.31, 2.0, 2.1]], np.float32)
    cloud = make_cloud(camera, depth, None, minimum=0.3, maximum=2.0).view(np.float32)
    assert np.array_equal(np.isnan(cloud[..., 2]), [[False, False, False, True]])


def test_color_of_point_never_reads_as_nan():
    """Readers that skip NaN look at every field: a white point must not vanish."""
    camera = Camera(2, 1, 1.0, 1.0, 0.0, 0.0)
    cloud = make_cloud(camera, np.ones((1, 2), np.float32), np.full((1, 2, 3), 255, np.uint8))
    assert np.all(np.isfinite(cloud.view(np.float32)))


def test_padded_image_and_strided_depth_give_equal_cloud():
    camera = Camera(4, 3, 2.0, 2.0, 1.5, 1.0)
    padded = np.arange(3 * 20, dtype=np.uint8).reshape(3, 20)
    rgb = np.lib.stride_tricks.as_strided(padded, (3, 4, 3), (20, 3, 1))
    depth = np.arange(1, 25, dtype=np.float32).reshape(3, 8)[:, ::2]
    cloud = make_cloud(camera, depth, rgb)
    assert np.array_equal(cloud.view(np.float32)[..., 2], depth)
    assert np.array_equal(cloud[..., 14:11:-1], rgb)


def test_mismatched_cloud_shapes_raise():
    x, y = Camera(4, 3, 2.0, 2.0, 1.5, 1.0).rays()
    depth, rgb, out = np.ones((3, 4), np.float32), np.zeros((3, 4, 3), np.uint8), np.empty(12 * POINT_STEP, np.uint8)
    with pytest.raises(ValueError, match="depth is 4x3, but the rays are for 3x4"):
        write_point_cloud(depth, y, x, rgb, out)
    with pytest.raises(ValueError, match="colors have shape"):
        write_point_cloud(depth, x, y, rgb[:2], out)
    with pytest.raises(ValueError, match="needs 192 bytes, got 191"):
        write_point_cloud(depth, x, y, rgb, out[:-1])
    with pytest.raises(ValueError, match="needs 144 bytes, got 192"):
        write_point_cloud(depth, x, y, None, out)
    with pytest.raises(ValueError, match="mask of flying pixels"):
        write_point_cloud(depth, x, y, rgb, out, flying=np.zeros((4, 3), bool))


def test_finite_points_returns_points_with_depth():
    camera = Camera(3, 1, 1.0, 1.0, 0.0, 0.0)
    depth = np.array([[1.0, np.nan, 2.0]], np.float32)
    rgb = np.array([[[255, 1, 2], [3, 4, 5], [6, 7, 8]]], np.uint8)
    points, colors = finite_points(make_cloud(camera, depth, rgb).ravel())
    assert np.array_equal(points, [[0, 0, 1], [4, 0, 2]])
    assert np.array_equal(colors, [[255, 1, 2], [6, 7, 8]])


def read_ply(path) -> np.ndarray:
    """An independent reader: the header by the PLY specification, then the vertices as structured bytes."""
    header, _, body = path.read_bytes().partition(b"end_header\n")
    lines = header.decode("ascii").splitlines()
    assert lines[:2] == ["ply", "format binary_little_endian 1.0"]
    count = int(next(line for line in lines if line.startswith("element vertex")).split()[-1])
    types = {"float": "<f4", "uchar": "u1"}
    fields = [(line.split()[2], types[line.split()[1]]) for line in lines if line.startswith("property")]
    vertices = np.frombuffer(body, np.dtype(fields))
    assert vertices.size == count
    return vertices


def test_ply_contains_only_finite_points(tmp_path):
    points = np.array([[1, 2, 3], [np.nan, 0, 0], [4, 5, 6], [0, 0, np.inf]], np.float32)
    colors = np.array([[10, 20, 30], [0, 0, 0], [40, 50, 60], [0, 0, 0]], np.uint8)
    path = tmp_path / "cloud.ply"
    path.write_text("an older file")
    assert write_ply(path, points, colors) == 2
    vertices = read_ply(path)
    assert vertices.tolist() == [(1, 2, 3, 10, 20, 30), (4, 5, 6, 40, 50, 60)]
    assert list(tmp_path.iterdir()) == [path]  # no temporary file is left


def test_failed_ply_leaves_no_file(tmp_path):
    target = tmp_path / "folder.ply"
    target.mkdir()
    with pytest.raises(OSError, match=r"folder\.ply"):
        write_ply(target, np.zeros((1, 3), np.float32), np.zeros((1, 3), np.uint8))
    assert list(tmp_path.iterdir()) == [target]
    with pytest.raises(ValueError, match=r"\(N, 3\)"):
        write_ply(tmp_path / "a.ply", np.zeros((2, 3), np.float32), np.zeros((1, 3), np.uint8))
