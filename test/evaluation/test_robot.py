"""What a robot needs to know, from frames to the report; and that nothing depends on threads."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from depth_anything_ros.data.frame import LabeledImage
from depth_anything_ros.evaluation.obstacles import ObstacleOptions
from depth_anything_ros.evaluation.predictions import ScoredModel
from depth_anything_ros.evaluation.protocol_files import find_protocol
from depth_anything_ros.evaluation.report import json_report, markdown_report, text_report
from depth_anything_ros.evaluation.results import Row, SetResult
from depth_anything_ros.evaluation.robot import RobotReport, robot_frame
from depth_anything_ros.evaluation.scoring import score_models
from depth_anything_ros.geometry.camera import Camera

CAMERA = Camera(80, 60, 70.0, 70.0, 39.5, 29.5)
MASK = np.ones((60, 80), bool)


def sequence(count: int = 6) -> list[LabeledImage]:
    """A camera at rest before a slope; each image tells its number."""
    depth = np.linspace(1.0, 5.0, 80, dtype=np.float32) * np.ones((60, 1), np.float32)
    depth[:2] = np.nan
    return [
        LabeledImage(f"made/{i}", np.full((60, 80, 3), i, np.uint8), depth, CAMERA, i * 0.1, np.eye(4))
        for i in range(count)
    ]


def meters(factor_of, name: str = "model") -> ScoredModel:
    """A model of meters that errs by a factor for each image number."""
    depth = np.nan_to_num(sequence()[0].depth, nan=1.0)
    return ScoredModel(name, lambda image: depth * np.float32(factor_of(int(image[0, 0, 0]))), "depth")


def rows(factor_of, workers: int = 1) -> list[Row]:
    return score_models([meters(factor_of)], sequence(), workers=workers, robot=ObstacleOptions())


def test_perfect_meters_are_perfect_for_robots():
    for row in rows(lambda number: 1.0):
        values = row.robot.values()
        assert values["obstacles"]["missed_rate"] == values["obstacles"]["false_rate"] == 0
        assert values["scale_drift_percent_per_minute"] == pytest.approx(0, abs=1e-3)
        assert values["flicker_percent"] == pytest.approx(0, abs=1e-4)
        assert values["abs_rel_by_range"][1:3] == pytest.approx([0, 0], abs=1e-6)
        assert values["abs_rel_by_range"][5] is None


def test_known_distortions_have_their_closed_form():
    """Depth that shrinks by 1 % a frame at 10 Hz: the scale that corrects it grows by 0.99^-600 a minute."""
    aligned, as_is = (row.robot.values() for row in rows(lambda number: 0.99**number))
    expected = 100 * (0.99**-600 - 1)
    assert as_is["scale_drift_percent_per_minute"] == pytest.approx(expected, rel=1e-3)
    assert as_is["flicker_percent"] == pytest.approx(-100 * np.log(0.99), rel=1e-4)
    assert as_is["scale_spread_percent"] == pytest.approx(-100 * np.log(0.99) * np.std(range(6)), rel=1e-4)
    bias = np.mean([number * np.log(0.99) for number in range(6)])
    assert as_is["bias_by_range"][1:3] == pytest.approx([bias] * 2, rel=1e-4)
    assert aligned["flicker_percent"] == pytest.approx(0, abs=1e-3)  # each frame is aligned


def test_obstacles_of_wrong_depth():
    nearer, farther = (rows(lambda number, factor=factor: factor)[1].robot.values() for factor in (0.7, 1.4))
    assert nearer["obstacles"]["false_rate"] > 0.9
    assert nearer["obstacles"]["missed_rate"] == 0 or nearer["obstacles"]["missed_rate"] is None
    assert farther["obstacles"]["missed_rate"] > 0.9
    assert sum(farther["obstacles"]["voxels"]["false"]) == 0


def test_means_are_over_frames_not_voxels():
    """One frame with many obstacles and one with few weigh the same."""
    full, few = sequence(2)
    few = replace(few, depth=np.where(np.arange(80) < 4, few.depth, np.nan).astype(np.float32))
    report = RobotReport(ObstacleOptions())
    for frame, factor in ((full, 1.0), (few, 2.0)):
        mask = np.isfinite(frame.depth)
        report.add(robot_frame(np.nan_to_num(frame.depth, nan=1.0) * factor, frame, mask, report.options))
    assert report.values()["obstacles"]["missed_rate"] == pytest.approx(0.5)


@pytest.mark.parametrize("workers", [2, 5])
def test_results_do_not_depend_on_workers(workers):
    def result(count: int) -> str:
        result = SetResult("made", "none", 6, 6, rows(lambda number: 1 + 0.1 * np.sin(number), count))
        for row in result.rows:
            row.seconds = [0.01] * 6
        return json.dumps(json_report([result], find_protocol("full"), {}))

    assert result(1) == result(workers)


def test_report_has_a_section_for_robots():
    full = find_protocol("full")
    result = SetResult("made", "none", 6, 6, rows(lambda number: 0.9))
    for text in (text_report([result], full), markdown_report([result], full)):
        assert "## For robots" in text
        assert "Voxels of 5 cm, occupied by 1 or more points." in text
        assert "| model (meters as they are), too far by | – | -10.0 % | -10.0 % | -10.0 % | – | – | – |" in text
        assert "from 32 m" in text
    values = json_report([result], full, {})["sets"][0]["rows"][0]["for_robots"]
    assert json.loads(json.dumps(values))["latency_milliseconds"]["median"] > 0
    plain = SetResult("made", "none", 6, 6, score_models([meters(lambda number: 1.0)], sequence()))
    assert "robot" not in markdown_report([plain], full)
    assert "for_robots" not in json_report([plain], full, {})["sets"][0]["rows"][0]


def test_sets_without_camera_or_time_have_fewer_values():
    frames = [replace(frame, camera=None) for frame in sequence(2)]
    row, _ = score_models([meters(lambda number: 1.0)], frames, robot=ObstacleOptions())
    values = row.robot.values()
    assert values["obstacles"] is values["flicker_percent"] is values["scale_drift_percent_per_minute"] is None
    assert values["abs_rel_by_range"][1] == pytest.approx(0, abs=1e-6)
    assert "| – | – |" in markdown_report([SetResult("made", "none", 2, 2, [row])], find_protocol("full"))
