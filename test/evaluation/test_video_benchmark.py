"""The videos of Video Depth Anything's benchmark, and our figures against its eval.py, metric.py and eval_tae.py."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from miniature_files import picture, put, samples
from miniature_sets import MINIATURES

from depth_anything_ros.data.frame import DataError, LabeledImage
from depth_anything_ros.data.sets import find_set
from depth_anything_ros.data.video_benchmark import VIDEO_SETS
from depth_anything_ros.evaluation.predictions import ScoredModel
from depth_anything_ros.evaluation.protocol import SetRules
from depth_anything_ros.evaluation.protocol_files import find_protocol
from depth_anything_ros.evaluation.published import verdicts
from depth_anything_ros.evaluation.results import SetResult
from depth_anything_ros.evaluation.scored_sets import find_sets
from depth_anything_ros.evaluation.video import score_video
from depth_anything_ros.geometry.camera import Camera

VIDEO = find_protocol("video")


def test_frames_have_times_of_their_sequence(tmp_path):
    MINIATURES["video_kitti"](tmp_path / "video_kitti")
    (declared,) = find_sets(tmp_path, protocol=VIDEO)
    frames = [declared.read(tmp_path, name) for name in declared.frame_names(tmp_path)]
    assert [frame.time for frame in frames] == pytest.approx([0, 0.1, 0, 0.1])
    assert frames[0].image.shape == (32, 64, 3)  # depth has a row and a column more
    assert frames[0].pose is None
    texts = declared.missing(tmp_path, declared.frame_names(tmp_path))
    assert [text.partition(":")[0] for text in texts] == [
        "video_kitti has 4 frames, split 'validation, 500 frames' has 2806",
        "video_kitti has 2 videos, split 'validation, 500 frames' has 13",
    ]


def test_folders_of_the_benchmark_are_found(tmp_path):
    MINIATURES["video_bonn"](tmp_path / "bonn")
    MINIATURES["kitti"](tmp_path / "kitti")  # the set of protocol paper, without a list of videos
    (declared,) = find_sets(tmp_path, protocol=VIDEO)
    assert (declared.name, declared.folder(tmp_path)) == ("video_bonn", tmp_path / "bonn")


def test_poses_and_intrinsics_are_those_of_depth(tmp_path):
    """ScanNet's color is larger than its depth: the image is reduced, K and depth stay as they are."""
    root = tmp_path / "video_scannet_tae"
    MINIATURES[root.name](root)
    put(root / "scene0707_00/color_origin/11.jpg", picture(1, 65, 130))
    first, second = (find_set(root.name).read(root, f"scene0707_00/color_origin/{number}.jpg") for number in (10, 11))
    assert second.image.shape == first.image.shape == (32, 64, 3)
    assert second.camera == first.camera == Camera(64, 32, 577.6, 578.7, 318.9, 242.7)
    assert second.pose[0, 3] - first.pose[0, 3] == pytest.approx(0.01)
    assert second.time - first.time == pytest.approx(1 / 30)


def test_intrinsics_move_with_the_window(tmp_path):
    MINIATURES["video_nyuv2"](tmp_path)
    listing = tmp_path / "nyuv2_video_500.json"
    k = "[[500, 0, 60.5], [0, 510, 70], [0, 0, 1]]"
    listing.write_text(listing.read_text().replace('"factor"', f'"K": {k}, "factor"'))
    frame = find_set("video_nyuv2").read(tmp_path, "scene_0/rgb/0000.jpg")
    assert frame.camera == Camera(64, 32, 500, 510, 60.5 - 41, 70 - 45)


def test_only_the_frames_of_the_protocol_are_read(tmp_path):
    root = tmp_path / "video_scannet_tae"
    items = [{"image": f"s/c/{n}.jpg", "gt_depth": "d.png", "factor": 1000} for n in range(192)]
    put(root / "scannet_video_tae.json", json.dumps({"scannet": [{f"s{k}": renamed(items, k)} for k in range(23)]}))
    names = list(find_set(root.name).names(root))
    assert len(names) == 20 * 170
    assert (names[0], names[-1]) == ("s0/c/10.jpg", "s19/c/179.jpg")


def renamed(items: list[dict], number: int) -> list[dict]:
    return [item | {"image": f"s{number}{item['image'][1:]}"} for item in items]


@pytest.mark.parametrize(
    "content",
    [
        "[]",
        "{",
        '{"kitti": []}',
        '{"bonn": 3}',
        '{"bonn": [[]]}',
        '{"bonn": [{"s": [{"image": "a/b.png"}]}]}',
        '{"bonn": [{"s": [{"image": "a/b.png", "gt_depth": "d.png", "factor": 0}]}]}',
        '{"bonn": [{"s": [{"image": "a/b.png", "gt_depth": "d.png", "factor": 5000, "pose": [[1]]}]}]}',
    ],
)
def test_invalid_lists_are_named(tmp_path, content):
    put(tmp_path / "bonn_video_500.json", content)
    with pytest.raises(
        DataError, match=r"bonn_video_500\.json is not a list of 'bonn' as Video Depth Anything writes it"
    ):
        list(find_set("video_bonn").names(tmp_path))


def test_mistakes_of_frames_are_named(tmp_path):
    MINIATURES["video_bonn"](tmp_path)
    bonn, name = find_set("video_bonn"), "scene_0/rgb/0000.png"
    with pytest.raises(DataError, match=r"bonn_video_500\.json does not list scene_1/rgb/0009\.png"):
        bonn.read(tmp_path, "scene_1/rgb/0009.png")
    put(tmp_path / name, picture(0, 64, 64))
    with pytest.raises(DataError, match=r"0000\.png shows 64x32 pixels, its image is 64x64, another aspect ratio"):
        bonn.read(tmp_path, name)
    listing = tmp_path / "bonn_video_500.json"
    listing.write_text(listing.read_text().replace('"factor": 5000.0', '"factor": 5000.0, "K": [[1]]', 1))
    with pytest.raises(DataError, match=r"bonn_video_500\.json has no valid K of scene_0/rgb/0000\.png"):
        bonn.read(tmp_path, name)
    put(tmp_path / "scene_0/depth/0000.png", np.ones((4, 4), np.uint8))
    with pytest.raises(DataError, match=r"0000\.png: depth is uint8"):
        bonn.read(tmp_path, name)
    MINIATURES["video_nyuv2"](tmp_path / "nyuv2")
    put(tmp_path / "nyuv2/scene_0/depth/0000.png", samples(0, 1, 9))
    with pytest.raises(DataError, match=r"0000\.png is 64x32, smaller than the window of video_nyuv2"):
        find_set("video_nyuv2").read(tmp_path / "nyuv2", "scene_0/rgb/0000.jpg")


def test_protocol_scores_all_lists():
    assert [declared.name for declared in VIDEO_SETS] == [name for name in VIDEO.sets if name.startswith("video_")]
    counts = {declared.name: declared.count for declared in VIDEO_SETS}
    assert all(VIDEO.rules(name).split.count == count for name, count in counts.items())


# ---- the literal reference ----


def abs_relative_difference(output, target, valid_mask):
    difference = np.abs(output - target) / target
    difference[~valid_mask] = 0
    return (difference.sum((-1, -2)) / valid_mask.sum((-1, -2))).mean()


def rmse_linear(output, target, valid_mask):
    difference = output - target
    difference[~valid_mask] = 0
    return np.sqrt((difference**2).sum((-1, -2)) / valid_mask.sum((-1, -2))).mean()


def delta1_acc(output, target, valid_mask):
    inside = (np.maximum(output / target, target / output) < 1.25).astype(float)
    inside[~valid_mask] = 0
    return (inside.sum((-1, -2)) / valid_mask.sum((-1, -2))).mean()


def eval_depthcrafter(infs, gts, dataset_max_depth):
    """eval.py: the aligned depth of a sequence, and its measures."""
    gts = np.where(np.isnan(gts), -1, gts)
    valid_mask = np.logical_and(gts > 1e-3, gts < dataset_max_depth)
    gt_disp_masked = 1.0 / (gts[valid_mask].reshape((-1, 1)).astype(np.float64) + 1e-8)
    infs = np.clip(infs, 1e-3, None)
    pred_disp_masked = infs[valid_mask].reshape((-1, 1)).astype(np.float64)
    a = np.concatenate([pred_disp_masked, np.ones_like(pred_disp_masked)], axis=-1)
    scale, shift = np.linalg.lstsq(a, gt_disp_masked, rcond=None)[0]
    aligned_pred = np.clip(scale * infs + shift, 1e-3, None)
    pred_depth = np.clip(1.0 / aligned_pred, 1e-3, dataset_max_depth)
    metrics = abs_relative_difference, rmse_linear, delta1_acc
    with np.errstate(divide="ignore", invalid="ignore"):
        return pred_depth, [metric(pred_depth, gts, valid_mask) for metric in metrics]


def tae_torch(depth1, depth2, r_2_1, t_2_1, k):
    """eval_tae.py, with the order of its assignment fixed: from far to near, so that the nearest point stays."""
    height, width = depth1.shape
    fx, fy, cx, cy = k
    xx, yy = np.meshgrid(np.arange(width), np.arange(height))
    points3d = np.stack([((xx - cx) * depth1 / fx).ravel(), ((yy - cy) * depth1 / fy).ravel(), depth1.ravel()], axis=1)
    x, y, z = (points3d @ r_2_1.T + t_2_1).T
    columns, rows = np.round(x * fx / z + cx).astype(int), np.round(y * fy / z + cy).astype(int)
    valid = (columns >= 0) & (columns < width) & (rows >= 0) & (rows < height)
    order = np.argsort(-z[valid], kind="stable")
    proj = np.zeros((height, width))
    for row, column, depth in zip(rows[valid][order], columns[valid][order], z[valid][order], strict=True):
        proj[row, column] = depth
    both = (proj > 0) & (depth2 > 0)
    return np.mean(np.abs(depth2[both] - proj[both]) / depth2[both])


def eval_tae(pred_depth, k, poses):
    total = 0.0
    for i in range(len(pred_depth) - 1):
        t_2_1 = np.linalg.inv(poses[i + 1]) @ poses[i]
        t_1_2 = np.linalg.inv(t_2_1)
        total += tae_torch(pred_depth[i], pred_depth[i + 1], t_2_1[:3, :3], t_2_1[:3, 3], k)
        total += tae_torch(pred_depth[i + 1], pred_depth[i], t_1_2[:3, :3], t_1_2[:3, 3], k)
    return total / (2 * (len(pred_depth) - 1)) * 100


def video(scene: str, count: int, seed: int, high: float) -> tuple[list[LabeledImage], list[np.ndarray]]:
    """A sequence of a moving camera with random depth, and predictions of it; a tenth of the truth is unknown."""
    rng = np.random.default_rng(seed)
    frames, predictions = [], []
    for number in range(count):
        depth = rng.uniform(0.5, 1.2 * high, (24, 40)).astype(np.float32)
        prediction = 30 / depth * np.exp(0.1 * rng.standard_normal(depth.shape)) + 4
        depth[rng.random(depth.shape) < 0.1] = np.nan
        pose = np.eye(4)
        pose[:3, :3] = cv2.Rodrigues(0.02 * rng.standard_normal(3))[0]
        pose[:3, 3] = 0.05 * rng.standard_normal(3)
        image = np.full((24, 40, 3), (seed, number, 0), np.uint8)
        frames.append(LabeledImage(f"made/{scene}/{number}", image, depth, CAMERA, number / 10, pose))
        predictions.append(prediction)
    return frames, predictions


CAMERA = Camera(40, 24, 38.0, 37.0, 19.2, 11.9)


@pytest.mark.parametrize("set_name", [name for name in VIDEO.sets if not VIDEO.rules(name).crop])
def test_equals_video_depth_anything(set_name):
    """Two videos of different lengths: measures are means over the videos of their means over frames."""
    rules = VIDEO.rules(set_name)
    videos = [video("a", 3, 1, rules.max_depth), video("b", 5, 2, rules.max_depth)]
    known = {frame.image.tobytes(): p for frames, ps in videos for frame, p in zip(frames, ps, strict=True)}
    model = ScoredModel("net", lambda image: known[image.tobytes()], "inverse_depth")
    (row,) = score_video([model], [f for frames, _ in videos for f in frames], rules, lambda *_: None, pytest.fail)
    expected, taes = [], []
    for frames, predictions in videos:
        depth, measures = eval_depthcrafter(
            np.stack(predictions), np.stack([frame.depth for frame in frames]).astype(np.float64), rules.max_depth
        )
        expected.append(measures)
        taes.append(eval_tae(depth, (38.0, 37.0, 19.2, 11.9), [frame.pose for frame in frames]))
    ours = row.scores
    assert (ours.abs_rel, ours.rmse, ours.delta1) == pytest.approx(np.mean(expected, axis=0), rel=1e-6, abs=1e-6)
    assert row.tae == pytest.approx(np.mean(taes), rel=1e-6)
    assert row.values("abs_rel") == pytest.approx([measures[0] for measures in expected], rel=1e-6, abs=1e-6)


def test_temporal_error_is_inside_the_crop():
    """The border of ScanNet's images is black; nothing there counts, as the benchmark cuts it off."""
    rules = VIDEO.rules("video_scannet_tae")
    still = [np.full((60, 80), 2.0), np.full((60, 80), 2.0)]
    still[1][:8] = still[1][:, :11] = 5.0
    camera = Camera(80, 60, 70.0, 70.0, 39.5, 29.5)
    depth = np.full((60, 80), 2, np.float32)
    frames = [
        LabeledImage(f"s/{n}", np.full((60, 80, 3), n, np.uint8), depth, camera, n / 30, np.eye(4)) for n in range(2)
    ]
    model = ScoredModel("net", lambda image: still[image[0, 0, 0]], "depth")
    for crop, expected in (("scannet",), pytest.approx(0, abs=1e-9)), ((), pytest.approx(40, rel=0.9)):
        changed = SetRules(rules.alignment, rules.floor, rules.clip, crop, min_depth=1e-3, max_depth=10.0)
        _, meters = score_video([model], frames, changed, lambda *_: None, pytest.fail)
        assert meters.tae == expected
        assert (meters.tae > 1) == (crop == ())


def test_published_temporal_errors_are_compared():
    (row,) = score_video(
        [ScoredModel("video_depth_anything_vitl", lambda image: np.ones((24, 40)), "inverse_depth")],
        video("a", 2, 1, 10.0)[0],
        VIDEO.rules("video_scannet"),
        lambda *_: None,
        pytest.fail,
    )
    found = verdicts([SetResult("video_scannet_tae", "", 2, 2, [row])], VIDEO)
    assert len(found) == 1
    assert found[0].startswith("video_depth_anything_vitl on video_scannet_tae: TAE ")
    assert found[0].endswith("not reproduced")
    row.sequences["made/a"]["tae_percent"] = None  # a set without poses
    assert verdicts([SetResult("video_scannet_tae", "", 2, 2, [row])], VIDEO) == []


@pytest.mark.parametrize("name", [declared.name for declared in VIDEO_SETS])
def test_perfect_and_distorted_predictors(tmp_path, name):
    MINIATURES[name](tmp_path / name)
    (declared,) = find_sets(tmp_path, [name], protocol=VIDEO)
    frames = [declared.read(tmp_path, one) for one in declared.frame_names(tmp_path)]
    known = {frame.image.tobytes(): np.where(frame.valid, frame.depth, 3.0).astype(np.float64) for frame in frames}
    rules = whole(VIDEO.rules(name))
    for change, error in ((1.0, 0.0), (0.8, 0.2)):
        model = ScoredModel("net", lambda image, change=change: change * known[image.tobytes()], "depth")
        aligned, meters = score_video([model], frames, rules, lambda *_: None, pytest.fail)
        assert len(aligned.images) == len(frames)
        assert aligned.scores.abs_rel == pytest.approx(0, abs=1e-6)
        assert meters.scores.abs_rel == pytest.approx(error, abs=1e-6)


def whole(rules: SetRules) -> SetRules:
    """The rules without a crop, which is larger than a miniature."""
    return SetRules(rules.alignment, rules.floor, rules.clip, (), None, rules.min_depth, rules.max_depth)


def test_extracted_images_without_depth_beside_them_are_no_frames(tmp_path: Path):
    MINIATURES["video_sintel"](tmp_path)
    assert "scene_1/clean/0009.png" not in list(find_set("video_sintel").names(tmp_path))
