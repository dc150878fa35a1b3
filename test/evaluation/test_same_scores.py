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

PARTS = [("moge", MOGE, 1, 2), ("completion", VOID, 1, 3), ("video", "video_kitti", 2, 2)]
PARTS.append(("video", "video_scannet_tae", 2, 1))
"""Protocol, set, frames of the first part, and files of the whole set: one for each frame or video."""


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


def identity(path: Path) -> tuple[int, int]:
    """Return what changes if a file is written again; reading it changes its time of access."""
    status = path.stat()
    return status.st_ino, status.st_mtime_ns


@pytest.mark.parametrize(("protocol", "name", "frames", "units"), PARTS)
def test_resumed_scores_are_equal(tmp_path, protocol, name, frames, units):
    """A first part, then all of it, then all from the folder."""
    whole = scores(tmp_path, protocol, name)
    kept = tmp_path / "kept"
    part = scores(tmp_path, protocol, name, resume=kept, order=slice(0, frames))
    files = {path.name: identity(path) for path in kept.iterdir()}
    assert len(files) == 1
    assert (part == whole) == (units == 1)
    assert scores(tmp_path, protocol, name, resume=kept) == whole
    assert all(identity(kept / name) == before for name, before in files.items())  # the first part was taken
    assert len(list(kept.iterdir())) == units
    calls: list[str] = []
    counting = replace(NET, predict=lambda image: calls.append("") or predict(image))
    assert scores(tmp_path, protocol, name, models=(counting, OTHER), resume=kept, workers=3) == whole
    assert len(calls) == 1  # for the fingerprint


def test_videos_with_a_damaged_frame_are_not_kept(tmp_path):
    SCORED["video_kitti"](tmp_path / "video_kitti")
    damaged = tmp_path / "video_kitti/scene_1/depth/0001.png"
    content = damaged.read_bytes()
    damaged.write_bytes(content[:40])
    without = scores(tmp_path, "video", "video_kitti", resume=tmp_path / "kept")
    assert len(list((tmp_path / "kept").iterdir())) == 1
    assert without == scores(tmp_path, "video", "video_kitti")
    damaged.write_bytes(content)
    assert scores(tmp_path, "video", "video_kitti", resume=tmp_path / "kept") == scores(
        tmp_path, "video", "video_kitti"
    )
    assert len(list((tmp_path / "kept").iterdir())) == 2


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
