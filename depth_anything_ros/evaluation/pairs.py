"""Scores of pairs: whether the point that people labeled as nearer has the smaller predicted depth."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from depth_anything_ros.data.frame import DataError
from depth_anything_ros.data.pair_sets import PairedImage
from depth_anything_ros.evaluation.metrics import Measures, measure
from depth_anything_ros.evaluation.predictions import ScoredModel, predict
from depth_anything_ros.evaluation.protocol import SetRules
from depth_anything_ros.evaluation.results import Row
from depth_anything_ros.evaluation.scoring import OnLeftOut


@dataclass(frozen=True)
class PairScores(Measures):
    """The score of one pair, or the mean over pairs."""

    accuracy: float = measure("accuracy", is_better="high")
    """share of pairs in the right order; a tie is wrong"""


def is_ordered(values: np.ndarray, output: str, nearer: np.ndarray, farther: np.ndarray) -> np.ndarray:
    """Return which pairs a prediction orders as the labels do, bool (N,).

    Args:
        values: the prediction (H, W).
        output: "inverse_depth" or "depth", the quantity of ``values``.
        nearer: int (N, 2), row and column of the nearer point of each pair.
        farther: int (N, 2), those of the other point.
    """
    near, far = values[tuple(nearer.T)], values[tuple(farther.T)]
    return near > far if output == "inverse_depth" else near < far


def score_pairs(
    models: Sequence[ScoredModel],
    frames: Iterable[PairedImage],
    rules: SetRules,
    on_left_out: OnLeftOut,
) -> list[Row]:
    """Score models on the same pairs. Each pair has the same weight, as in the paper of DA-2K.

    Args:
        models: models and baselines.
        frames: images with pairs.
        rules: whether predictions are averaged with those of the mirrored image.
        on_left_out: called for each image that cannot be scored.

    Raises:
        ValueError: no image is left.
    """
    rows = [Row(model.name, True, model.is_baseline) for model in models]
    for frame in frames:
        try:
            predictions = [predict(model, frame, rules.flip) for model in models]
        except DataError as error:
            on_left_out(str(error))
            continue
        for model, row, prediction in zip(models, rows, predictions, strict=True):
            right = is_ordered(prediction.values, model.output, frame.nearer, frame.farther)
            for number, value in enumerate(right.tolist()):
                row.add(f"{frame.name}#{number}", PairScores(float(value)), prediction.seconds)
    if not rows or not rows[0].images:
        raise ValueError("there is nothing to evaluate: no frames or no models")
    return rows
