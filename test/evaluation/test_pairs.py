"""Pairs of points: DA-2K's file, and an accuracy that does not depend on the order of the points."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from depth_anything_ros.data.frame import DataError
from depth_anything_ros.data.pair_sets import PAIR_SETS
from depth_anything_ros.evaluation.baselines import constant, vertical_gradient
from depth_anything_ros.evaluation.pairs import is_ordered, score_pairs
from depth_anything_ros.evaluation.predictions import ScoredModel
from depth_anything_ros.evaluation.protocol_files import find_protocol
from depth_anything_ros.evaluation.scored_sets import find_sets

RULES = find_protocol("da2k").rules("da2k")
(DA2K,) = PAIR_SETS
DEPTH = np.arange(12.0).reshape(3, 4) + 1
PAIRS = [  # [row, column]; the first is the nearer one, as in the whole of the real file
    {"point1": [0, 1], "point2": [2, 3], "closer_point": "point1"},
    {"point1": [1, 0], "point2": [1, 2], "closer_point": "point1"},
    {"point1": [2, 2], "point2": [0, 3], "closer_point": "point2"},
]


@pytest.fixture
def root(tmp_path) -> Path:
    """Two images with three pairs each."""
    for name in ("images/indoor/a.png", "images/outdoor/b.png"):
        (tmp_path / "da2k" / name).parent.mkdir(parents=True)
        cv2.imwrite(str(tmp_path / "da2k" / name), np.zeros((3, 4, 3), np.uint8))
    write(tmp_path, dict.fromkeys(("images/indoor/a.png", "images/outdoor/b.png"), PAIRS))
    return tmp_path


def write(root: Path, content: object) -> None:
    (root / "da2k" / "annotations.json").write_text(json.dumps(content))


def accuracy(root: Path, predict, output: str) -> float:
    (declared,) = find_sets(root, protocol=find_protocol("da2k"))
    frames = [declared.read(root, name) for name in declared.frame_names(root)]
    (row,) = score_pairs([ScoredModel("made", predict, output)], frames, RULES, pytest.fail)
    assert len(row.images) == 6
    return row.scores.accuracy


def test_perfect_order_is_perfect_and_reverse_is_wrong(root):
    assert accuracy(root, lambda image: DEPTH, "depth") == 1
    assert accuracy(root, lambda image: 3 - DEPTH, "inverse_depth") == 1
    assert accuracy(root, lambda image: DEPTH, "inverse_depth") == 0


def test_tie_is_wrong_so_a_constant_scores_nothing(root):
    assert accuracy(root, constant, "inverse_depth") == 0
    assert accuracy(root, vertical_gradient, "inverse_depth") == 0  # of the pairs none is lower and nearer


def test_order_of_points_does_not_matter(root):
    swapped = [
        {
            "point1": pair["point2"],
            "point2": pair["point1"],
            "closer_point": f"point{3 - int(pair['closer_point'][-1])}",
        }
        for pair in PAIRS
    ]
    noisy = DEPTH[::-1]
    before = accuracy(root, lambda image: noisy, "depth")
    write(root, dict.fromkeys(("images/indoor/a.png", "images/outdoor/b.png"), swapped))
    assert accuracy(root, lambda image: noisy, "depth") == before == pytest.approx(1 / 3)
    near, far = np.array([[0, 1]]), np.array([[2, 3]])
    assert is_ordered(DEPTH, "depth", near, far).tolist() == [True]
    assert is_ordered(DEPTH, "depth", far, near).tolist() == [False]


@pytest.mark.parametrize(
    ("pairs", "message"),
    [
        ([{**PAIRS[0], "closer_point": "point3"}], "closer_point is 'point3'"),
        ([{"point1": [0, 0], "closer_point": "point1"}], "point2"),
        ([{**PAIRS[0], "point2": [3, 0]}], "or a point outside the image"),
        ([], "has no pair"),
    ],
)
def test_damaged_files_are_named(root, pairs, message):
    write(root, {"images/indoor/a.png": pairs})
    with pytest.raises(DataError, match=message) as caught:
        DA2K.read(root / "da2k", "images/indoor/a.png")
    assert str(root / "da2k" / "annotations.json") in str(caught.value)


def test_other_damage_is_named(root):
    write(root, {"images/absent.png": PAIRS})
    with pytest.raises(DataError, match=r"absent\.png"):
        DA2K.read(root / "da2k", "images/absent.png")
    write(root, [1])
    with pytest.raises(DataError, match=r"annotations\.json does not list pairs by image"):
        list(DA2K.names(root / "da2k"))
    (root / "da2k" / "annotations.json").write_text("{")
    with pytest.raises(DataError, match=r"annotations\.json is not JSON"):
        list(DA2K.names(root / "da2k"))
