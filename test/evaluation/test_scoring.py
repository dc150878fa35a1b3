"""Masks, alignment and means; baselines; and the reports."""

from __future__ import annotations

import json
import time
from dataclasses import asdict, replace

import numpy as np
import pytest

from depth_anything_ros.data.frame import DataError, LabeledImage
from depth_anything_ros.evaluation.baselines import BASELINES, constant, vertical_gradient
from depth_anything_ros.evaluation.comparison import comparisons
from depth_anything_ros.evaluation.metrics import Scores, score_depth
from depth_anything_ros.evaluation.panels import FirstFrame
from depth_anything_ros.evaluation.predictions import Predict, ScoredModel, predict
from depth_anything_ros.evaluation.protocol import SetRules
from depth_anything_ros.evaluation.protocol_files import find_protocol
from depth_anything_ros.evaluation.report import json_report, markdown_report, text_report
from depth_anything_ros.evaluation.results import SetResult
from depth_anything_ros.evaluation.scoring import score_models
from depth_anything_ros.geometry.camera import Camera
from depth_anything_ros.runtime.errors import ModelError
from depth_anything_ros.visualization import captions

FULL = find_protocol("full")


def frame_of(depth: np.ndarray, name: str = "made/0") -> LabeledImage:
    height, width = depth.shape
    image = np.zeros((height, width, 3), np.uint8)
    return LabeledImage(name, image, depth.astype(np.float32), Camera(width, height, 50, 50, width / 2, height / 2))


@pytest.fixture
def room() -> LabeledImage:
    depth = np.random.default_rng(1).uniform(1, 6, (24, 32))
    depth[:3] = np.nan
    return frame_of(depth)


def scores_of(predict: Predict, frames: list[LabeledImage], output: str = "inverse_depth") -> Scores:
    """The mean scores of one predictor, aligned."""
    return score_models([ScoredModel("predictor", predict, output)], frames)[0].scores


def as_inverse(frame: LabeledImage) -> np.ndarray:
    """The truth as output of a relative model: inverse, with arbitrary scale and shift, without holes."""
    return 30 / np.nan_to_num(frame.depth, nan=3.0) + 7


def test_relative_prediction_up_to_scale_and_shift_is_perfect(room):
    scores = scores_of(lambda image: as_inverse(room), [room])
    assert scores.abs_rel == pytest.approx(0, abs=1e-6)
    assert scores.delta1 == 1


def test_metric_prediction_is_scored_aligned_and_unaligned(room):
    """Depth of the right shape and half the size is perfect once aligned, and half wrong as it is."""
    half = ScoredModel("half", lambda image: np.nan_to_num(room.depth, nan=1.0) / 2, "depth")
    aligned, as_is = score_models([half], [room])
    assert (aligned.aligned, as_is.aligned) == (True, False)
    assert aligned.scores.abs_rel == pytest.approx(0, abs=1e-6)
    assert as_is.scores.abs_rel == pytest.approx(0.5, abs=1e-6)
    assert as_is.scores.delta1 == 0


def test_non_positive_metric_depth_is_scored_as_nearest(room):
    as_is = score_models([ScoredModel("zero", lambda image: np.zeros((24, 32)), "depth")], [room])[1]
    assert as_is.scores.abs_rel == pytest.approx(1, abs=0.01)
    assert np.isfinite(as_is.scores.silog)


def test_pixels_with_unknown_depth_are_ignored(room):
    """Any nonsense where depth is unknown changes nothing."""
    scores = []
    for nonsense in (0.0, 1e6):
        prediction = as_inverse(room) + np.random.default_rng(2).normal(0, 1, (24, 32))
        prediction[:3] = nonsense
        scores.append(scores_of(lambda image, prediction=prediction: prediction, [room]))
    assert scores[0] == scores[1]


def test_every_image_has_equal_weight():
    """One image of few known pixels weighs as much as one of many."""
    depth = np.random.default_rng(3).uniform(1, 6, (20, 20))
    sparse = np.where(np.arange(400).reshape(20, 20) < 40, depth, np.nan)
    frames = [frame_of(depth, "made/full"), frame_of(sparse, "made/sparse")]
    separate = [scores_of(constant, [frame]) for frame in frames]
    assert scores_of(constant, frames) == Scores.mean(separate)


def test_crop_and_range_select_pixels():
    depth = np.full((480, 640), 2.0)
    depth[100, 100] = 11.0
    depth[44, 300] = 3.0
    mask = SetRules(crop=("eigen",), min_depth=1e-3, max_depth=10.0).mask(frame_of(depth))
    assert mask.sum() == (471 - 45) * (601 - 41) - 1
    assert not mask[100, 100]
    assert not mask[44, 300]
    with pytest.raises(DataError, match="made/0: no pixel with known depth"):
        SetRules(min_depth=20.0, max_depth=30.0).mask(frame_of(depth))


@pytest.mark.parametrize(
    ("prediction", "message"),
    [
        (np.ones((24, 31)), r"predicted \(24, 31\) for made/0, expected \(24, 32\)"),
        (np.full((24, 32), np.nan), "not finite for made/0"),
    ],
)
def test_invalid_predictions_are_named(room, prediction, message):
    with pytest.raises(DataError, match=message):
        scores_of(lambda image: prediction, [room])


def test_frame_that_one_model_fails_is_excluded_for_all(room):
    """Else means would be over different images."""

    def fails_on_the_second(image):
        numbers.append(1)
        if len(numbers) == 3:
            raise ModelError("out of order")
        return np.full((24, 32), np.nan) if len(numbers) == 2 else as_inverse(room)

    numbers, said = [], []
    models = [
        ScoredModel("constant", constant, "inverse_depth"),
        ScoredModel("half", fails_on_the_second, "inverse_depth"),
    ]
    frames = [replace(room, name=f"made/{number}") for number in range(4)]
    rows = score_models(models, frames, on_left_out=said.append)
    assert [list(row.images) for row in rows] == [["made/0", "made/3"]] * 2
    assert said == [
        "half predicted values that are not finite for made/1",
        "half failed on made/2: out of order",
    ]


def test_time_of_prediction_is_without_loading(room):
    """The graph for a size is loaded when its first image comes. Of one frame, the time would be that of loading."""

    def load(height, width):
        loaded.append((height, width))
        time.sleep(0.1)

    loaded = []
    model = ScoredModel("net", constant, "inverse_depth", load=load)
    assert predict(model, room).seconds < 0.1
    assert loaded == [(24, 32)]

    def fail(height, width):
        raise ModelError("no memory")

    with pytest.raises(DataError, match="net failed on made/0: no memory"):
        predict(replace(model, load=fail), room)


def test_empty_evaluation_raises(room):
    with pytest.raises(ValueError, match="nothing to evaluate"):
        scores_of(constant, [])
    with pytest.raises(ValueError, match="must be 'inverse_depth' or 'depth'"):
        scores_of(constant, [room], "disparity")


def test_constant_is_scored_at_mean_inverse_depth(room):
    true = room.depth[room.valid]
    expected = score_depth(np.full(true.shape, 1 / np.mean(1 / true.astype(np.float64))), true)
    assert asdict(scores_of(constant, [room])) == pytest.approx(asdict(expected))


def test_constant_is_perfect_on_wall_and_gradient_on_floor():
    wall = frame_of(np.full((30, 40), 2.5))
    assert scores_of(constant, [wall]).delta1 == 1
    rows = np.arange(30)[:, None] + np.zeros((1, 40))
    with np.errstate(divide="ignore"):
        floor = np.where(rows > 8, 50 * 1.5 / (rows - 8), np.nan)  # camera 1.5 m above it, horizon in row 8
    floor = frame_of(floor)
    gradient = scores_of(vertical_gradient, [floor])
    assert gradient.abs_rel == pytest.approx(0, abs=1e-5)
    assert scores_of(constant, [floor]).delta1 < 0.5


@pytest.fixture
def result(room) -> SetResult:
    models = [
        ScoredModel("exact", lambda image: as_inverse(room), "inverse_depth"),
        ScoredModel("half", lambda image: np.nan_to_num(room.depth, nan=1.0) / 2, "depth"),
        *(ScoredModel(name, predict, "inverse_depth", True) for name, predict in BASELINES.items()),
    ]
    return SetResult("made", "none", 1, 5, score_models(models, [room]))


def test_text_report_has_a_line_for_every_row(result):
    text = text_report([result, replace(result, name="again")], FULL)
    assert "made: 1 of 5 frames; none" in text
    for title in ("exact", "half", "half (meters as they are)", "constant", "vertical gradient"):
        # Once in each set and once in the mean.
        assert sum(line.startswith(f"{title}  ") for line in text.splitlines()) == 3, title
    assert "mean over 2 sets" in text
    assert "exact beats constant on 2 of 2 sets in AbsRel and 2 in δ1" in text


def test_comparisons_count_losses_too(result):
    flipped = [replace(row, is_baseline=not row.is_baseline) for row in result.rows]
    (sentence, *_) = comparisons([replace(result, rows=flipped)])
    assert sentence.startswith("constant beats exact on 0 of 1 sets in AbsRel and 0 in δ1")


def test_markdown_report_marks_best_value(result):
    lines = markdown_report([result], FULL).splitlines()
    assert lines[0] == "| AbsRel ↓ / δ1 ↑ | frames | exact | half | constant | vertical gradient |"
    assert lines[2].startswith("| made | 1 | ")
    assert "**1.000**" in lines[2]
    assert len(lines) == 3
    assert all(line.count("|") == lines[0].count("|") for line in lines)
    assert markdown_report([result, result], FULL).splitlines()[-1].startswith("| **mean over the sets** |")


def test_json_report_contains_every_image(result):
    report = json.loads(json.dumps(json_report([result], FULL, {"exact": {}})))
    (made,) = report["sets"]
    rows = {(row["contender"], row["aligned"]): row for row in made["rows"]}
    assert rows[("half", False)]["images"]["made/0"]["abs_rel"] == pytest.approx(0.5, abs=1e-6)
    assert rows[("half", False)]["scores"] == rows[("half", False)]["images"]["made/0"]
    assert report["mean"]["constant"] == rows[("constant", True)]["scores"]
    assert rows[("constant", True)]["baseline"]


def test_first_frame_image_shows_each_model(room):
    first = FirstFrame()
    models = [
        ScoredModel("exact", lambda image: as_inverse(room), "inverse_depth"),
        ScoredModel("constant", constant, "inverse_depth", True),
    ]
    later = frame_of(np.random.default_rng(9).uniform(1, 6, (24, 32)), "made/1")
    score_models(models, [room, later], on_prediction=first.add)
    picture = first.picture()
    width, panel = 480, round(24 * 480 / 32)
    row = panel + captions.LINE  # a panel and, below it, its title
    assert picture.shape == (2 * row, 4 * width, 3)
    error_of_exact, error_of_constant = (picture[top : top + panel, 3 * width :] for top in (0, row))
    known = slice(100, None)  # the top eighth of the room is unknown, and black
    assert len(np.unique(error_of_exact[known].reshape(-1, 3), axis=0)) == 1
    assert len(np.unique(error_of_constant[known].reshape(-1, 3), axis=0)) > 10
    assert not error_of_exact[:40].any()
