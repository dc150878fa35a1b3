"""An interrupted evaluation goes on, with bitwise equal scores, and never with those of another model or rule."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from depth_anything_ros.data.frame import DataError, LabeledImage
from depth_anything_ros.evaluation.baselines import constant
from depth_anything_ros.evaluation.obstacles import ObstacleOptions
from depth_anything_ros.evaluation.options import EvaluationOptions
from depth_anything_ros.evaluation.predictions import ScoredModel
from depth_anything_ros.evaluation.protocol import SetRules
from depth_anything_ros.evaluation.results import Row
from depth_anything_ros.evaluation.resume import CHUNK, ScoreStore, fingerprint_of, score_resumable, units_of
from depth_anything_ros.evaluation.scoring import score_models
from depth_anything_ros.geometry.camera import Camera

NAMES = [str(number) for number in range(CHUNK + 4)]
RULES = SetRules(max_depth=8.0)


def frame(name: str) -> LabeledImage:
    depth = np.random.default_rng(int(name)).uniform(1, 9, (12, 16)).astype(np.float32)
    return LabeledImage(f"made/{name}", np.full((12, 16, 3), int(name), np.uint8), depth)


def predict(image: np.ndarray) -> np.ndarray:
    return np.random.default_rng(1000 + int(image[0, 0, 0])).uniform(0.1, 1, image.shape[:2]).astype(np.float32)


def models(factor: float = 1.0) -> list[ScoredModel]:
    meters = ScoredModel("meters", lambda image: factor * (1 + predict(image)), "depth")
    return [
        ScoredModel("net", predict, "inverse_depth"),
        meters,
        ScoredModel("constant", constant, "inverse_depth", True),
    ]


class Reader:
    """Reads frames, counts them, and may break or leave frames out."""

    def __init__(self, breaks_at: str | None = None) -> None:
        self.read: list[str] = []
        self._breaks_at = breaks_at

    def __call__(self, names):
        for name in names:
            if name == self._breaks_at:
                raise KeyboardInterrupt
            self.read.append(name)
            yield frame(name)


def resumed(
    folder: Path, reader: Reader, factor: float = 1.0, rules: SetRules = RULES, stamp: str = "", workers: int = 1
):
    chosen = models(factor)
    store = ScoreStore(folder, fingerprint_of(chosen, frame("0"), rules), lambda name: stamp)
    return score_resumable(units_of(NAMES, False), reader, scorer(chosen, rules, workers), store, pytest.fail)[""]


def scorer(chosen: list[ScoredModel], rules: SetRules, workers: int = 1):
    return lambda frames, on_left_out: {"": score_models(chosen, frames, rules, None, on_left_out, workers)}


def values(rows: list[Row]) -> list:
    return [(row.model, row.aligned, row.images, row.scores, row.uncorrected) for row in rows]


@pytest.mark.parametrize("workers", [1, 3])
def test_interrupted_evaluation_goes_on_with_equal_scores(tmp_path, workers):
    whole = score_models(models(), map(frame, NAMES), RULES)
    with pytest.raises(KeyboardInterrupt):
        resumed(tmp_path, Reader(breaks_at=NAMES[CHUNK + 2]))
    reader = Reader()
    rows = resumed(tmp_path, reader, workers=workers)
    assert reader.read == NAMES[CHUNK:]  # the first chunk is known
    assert values(rows) == values(whole)
    reader = Reader()
    assert values(resumed(tmp_path, reader)) == values(whole)
    assert reader.read == []


def test_scores_of_other_models_rules_and_files_are_not_used(tmp_path):
    resumed(tmp_path, Reader())
    for change in ({"factor": 1.5}, {"rules": replace(RULES, max_depth=7.0)}, {"stamp": "changed"}):
        reader = Reader()
        resumed(tmp_path, reader, **change)
        assert reader.read == NAMES, change


def test_scores_of_another_truth_are_not_used():
    """Another topic of a bag, or another scale of depth, changes the truth but no file."""
    first = frame("0")
    prints = {
        fingerprint_of(models(), seen, RULES)
        for seen in (first, replace(first, depth=2 * first.depth), replace(first, camera=Camera(16, 12, 9, 9, 8, 6)))
    }
    assert len(prints) == 3
    assert fingerprint_of(models(), frame("0"), RULES) in prints


def test_damaged_files_are_scored_again(tmp_path):
    whole = values(resumed(tmp_path, Reader()))
    first, second, *_ = sorted(tmp_path.glob("*.json"))
    first.write_bytes(first.read_bytes()[:20])
    second.write_text(json.dumps({"not": "a list"}))
    reader = Reader()
    assert values(resumed(tmp_path, reader)) == whole
    assert len(reader.read) == 2
    assert not list(tmp_path.glob(".*"))


def test_frames_that_cannot_be_scored_are_tried_again(tmp_path):
    chosen, said = models()[:1], []
    rules = SetRules(max_depth=0.5)
    store = ScoreStore(tmp_path, "f", lambda name: "")
    with pytest.raises(ValueError, match="nothing to evaluate"):
        score_resumable(units_of(NAMES[:2], False), Reader(), scorer(chosen, rules), store, said.append)
    assert said == [f"made/{name}: no pixel with known depth is left to score" for name in "01"]
    assert not list(tmp_path.glob("*"))


def test_options_that_need_predictions_are_refused(tmp_path):
    for options in ({"robot": ObstacleOptions()}, {"pictures": tmp_path}, {"gallery": True}):
        with pytest.raises(ValueError, match="resume keeps scores, not depth"):
            EvaluationOptions(resume=tmp_path, **options)
    for protocol in ("da2k", "segmentation"):
        with pytest.raises(ValueError, match=f"protocol {protocol} cannot be resumed"):
            EvaluationOptions(protocol=protocol, resume=tmp_path)
    with pytest.raises(DataError):
        fingerprint_of([ScoredModel("bad", lambda image: np.full((12, 16), np.nan), "depth")], frame("0"), RULES)
