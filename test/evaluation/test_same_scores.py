"""Scores of the sets of protocols are bitwise equal, whatever the workers, order, batch and interruptions."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
from miniature_scored import SCORED

from depth_anything_ros.evaluation.options import EvaluationOptions
from depth_anything_ros.evaluation.page import Gallery
from depth_anything_ros.evaluation.predictions import ScoredModel
from depth_anything_ros.evaluation.protocol import SetRules
from depth_anything_ros.evaluation.protocol_files import find_protocol
from depth_anything_ros.evaluation.results import Row
from depth_anything_ros.evaluation.scored_sets import EvaluationSet, find_sets
from depth_anything_ros.evaluation.set_evaluation import evaluate_set

MOGE, VOID = "moge_ibims1", "void_150"
CASES = [("moge", MOGE), ("completion", VOID), ("video", "video_kitti"), ("video", "video_scannet_tae")]


def predict(image: np.ndarray) -> np.ndarray:
    """Random values that follow from the image alone."""
    seed = int(image.astype(np.int64).sum() % 2**31)
    return np.random.default_rng(seed).uniform(0.1, 1, image.shape[:2]).astype(np.float32)


NET = ScoredModel("net", predict, "inverse_depth")
OTHER = ScoredModel("meters", lambda image: 1 + 3 * predict(image), "depth")


@dataclass(frozen=True)
class Ordered(EvaluationSet):
    """A set whose frames come in another order."""

    order: slice | None = None

    def frame_names(self, root: Path) -> list[str]:
        return super().frame_names(root)[self.order or slice(None)]


def found(root: Path, protocol: str, name: str) -> tuple[EvaluationSet, SetRules]:
    if not (root / name).exists():
        SCORED[name](root / name)
    (declared,) = find_sets(root, [name], protocol=find_protocol(protocol))
    rules = replace(find_protocol(protocol).rules(name), crop=())  # miniatures are smaller than the border
    if rules.resize is not None:
        rules = replace(rules, resize=(80, 60))
        declared = replace(declared, source=replace(declared.source, size=rules.resize))
    return declared, rules


def scores(root: Path, protocol: str, name: str, models=(NET, OTHER), order=None, **options) -> dict:
    """All scores by pattern, model and image, and what belongs to a sequence."""
    declared, rules = found(root, protocol, name)
    if order is not None:
        declared = Ordered(**vars(declared), order=order)
    chosen = EvaluationOptions(protocol=protocol, baselines=False, warn=lambda text: None, **options)
    results = evaluate_set(declared, root, list(models), rules, chosen, Gallery())
    return {(result.variant, row.model, row.aligned): values(row) for result in results for row in result.rows}


def values(row: Row) -> tuple:
    return dict(sorted(row.images.items())), dict(sorted(row.sequences.items())), row.uncorrected


@pytest.mark.parametrize(("protocol", "name"), CASES)
def test_workers_do_not_matter(tmp_path, protocol, name):
    assert scores(tmp_path, protocol, name, workers=3) == scores(tmp_path, protocol, name)


@pytest.mark.parametrize(("protocol", "name"), CASES)
def test_order_of_models_and_their_company_do_not_matter(tmp_path, protocol, name):
    both = scores(tmp_path, protocol, name)
    assert scores(tmp_path, protocol, name, models=(OTHER, NET)) == both
    alone = scores(tmp_path, protocol, name, models=(NET,))
    assert alone.items() <= both.items()
    assert any(model == "net" for _, model, _ in alone)


@pytest.mark.parametrize(("protocol", "name"), [case for case in CASES if case[0] != "video"])
def test_order_of_frames_does_not_matter(tmp_path, protocol, name):
    assert scores(tmp_path, protocol, name, order=slice(None, None, -1)) == scores(tmp_path, protocol, name)


def test_order_of_videos_does_not_matter(tmp_path):
    both = scores(tmp_path, "video", "video_kitti")
    first = scores(tmp_path, "video", "video_kitti", order=slice(0, 2))
    second = scores(tmp_path, "video", "video_kitti", order=slice(2, 4))
    for key, (images, sequences, _) in both.items():
        assert images == first[key][0] | second[key][0]
        assert sequences == first[key][1] | second[key][1]


def test_resumed_scores_of_the_bundle_are_equal(tmp_path):
    """Half of the frames, then all of them, then all from the folder."""
    whole = scores(tmp_path, "moge", MOGE)
    kept = tmp_path / "kept"
    half = scores(tmp_path, "moge", MOGE, resume=kept, order=slice(0, 1))
    files = {path.name: path.read_bytes() for path in kept.iterdir()}
    assert len(files) == 1
    assert half != whole
    assert scores(tmp_path, "moge", MOGE, resume=kept) == whole
    assert {name: (kept / name).read_bytes() for name in files} == files  # the first half was taken
    assert scores(tmp_path, "moge", MOGE, resume=kept, workers=3) == whole
    assert len(list(kept.iterdir())) == 2


@pytest.mark.parametrize("name", [MOGE, "moge_gso"])
def test_meters_are_scored_as_they_are_only_where_depth_has_a_unit(tmp_path, name):
    found = [key[1:] for key in scores(tmp_path, "moge", name)]
    assert found == [("net", True), ("meters", True), *([("meters", False)] if name == MOGE else [])]


def test_a_changed_sample_is_scored_again(tmp_path):
    kept = tmp_path / "kept"
    before = scores(tmp_path, "moge", MOGE, resume=kept)
    meta = tmp_path / MOGE / "livingroom_14" / "meta.json"
    meta.write_text(meta.read_text().replace("0.52", "0.56"))
    after = scores(tmp_path, "moge", MOGE, resume=kept)
    assert after == scores(tmp_path, "moge", MOGE)
    assert after != before
