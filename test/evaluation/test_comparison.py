"""Which model is better, in words, and published numbers beside measured ones."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from depth_anything_ros.data.frame import LabeledImage
from depth_anything_ros.evaluation.comparison import difference_in_words, model_pairs
from depth_anything_ros.evaluation.metrics import score_depth
from depth_anything_ros.evaluation.pairs import PairScores
from depth_anything_ros.evaluation.predictions import ScoredModel
from depth_anything_ros.evaluation.protocol_files import find_protocol
from depth_anything_ros.evaluation.published import published_markdown, verdicts
from depth_anything_ros.evaluation.report import json_report, markdown_report, text_report
from depth_anything_ros.evaluation.results import Row, SetResult
from depth_anything_ros.evaluation.scoring import score_models

FULL, PAPER = find_protocol("full"), find_protocol("paper")
RNG = np.random.default_rng(5)
HARD = RNG.uniform(0.05, 0.4, 60)


def row(model: str, errors: np.ndarray, aligned: bool = True) -> Row:
    """A row whose images have these AbsRel."""
    found = Row(model, aligned, False)
    for number, error in enumerate(errors):
        found.add(str(number), score_depth(np.array([1.0 + error]), np.array([1.0])), 0.01)
    return found


def result(*rows: Row, name: str = "made") -> SetResult:
    frames = len(rows[0].images)
    return SetResult(name, "none", frames, frames, list(rows))


def test_better_model_is_named_with_its_lead():
    both = result(row("worse", HARD + 0.012 + RNG.normal(0, 0.01, 60)), row("better", HARD))
    ((better, other, scores, difference, sets),) = model_pairs([both])
    assert (better, other, sets) == ("better", "worse", 1)
    assert difference.mean == pytest.approx(-0.012, abs=0.004)
    sentence = difference_in_words(better, other, scores, difference, sets)
    lead, low, high = f"{-difference.mean:.3f}", f"{-difference.interval.high:.3f}", f"{-difference.interval.low:.3f}"
    assert sentence == f"better beats worse by {lead} AbsRel (95 %: {low} to {high})"
    assert sentence in text_report([both], FULL)
    assert f"- {sentence}" in markdown_report([both], FULL)
    (pair,) = json_report([both], FULL, {})["pairs"]
    assert (pair["better"], pair["measure"], pair["probability"]) == ("better", "abs_rel", 1.0)


def test_models_within_noise_cannot_be_told_apart():
    noise = [HARD + RNG.normal(0, 0.05, 60) ** 2 for _ in range(2)]
    (pair,) = model_pairs([result(row("a", noise[0]), row("b", noise[1]))])
    assert "do not differ significantly in AbsRel" in difference_in_words(*pair)


def test_several_sets_have_equal_weight():
    large, small = np.full(500, 0.1), np.array([0.1, 0.1, 0.1])
    sets = [
        result(row("a", large), row("b", large + 0.01)),
        result(row("a", small), row("b", small + 0.03), name="other"),
    ]
    (pair,) = model_pairs(sets)
    assert pair[3].mean == pytest.approx(-0.02)
    assert difference_in_words(*pair).startswith("a beats b by 0.020 AbsRel in the mean over 2 sets (95 %: 0.020 to")


def test_sets_of_one_image_are_named_as_not_compared():
    several = result(row("a", np.full(9, 0.1)), row("b", np.full(9, 0.2)))
    single = result(row("a", HARD[:1]), row("b", HARD[1:2]), name="single")
    lines = text_report([several, single], FULL).splitlines()
    assert any(line.startswith("a beats b by 0.100 AbsRel (") for line in lines)
    assert "one image says nothing about how sure a difference is, so not counted: single" in lines
    assert "so not counted" not in text_report([several, several], FULL)


def test_higher_accuracy_is_better():
    rows = []
    for name, share in (("low", 0.5), ("high", 0.9)):
        found = Row(name, True, False)
        for number in range(100):
            found.add(str(number), PairScores(float(number < 100 * share)), 0.01)
        rows.append(found)
    ((better, other, *rest),) = model_pairs([result(*rows)])
    assert (better, other) == ("high", "low")
    assert "by 0.400 accuracy (95 %:" in difference_in_words(better, other, *rest)


def test_rows_of_meters_are_compared_among_themselves():
    rows = [row(name, HARD, aligned) for name in ("a", "b") for aligned in (True, False)]
    titles = [pair[:2] for pair in model_pairs([result(*rows)])]
    assert [tuple(sorted(pair)) for pair in titles] == [
        ("a", "b"),
        ("a (meters as they are)", "b (meters as they are)"),
    ]


def test_one_image_compares_nothing():
    alone = result(row("a", HARD[:1]), row("b", HARD[1:2]))
    assert list(model_pairs([alone])) == []
    assert "95 %:" not in text_report([alone], FULL)
    assert json.dumps(json_report([alone], FULL, {}))


@pytest.mark.parametrize(
    ("error", "set_name", "verdict"),
    [
        (0.0536, "nyuv2_labeled", "published 0.053 (+1.1%, tolerance 5%): reproduced"),
        (0.0600, "nyuv2_labeled", "published 0.053 (+13.2%, tolerance 5%): not reproduced"),
        (
            0.1000,
            "eth3d",
            "published 0.142 (-29.6%, tolerance 5%): not reproduced; expected, since V2-L measures 0.089",
        ),
    ],
)
def test_published_number_is_compared(error, set_name, verdict):
    found = result(row("depth_anything_v2_vits", np.full(3, error)), row("other", HARD[:3]), name=set_name)
    (sentence,) = verdicts([found], PAPER)
    assert sentence.startswith(f"depth_anything_v2_vits on {set_name}: AbsRel {error:.3f}, {verdict}")
    (wrong_frames,) = verdicts([replace(found, left_out=["a frame"])], PAPER)
    assert wrong_frames.endswith("; frames differ from the split")
    (table,) = published_markdown([found], PAPER)
    lines = table.splitlines()
    assert lines[2].count("|") == lines[3].count("|") == lines[4].count("|")
    assert ("eth3d: V2-L measures" in table) == (set_name == "eth3d")


def test_scores_do_not_depend_on_order_or_company():
    """Each frame and model is scored by itself: other frames and models, and their order, change no bit."""
    frames = [
        LabeledImage(f"made/{n}", np.full((12, 16, 3), n, np.uint8), RNG.uniform(1, 9, (12, 16)).astype(np.float32))
        for n in range(6)
    ]

    def predict(image: np.ndarray) -> np.ndarray:
        return np.random.default_rng(int(image[0, 0, 0])).uniform(0.1, 1, (12, 16)).astype(np.float32)

    net, meters = (ScoredModel(output, predict, output) for output in ("inverse_depth", "depth"))
    rows = score_models([net, meters], frames)
    reverse = score_models([meters, net], frames[::-1], workers=2)
    by_title = {(row.model, row.aligned): row.images for row in reverse}
    for found in rows:
        assert found.images == by_title[found.model, found.aligned]
    (alone,) = score_models([net], frames[2:3])
    assert alone.images["made/2"] == rows[0].images["made/2"]
