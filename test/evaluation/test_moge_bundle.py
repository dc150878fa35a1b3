"""MoGe's bundle: its encoding, and the centered view against moge/test/dataloader.py, written down literally."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from miniature_files import encoded, picture, put
from miniature_prepared import log_png, moge_bundle, moge_sample
from PIL import Image

from depth_anything_ros.data.centered_view import centered_view, nearest_known
from depth_anything_ros.data.frame import DataError, LabeledImage
from depth_anything_ros.data.moge_files import LogPicture
from depth_anything_ros.data.moge_sets import MOGE_SETS
from depth_anything_ros.data.sets import find_set
from depth_anything_ros.evaluation.protocol_files import find_protocol
from depth_anything_ros.evaluation.scored_sets import find_sets
from depth_anything_ros.geometry.camera import Camera


def uv_map(height, width):
    u, v = np.meshgrid((np.arange(width) + 0.5) / width, (np.arange(height) + 0.5) / height)
    return np.stack([u, v], axis=-1)


def unproject(uv, depth, k):
    points = np.concatenate([uv, np.ones((*uv.shape[:-1], 1))], axis=-1) @ np.linalg.inv(k).T
    return points * depth[..., None]


def rotation_between(a, b):
    a, b = a / np.linalg.norm(a), b / np.linalg.norm(b)
    v, c = np.cross(a, b), a @ b
    skew = np.array([[0, -v[2], v[1]], [v[2], 0, -v[0]], [-v[1], v[0], 0]])
    return np.eye(3) + skew + skew @ skew / (1 + c)


def lines_cross(p1, d1, p2, d2):
    t, _ = np.linalg.solve(np.array([d1, -d2]).T, p2 - p1)
    return p1 + t * d1


def masked_nearest_resize(depth, mask, width, height):
    """utils3d: within each target pixel's area of ceil(h) x ceil(w) source pixels, the nearest valid one."""
    rows, columns = depth.shape
    high, wide = max(1, rows / height), max(1, columns / width)
    resized, known = np.ones((height, width)), np.zeros((height, width), bool)
    for i in range(height):
        for j in range(width):
            x, y = (j + 0.5) / width * columns, (i + 0.5) / height * rows
            left, top = int(np.round(x - wide / 2)), int(np.round(y - high / 2))
            best = np.inf
            for row in range(top, top + int(np.ceil(high))):
                for column in range(left, left + int(np.ceil(wide))):
                    if 0 <= row < rows and 0 <= column < columns and mask[row, column]:
                        away = (column + 0.5 - x) ** 2 + (row + 0.5 - y) ** 2
                        if away < best:
                            best, resized[i, j], known[i, j] = away, depth[row, column], True
    return resized, known


def literal_view(image, depth, k, tgt_width, tgt_height):
    """EvalDataLoaderPipeline._process_instance."""
    mask, depth = np.isfinite(depth), np.nan_to_num(depth.astype(np.float64), nan=1, posinf=1, neginf=1)
    raw_horizontal, raw_vertical = abs(1 / k[0, 0]), abs(1 / k[1, 1])
    tgt_aspect = tgt_width / tgt_height
    tgt_horizontal = min(raw_horizontal, raw_vertical * tgt_aspect)
    tgt_vertical = tgt_horizontal / tgt_aspect
    direction = unproject(np.array([[0.5, 0.5]]), np.array([1.0]), k)[0]
    turn = rotation_between(direction, np.array([0.0, 0.0, 1.0]))
    corners = np.array([[0, 0, 1], [0, 1, 1], [1, 1, 1], [1, 0, 1]]) @ (np.linalg.inv(k).T @ turn.T)
    corners = corners[:, :2] / corners[:, 2:3]
    warp_horizontal, warp_vertical = raw_horizontal, raw_vertical
    for i in range(4):
        for diagonal in (np.array([tgt_aspect, 1.0]), np.array([tgt_aspect, -1.0])):
            hit = lines_cross(np.zeros(2), diagonal, corners[i - 1], corners[i] - corners[i - 1])
            warp_horizontal = min(warp_horizontal, 2 * abs(hit[0]))
            warp_vertical = min(warp_vertical, 2 * abs(hit[1]))
    tgt_horizontal, tgt_vertical = min(tgt_horizontal, warp_horizontal), min(tgt_vertical, warp_vertical)
    tgt_k = np.array([[1 / tgt_horizontal, 0, 0.5], [0, 1 / tgt_vertical, 0.5], [0, 0, 1]])
    rescaled_w = int(raw_horizontal / (tgt_horizontal / tgt_width) + 1e-6)
    rescaled_h = int(raw_vertical / (tgt_vertical / tgt_height) + 1e-6)
    image = np.array(Image.fromarray(image).resize((rescaled_w, rescaled_h), Image.LANCZOS))
    depth, mask = masked_nearest_resize(depth, mask, rescaled_w, rescaled_h)
    distance = np.linalg.norm(unproject(uv_map(rescaled_h, rescaled_w), depth, k), axis=-1)
    transform = k @ np.linalg.inv(turn) @ np.linalg.inv(tgt_k)
    uv = uv_map(tgt_height, tgt_width)
    pts = np.concatenate([uv, np.ones((tgt_height, tgt_width, 1))], axis=-1) @ transform.T
    remap = (pts[..., :2] / pts[..., 2:] * [rescaled_w, rescaled_h] - 0.5).astype(np.float32)
    tgt_image = cv2.remap(image, remap[..., 0], remap[..., 1], cv2.INTER_LINEAR)
    tgt_distance = cv2.remap(distance, remap[..., 0], remap[..., 1], cv2.INTER_NEAREST)
    tgt_depth = tgt_distance / np.linalg.norm(unproject(uv, np.ones(uv.shape[:2]), tgt_k), axis=-1)
    tgt_mask = cv2.remap(mask.astype(np.uint8), remap[..., 0], remap[..., 1], cv2.INTER_NEAREST) > 0
    max_depth = np.nanquantile(np.where(tgt_mask, tgt_depth, np.nan), 0.01) * 1000.0
    tgt_mask &= tgt_depth <= max_depth
    return tgt_image, np.where(tgt_mask, tgt_depth, np.nan), tgt_k


def as_camera(k, width, height):
    return Camera(width, height, k[0, 0] * width, k[1, 1] * height, k[0, 2] * width - 0.5, k[1, 2] * height - 0.5)


CASES = {
    "off_center": ((0.9, 1.3, 0.56, 0.43), (48, 40), (30, 24)),
    "wider": ((0.8, 0.9, 0.48, 0.52), (40, 40), (48, 24)),
    "enlarged": ((1.1, 1.4, 0.5, 0.55), (24, 20), (60, 45)),
    "narrow_lens": ((3.1, 4.0, 0.51, 0.49), (64, 48), (32, 24)),
}


@pytest.mark.parametrize("case", CASES)
def test_centered_view_equals_the_loader_of_moge(case):
    (fx, fy, cx, cy), (width, height), size = CASES[case]
    rng = np.random.default_rng(len(case))
    k = np.array([[fx, 0, cx], [0, fy, cy], [0, 0, 1]])
    image = rng.integers(0, 255, (height, width, 3), dtype=np.uint8)
    depth = rng.uniform(1, 9, (height, width)).astype(np.float32)
    depth[rng.random(depth.shape) < 0.2], depth[:2] = np.nan, np.inf
    depth[height // 2 :, width // 2 : width // 2 + 2] = 1e5
    seen = centered_view(LabeledImage("made", image, depth, as_camera(k, width, height)), size, Image)
    expected_image, expected_depth, expected_k = literal_view(image, depth, k, *size)
    np.testing.assert_array_equal(seen.image, expected_image)
    np.testing.assert_allclose(seen.depth, expected_depth, rtol=1e-6)  # with NaN in the same places
    assert seen.depth.dtype == np.float32
    ours, theirs = seen.camera, as_camera(expected_k, *size)
    assert (ours.fx, ours.fy, ours.cx, ours.cy) == pytest.approx((theirs.fx, theirs.fy, theirs.cx, theirs.cy))
    assert np.nanmax(seen.depth) < 100  # what is a thousand times farther is unknown


def test_centered_view_of_a_centered_image_is_the_image():
    rng = np.random.default_rng(0)
    image, depth = rng.integers(0, 255, (24, 32, 3), dtype=np.uint8), rng.uniform(1, 9, (24, 32)).astype(np.float32)
    frame = LabeledImage("made", image, depth, Camera(32, 24, 40.0, 40.0, 15.5, 11.5))
    seen = centered_view(frame, (32, 24), Image)
    np.testing.assert_array_equal(seen.image, image)
    np.testing.assert_allclose(seen.depth, depth, rtol=1e-6)
    assert seen.camera == frame.camera


def test_centered_view_keeps_a_wall_where_it_is():
    """A wall across the optical axis, 4 m away. From the turned camera its depth follows from the turn alone."""
    camera = Camera(400, 300, 380.0, 380.0, 240.0, 120.0)
    frame = LabeledImage("made", np.zeros((300, 400, 3), np.uint8), np.full((300, 400), 4, np.float32), camera)
    seen = centered_view(frame, (320, 240), Image)
    ray = np.array([(199.5 - 240) / 380, (149.5 - 120) / 380, 1.0])
    normal = rotation_between(ray, np.array([0.0, 0.0, 1.0])) @ (0.0, 0.0, 1.0)
    x, y = seen.camera.rays()
    expected = 4 / (normal[0] * x[None] + normal[1] * y[:, None] + normal[2])
    np.testing.assert_allclose(seen.depth, expected, rtol=2e-3)  # the nearest pixel is up to half a pixel away
    assert abs(expected.max() / expected.min() - 1) > 0.05


def test_nearest_known_skips_unknown_pixels():
    values = np.full((4, 6), np.nan, np.float32)
    values[1, 1], values[2, 5] = 3, 7
    np.testing.assert_array_equal(nearest_known(values, (3, 2)), [[3, np.nan, np.nan], [np.nan, np.nan, 7]])
    np.testing.assert_array_equal(nearest_known(values, (6, 4)), values)
    assert np.nansum(nearest_known(values, (12, 8))) == 4 * 10  # each pixel becomes four


def test_log_depth_is_read_to_half_a_step(tmp_path):
    depth = np.geomspace(0.5, 500, 600).reshape(20, 30).astype(np.float32)
    depth[0, :3], depth[1, :2] = np.nan, np.inf
    content, stored = log_png(depth)
    put(tmp_path / "depth.png", content)
    read = LogPicture()(tmp_path / "depth.png", (20, 30))
    np.testing.assert_allclose(read, stored, rtol=1e-6)
    np.testing.assert_allclose(read, depth, rtol=0.51 * np.log(1000) / 65533)


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        ({"near": "0"}, "has the range of depth 0 to"),
        ({"near": "x"}, "has no range of depth, the texts near and far of its PNG"),
        ({"near": "nan"}, "has the range of depth nan to"),
        ({"far": "0.1"}, "must be positive"),
        ({"unit": "-1"}, "in units of -1, must be positive"),
    ],
)
def test_invalid_ranges_are_named(tmp_path, texts, message):
    put(tmp_path / "depth.png", log_png(np.linspace(0.5, 2, 12).reshape(3, 4), **texts)[0])
    with pytest.raises(DataError, match=message) as caught:
        LogPicture()(tmp_path / "depth.png", (3, 4))
    assert str(tmp_path / "depth.png") in str(caught.value)


def test_depth_without_range_and_other_pictures_are_named(tmp_path):
    for content, message in (
        (encoded(".png", np.ones((3, 4), np.uint16)), "has no range of depth"),
        (encoded(".png", np.ones((3, 4), np.uint8)), "must be a 16-bit picture of one channel"),
    ):
        put(tmp_path / "depth.png", content)
        with pytest.raises(DataError, match=message):
            LogPicture()(tmp_path / "depth.png", (3, 4))


@pytest.mark.parametrize(
    "meta", ["{}", "[]", '{"intrinsics": [[1]]}', '{"intrinsics": "k"}', "{", '{"intrinsics": null}']
)
def test_invalid_intrinsics_are_named(tmp_path, meta):
    moge_bundle(tmp_path, ("a",))
    put(tmp_path / "a" / "meta.json", meta)
    with pytest.raises(DataError, match=r"meta\.json has no valid intrinsics"):
        find_set("moge_gso").read(tmp_path, "a/image.jpg")


def test_missing_and_extra_samples_are_named(tmp_path):
    root = tmp_path / "moge_gso"
    moge_bundle(root, ("a", "b/c"))
    moge_sample(
        root / "extra", picture(5), np.linspace(1, 2, 2048).reshape(32, 64), [[1, 0, 0.5], [0, 1, 0.5], [0, 0, 1]]
    )
    with (root / ".index.txt").open("a") as file:
        file.write("\ngone\na\n")
    (declared,) = find_sets(tmp_path, ["moge_gso"], protocol=find_protocol("moge"))
    names = declared.frame_names(tmp_path)
    assert names == ["a/image.jpg", "b/c/image.jpg", "gone/image.jpg"]
    assert declared.unpaired(tmp_path) == ["extra/image.jpg is not in .index.txt"]
    (text,) = declared.missing(tmp_path, names)
    assert text.startswith("moge_gso has 3 frames, split 'one view of each object' has 1030: the scores are not")
    with pytest.raises(DataError, match=r"cannot read .*gone/image\.jpg"):
        declared.read(tmp_path, "gone/image.jpg")
    (root / ".index.txt").unlink()
    with pytest.raises(DataError, match=r"cannot read .*\.index\.txt"):
        declared.frame_names(tmp_path)
    (root / ".index.txt").write_text("\n")
    with pytest.raises(DataError, match=r"\.index\.txt lists no image$"):
        declared.frame_names(tmp_path)


def test_folders_of_the_unzipped_bundle_are_found(tmp_path):
    """As `unzip` leaves them, beside other folders of these names."""
    moge_bundle(tmp_path / "iBims-1", ("a",))
    (tmp_path / "KITTI").mkdir()
    (found,) = find_sets(tmp_path, protocol=find_protocol("moge"))
    assert (found.name, found.folder(tmp_path)) == ("moge_ibims1", tmp_path / "iBims-1")
    assert found.read(tmp_path, "a/image.jpg").image.shape == (480, 640, 3)
    moge_bundle(tmp_path / "moge_ibims1", ("b",))  # a folder of our name comes first
    assert found.frame_names(tmp_path) == ["b/image.jpg"]


def test_protocol_has_all_sets_of_the_bundle_and_their_unit():
    moge = find_protocol("moge")
    assert list(moge.sets) == [declared.name for declared in MOGE_SETS]
    assert {declared.name: (declared.count or 0) for declared in MOGE_SETS} == {
        name: rules.split.count for name, rules in moge.sets.items()
    }
    without_unit = {declared.name for declared in MOGE_SETS if not declared.is_metric}
    assert without_unit == {"moge_gso", "moge_sintel", "moge_spring"}
    sharp = {name for name, rules in moge.sets.items() if rules.boundary}
    assert sharp == {"moge_ibims1", "moge_sintel", "moge_spring", "moge_hammer"}
    assert Path(replace(MOGE_SETS[0], size=(4, 3)).owners_folder) == Path("NYUv2")
