"""Readers of evaluation sets: miniature sets in the real formats, and real frames if available."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from depth_anything_ros.data.check import evenly_spaced
from depth_anything_ros.data.frame import DataError, LabeledImage
from depth_anything_ros.data.packable_benchmarks import PACKABLE_BENCHMARKS
from depth_anything_ros.data.velodyne import VelodyneCalibration, depth_image, read_calibration
from depth_anything_ros.evaluation.crops import eigen_crop, garg_crop
from depth_anything_ros.evaluation.scored_sets import SCORED_SETS, find_sets
from depth_anything_ros.geometry.camera import Camera

# What a stored value of 1 means in each set of pictures, from the sets' own documentation.
UNITS = {
    "sevenscenes_redkitchen": ("frame-000007.color.jpg", "frame-000007.depth.png", 0.001),
    "nyuv2": ("rgb/rgb_00003.jpg", "depth/sync_depth_00003.png", 0.001),
    "kitti_depth": ("rgb/0000000042.png", "depth/0000000042.png", 1 / 256),
    "tum": ("TUM_color.png", "TUM_depth.png", 1 / 5000),
    "realsense_shelf": ("frame-000017.color.png", "frame-000017.depth.png", 0.001),
}


def write_pictures(root: Path, name: str, image: np.ndarray, depth: np.ndarray) -> None:
    image_file, depth_file, _ = UNITS[name]
    for file, picture in ((image_file, image), (depth_file, depth)):
        path = root / name / file
        path.parent.mkdir(parents=True, exist_ok=True)
        assert cv2.imwrite(str(path), picture)


@pytest.mark.parametrize("name", UNITS)
def test_image_files_are_read_as_rgb_and_meters(tmp_path, name):
    blue = np.zeros((24, 32, 3), np.uint8)
    blue[..., 0] = 200  # OpenCV writes BGR
    stored = np.full((24, 32), 2000, np.uint16)
    stored[0, :5] = 0
    stored[1, :3] = 65535
    write_pictures(tmp_path, name, blue, stored)
    declared = SCORED_SETS[name]
    (frame_name,) = declared.frame_names(tmp_path)
    frame = declared.read(tmp_path, frame_name)
    meters = UNITS[name][2]
    assert frame.name == f"{name}/{frame_name}"
    assert frame.image.dtype == np.uint8
    np.testing.assert_allclose(frame.image[12, 12].astype(int), [0, 0, 200], atol=3)  # JPEG rounds
    assert frame.depth.dtype == np.float32
    assert frame.depth[10, 10] == pytest.approx(2000 * meters)
    assert np.isnan(frame.depth[0, :5]).all()
    if name == "sevenscenes_redkitchen":
        assert np.isnan(frame.depth[1, :3]).all()
        assert frame.valid.sum() == 24 * 32 - 8
    else:
        assert frame.depth[1, 0] == pytest.approx(65535 * meters)
        assert frame.valid.sum() == 24 * 32 - 5
    assert (frame.camera.width, frame.camera.height) == (32, 24)


def write_velodyne_frame(root: Path, points: np.ndarray) -> None:
    folder = root / "kitti_object"
    for part in ("image_2", "velodyne", "calib"):
        (folder / part).mkdir(parents=True)
    cv2.imwrite(str(folder / "image_2" / "000000.png"), np.full((20, 40, 3), 90, np.uint8))
    with_reflectance = np.hstack([points, np.ones((len(points), 1))]).astype("<f4")
    (folder / "velodyne" / "000000.bin").write_bytes(with_reflectance.tobytes())
    # Axes change as on the car: camera x = -velodyne y, y = -z, z = x; the velodyne 0.5 m behind the camera.
    (folder / "calib" / "000000.txt").write_text(
        "P0: 1 0 0 0 0 1 0 0 0 0 1 0\n"
        "P2: 50 0 20 5 0 50 10 0 0 0 1 0\n"
        "R0_rect: 1 0 0 0 1 0 0 0 1\n"
        "Tr_velo_to_cam: 0 -1 0 0 0 0 -1 0 1 0 0 -0.5\n\n"
    )


def test_velodyne_points_project_to_their_pixels(tmp_path):
    # x forward; expected by hand: Z = x - 0.5, u = 50 * (-y) / Z + 20 + 5 / Z, v = 50 * (-z) / Z + 10.
    points = np.array(
        [
            [5.5, 0.0, 0.0],  # Z 5: u = 21, v = 10
            [10.5, -1.0, 0.5],  # Z 10: u = 25.5 -> 26 (to even), v = 7.5 -> 8 (to even)
            [5.5, 0.001, 0.0],  # the same pixel as the first, and as deep
            [20.5, -0.075, 0.0],  # Z 20: u = 20.4375 -> 20
            [8.5, 0.025, 0.0],  # Z 8: u = 20.47 -> 20: nearer, so it hides the one before
            [-3.0, 0.0, 0.0],  # behind
            [5.5, 100.0, 0.0],  # beside the image
        ]
    )
    write_velodyne_frame(tmp_path, points)
    (name,) = SCORED_SETS["kitti_object"].frame_names(tmp_path)
    frame = SCORED_SETS["kitti_object"].read(tmp_path, name)
    assert frame.valid.sum() == 3
    assert frame.depth[10, 21] == pytest.approx(5.0)
    assert frame.depth[8, 26] == pytest.approx(10.0)
    assert frame.depth[10, 20] == pytest.approx(8.0)
    assert frame.camera == Camera(40, 20, 50, 50, 20, 10)


def test_velodyne_projection_matches_camera_without_offset():
    camera = Camera(64, 48, 60.0, 61.0, 31.0, 25.0)
    projection = np.hstack([camera.matrix, np.zeros((3, 1))])
    identity = np.hstack([np.eye(3), np.zeros((3, 1))])
    points = np.random.default_rng(3).uniform((-2, -2, 1), (2, 2, 9), (200, 3))
    pixels, depth = VelodyneCalibration(projection, np.eye(3), identity).project(points)
    np.testing.assert_allclose(pixels, camera.project(points))
    np.testing.assert_allclose(depth, points[:, 2])


def test_depth_image_without_points_is_nan():
    identity = np.hstack([np.eye(3), np.zeros((3, 1))])
    image = depth_image(VelodyneCalibration(identity, np.eye(3), identity), np.array([[0.0, 0.0, -1.0]]), 4, 5)
    assert image.shape == (4, 5)
    assert np.isnan(image).all()


def test_damaged_files_are_named(tmp_path):
    image, depth = np.zeros((8, 8, 3), np.uint8), np.ones((8, 8), np.uint16)
    write_pictures(tmp_path, "tum", image, depth)
    tum = SCORED_SETS["tum"]
    depth_file = tmp_path / "tum" / "TUM_depth.png"
    whole = depth_file.read_bytes()
    depth_file.write_bytes(b"")
    with pytest.raises(DataError, match=r"TUM_depth\.png is not a picture"):
        tum.read(tmp_path, "TUM_color.png")
    depth_file.write_bytes(whole[:20])
    with pytest.raises(DataError, match=r"TUM_depth\.png is not a picture, or is damaged"):
        tum.read(tmp_path, "TUM_color.png")
    depth_file.unlink()
    with pytest.raises(DataError, match=r"TUM_color\.png has no depth at"):
        tum.read(tmp_path, "TUM_color.png")
    cv2.imwrite(str(depth_file), np.ones((8, 8), np.uint8))
    with pytest.raises(DataError, match=r"TUM_depth\.png: depth is uint8"):
        tum.read(tmp_path, "TUM_color.png")
    cv2.imwrite(str(depth_file), np.ones((8, 9), np.uint16))
    with pytest.raises(DataError, match=r"TUM_depth.png has the shape \(8, 9\), its image has \(8, 8\)"):
        tum.read(tmp_path, "TUM_color.png")


def test_damaged_velodyne_files_are_named(tmp_path):
    write_velodyne_frame(tmp_path, np.array([[5.5, 0.0, 0.0]]))
    folder = tmp_path / "kitti_object"
    scan = folder / "velodyne" / "000000.bin"
    scan.write_bytes(scan.read_bytes()[:-4])
    with pytest.raises(DataError, match=r"000000\.bin: 3 floats, must be a positive multiple of 4"):
        SCORED_SETS["kitti_object"].read(tmp_path, "image_2/000000.png")
    calibration = folder / "calib" / "000000.txt"
    calibration.write_text(calibration.read_text().replace("R0_rect: 1", "R0_rect:"))
    with pytest.raises(DataError, match="R0_rect is missing or does not have 9 numbers"):
        read_calibration(calibration)
    calibration.unlink()
    with pytest.raises(DataError, match=r"cannot read .*000000\.txt"):
        SCORED_SETS["kitti_object"].read(tmp_path, "image_2/000000.png")


def test_labeled_image_rejects_camera_of_other_size():
    with pytest.raises(DataError, match="camera is 5x4, its image is 4x4"):
        LabeledImage("made", np.zeros((4, 4, 3), np.uint8), np.ones((4, 4), np.float32), Camera(5, 4, 5, 5, 2, 2))
    with pytest.raises(DataError, match="image is float64"):
        LabeledImage("made", np.zeros((4, 4, 3)), np.ones((4, 4), np.float32), Camera(4, 4, 5, 5, 2, 2))


def test_missing_sets_are_named(tmp_path):
    with pytest.raises(DataError, match="is not a folder"):
        find_sets(tmp_path / "nowhere")
    with pytest.raises(DataError, match="has none of the folders sevenscenes_redkitchen, nyuv2"):
        find_sets(tmp_path)
    with pytest.raises(DataError, match="there is no set 'nyu': did you mean nyuv2"):
        find_sets(tmp_path, ["nyu"])
    with pytest.raises(
        DataError, match="there is no set 'x'; sets that can be evaluated are sevenscenes_redkitchen, ny"
    ):
        find_sets(tmp_path, ["x"])
    with pytest.raises(DataError, match="nyuv2 is not under"):
        find_sets(tmp_path, ["nyuv2"])
    (tmp_path / "nyuv2" / "rgb").mkdir(parents=True)
    (found,) = find_sets(tmp_path, ["nyuv2"])
    with pytest.raises(
        DataError, match=r"nyuv2 contains no image of nyuv2; the expected path is rgb/rgb_\{frame\}\.jpg"
    ):
        found.frame_names(tmp_path)
    cv2.imwrite(str(tmp_path / "nyuv2" / "rgb" / "rgb_1.jpg"), np.zeros((4, 4, 3), np.uint8))
    with pytest.raises(DataError, match=r"nyuv2 contains 1 images of nyuv2, but none has depth at depth/sync_"):
        found.frame_names(tmp_path)


@pytest.mark.parametrize("name", [declared.name for declared in PACKABLE_BENCHMARKS])
def test_benchmark_outside_open_protocols_names_its_protocol(tmp_path, name):
    (tmp_path / name).mkdir()
    with pytest.raises(
        DataError, match=rf"^{name} is not scored by the protocols full and published: .*; sets that can be"
    ):
        find_sets(tmp_path, [name])


def test_limit_spreads_frames_over_set():
    names = [str(number) for number in range(100)]
    assert evenly_spaced(names, 10) == [str(number) for number in range(0, 100, 10)]
    assert evenly_spaced(names, 0) == names
    assert evenly_spaced(names[:3], 10) == names[:3]
    assert len(set(evenly_spaced(names, 33))) == 33


def test_crops_match_papers():
    rows, columns = eigen_crop(480, 640)
    assert (rows.start, rows.stop, columns.start, columns.stop) == (45, 471, 41, 601)
    # ZoeDepth and BTS round the same fractions down; 375x1242 is the usual KITTI size.
    rows, columns = garg_crop(375, 1242)
    assert (rows.start, rows.stop, columns.start, columns.stop) == (153, 371, 44, 1197)


# (frames, median meters, share of known pixels), looked at once in each set's first frame.
REAL = {
    "sevenscenes_redkitchen": (100, 1.9, 0.89),
    "nyuv2": (1, 3.26, 0.73),
    "kitti_depth": (1, 13.8, 0.195),
    "kitti_object": (1, 11.7, 0.045),
    "tum": (1, 2.41, 0.81),
    "realsense_shelf": (10, 0.41, 0.345),
}


@pytest.mark.parametrize("name", REAL)
def test_real_frames_have_plausible_depth(shared, name):
    root = shared / "data"
    count, median, known = REAL[name]
    declared = SCORED_SETS[name]
    assert len(declared.frame_names(root)) == count
    frame = declared.read(root, declared.frame_names(root)[0])
    assert np.nanmedian(frame.depth) == pytest.approx(median, rel=0.05)
    assert frame.valid.mean() == pytest.approx(known, rel=0.05)
    assert frame.depth[frame.valid].min() > 0.05
    assert 40 < frame.camera.horizontal_degrees < 90


def test_real_velodyne_sees_ground_below_camera(shared):
    """The lowest scored rows see the road a few meters ahead, 1.65 m below the camera (KITTI's mounting height)."""
    root, declared = shared / "data", SCORED_SETS["kitti_object"]
    frame = declared.read(root, declared.frame_names(root)[0])
    row = 350
    column = np.flatnonzero(np.isfinite(frame.depth[row, 500:700])) + 500
    points = frame.camera.back_project(np.stack([column, np.full_like(column, row)], -1), frame.depth[row, column])
    assert len(points) > 3
    assert np.median(points[:, 1]) == pytest.approx(1.65, abs=0.15)


def test_motorcycle_depth_is_between_two_and_five_meters():
    pytest.importorskip("skimage", reason="the Motorcycle pair comes with scikit-image")
    (name,) = SCORED_SETS["middlebury_motorcycle"].frame_names(Path())
    frame = SCORED_SETS["middlebury_motorcycle"].read(Path(), name)
    assert frame.image.shape == (500, 741, 3)
    assert 2.0 < np.nanmin(frame.depth) < np.nanmedian(frame.depth) < np.nanmax(frame.depth) < 5.1
    assert frame.valid.mean() == pytest.approx(0.9265, abs=1e-3)
