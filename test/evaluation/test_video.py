"""Video: one scale and shift for a sequence, on sequences with known scale and motion, and a set with poses."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from depth_anything_ros.data.frame import DataError, LabeledImage
from depth_anything_ros.data.sequence_sets import SEQUENCES
from depth_anything_ros.evaluation.obstacles import ObstacleOptions
from depth_anything_ros.evaluation.predictions import ScoredModel
from depth_anything_ros.evaluation.protocol import SetRules
from depth_anything_ros.evaluation.protocol_files import find_protocol
from depth_anything_ros.evaluation.scored_sets import find_sets
from depth_anything_ros.evaluation.scoring import score_models
from depth_anything_ros.evaluation.video import LineSums, score_video
from depth_anything_ros.geometry.camera import Camera

CAMERA = Camera(80, 60, 70.0, 70.0, 39.5, 29.5)
RULES = SetRules(floor=1e-3, clip=True, min_depth=1e-3, max_depth=10.0)


def truth(number: int) -> np.ndarray:
    return (np.linspace(1.0, 4.0, 80) * np.ones((60, 1)) + 0.2 * number).astype(np.float32)


def frames(scene: str, count: int = 4) -> list[LabeledImage]:
    images = [np.full((60, 80, 3), number, np.uint8) for number in range(count)]
    return [LabeledImage(f"{scene}/{n}", image, truth(n), CAMERA, n * 0.1, np.eye(4)) for n, image in enumerate(images)]


def rows(predict, sequence, output="inverse_depth", **options):
    model = ScoredModel("net", lambda image: predict(int(image[0, 0, 0])), output)
    return score_video([model], sequence, RULES, lambda *_: None, pytest.fail, **options)


def test_scale_that_all_frames_share_is_perfect():
    (row,) = rows(lambda number: 5 / truth(number) + 2, frames("made/a"))
    assert row.scores.abs_rel == pytest.approx(0, abs=1e-6)
    fitted = row.sequences["made/a"]
    assert (fitted["scale"], fitted["shift"], fitted["frames"]) == (pytest.approx(0.2), pytest.approx(-0.4), 4)


def test_scale_that_changes_between_frames_is_an_error_that_images_hide():
    def changing(number):
        return (1 + 0.2 * number) / truth(number)

    (row,) = rows(changing, frames("made/a"))
    assert row.scores.abs_rel > 0.05
    model = ScoredModel("net", lambda image: changing(int(image[0, 0, 0])), "inverse_depth")
    assert score_models([model], frames("made/a"))[0].scores.abs_rel == pytest.approx(0, abs=1e-6)


def test_each_sequence_has_its_own_scale():
    sequences = frames("made/a") + frames("made/b", 3)
    calls = []

    def predict(number):
        calls.append(number)
        return (1.0 if len(calls) <= 4 else 3.0) / truth(number)

    (row,) = rows(predict, sequences)
    assert row.scores.abs_rel == pytest.approx(0, abs=1e-6)
    assert list(row.sequences) == ["made/a", "made/b"]
    assert row.sequences["made/b"]["scale"] == pytest.approx(1 / 3)
    assert list(row.images) == [frame.name for frame in sequences]


def test_sums_give_the_line_of_all_pixels():
    rng = np.random.default_rng(2)
    sums, parts = LineSums(), [(1e4 + rng.normal(size=n), rng.uniform(1, 9, n)) for n in (1, 50, 700)]
    for x, depth in parts:
        sums.add(x, depth)
    x, depth = (np.concatenate(part) for part in zip(*parts, strict=True))
    slope, offset = np.polyfit(x - 1e4, 1 / depth, 1)
    assert sums.line == pytest.approx((slope, offset - slope * 1e4), rel=1e-6)
    constant = LineSums()
    constant.add(np.full(3, 7.0), np.array([1.0, 2.0, 4.0]))
    assert constant.line == (0.0, pytest.approx((1 + 0.5 + 0.25) / 3))


def test_temporal_alignment_error_and_meters():
    """A camera at rest: depth that alternates by 2 % has a TAE of 2 %; meters are not aligned."""
    still = [frame for frame in frames("made/a", 1) for _ in range(2)]
    pair = [LabeledImage(f"made/a/{n}", f.image, f.depth, CAMERA, n / 10, np.eye(4)) for n, f in enumerate(still)]
    calls = []

    def predict(number):
        calls.append(number)
        return truth(0) * (1.02 if len(calls) == 2 else 1.0)

    aligned, metric = rows(predict, pair, "depth", robot=ObstacleOptions())
    assert metric.sequences["made/a"]["tae_percent"] == pytest.approx(50 * (0.02 / 1.02 + 0.02), rel=1e-3)
    assert metric.tae == metric.sequences["made/a"]["tae_percent"]
    assert "scale" not in metric.sequences["made/a"]
    assert metric.scores.abs_rel == pytest.approx(0.01, rel=1e-3)
    assert metric.robot.values()["flicker_percent"] == pytest.approx(100 * np.log(1.02), rel=1e-3)
    assert aligned.scores.abs_rel == pytest.approx(0.01, abs=1e-3)


def put_sequence(root: Path, count: int = 3) -> Path:
    folder = root / "sevenscenes_redkitchen_30hz"
    folder.mkdir(parents=True)
    for number in range(count):
        stem = folder / f"frame-{number:06d}"
        cv2.imwrite(f"{stem}.color.jpg", np.full((24, 32, 3), 60 + number, np.uint8))
        cv2.imwrite(f"{stem}.depth.png", np.full((24, 32), 2000 + number, np.uint16))
        np.savetxt(f"{stem}.pose.txt", np.eye(4) + np.eye(4, k=3) * 0.1 * number)
    return folder


def test_sequence_set_has_times_and_poses(tmp_path):
    folder = put_sequence(tmp_path)
    (declared,) = find_sets(tmp_path, protocol=find_protocol("video"))
    read = [declared.read(tmp_path, name) for name in declared.frame_names(tmp_path)]
    assert [frame.time for frame in read] == pytest.approx([0, 1 / 30, 2 / 30])
    assert read[2].pose[0, 3] == pytest.approx(0.2)
    assert read[1].depth[0, 0] == pytest.approx(2.001)
    pose = folder / "frame-000001.pose.txt"
    unreadable = "cannot read the pose"
    for content, message in (
        ("1 0 0 0\n" * 4, "is not the pose of a camera"),
        ("x", unreadable),
        (None, unreadable),
    ):
        pose.unlink() if content is None else pose.write_text(content)
        with pytest.raises(DataError, match=message) as caught:
            declared.read(tmp_path, "frame-000001.color.jpg")
        assert str(pose) in str(caught.value)


def test_real_sequence_moves_a_little_between_frames(shared):
    (declared,) = SEQUENCES
    folder = shared / "data" / declared.name
    names = list(declared.names(folder))
    first, second = (declared.read(folder, name) for name in names[:2])
    assert len(names) == 200
    assert second.time - first.time == pytest.approx(1 / 30)
    assert np.linalg.norm(second.pose[:3, 3] - first.pose[:3, 3]) < 0.05
