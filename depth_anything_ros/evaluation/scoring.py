"""Scores of models on frames: predictions in order, alignment and metrics, and one row of results for each model."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np

from depth_anything_ros.data.frame import DataError, LabeledImage
from depth_anything_ros.evaluation.alignment import NEAREST, align_to
from depth_anything_ros.evaluation.boundary import boundary_f1
from depth_anything_ros.evaluation.metrics import BoundaryScores, Measures, score_depth
from depth_anything_ros.evaluation.obstacles import ObstacleOptions
from depth_anything_ros.evaluation.parallel import in_order
from depth_anything_ros.evaluation.predictions import Prediction, ScoredModel, has_meters, predict
from depth_anything_ros.evaluation.protocol import SetRules
from depth_anything_ros.evaluation.results import Row
from depth_anything_ros.evaluation.robot import RobotFrame, RobotReport, robot_frame

_EDGE_FLOOR = 1e-6
"""Lower limit of aligned inverse depth for edges, in 1/meters, as in MoGe: the floor of the errors would remove far
edges."""

OnPrediction = Callable[[LabeledImage, ScoredModel, np.ndarray, np.ndarray], None]
"""Receives the frame, the model, its aligned depth (H, W) in meters and the mask of the scored pixels."""
OnLeftOut = Callable[[str], None]
"""Receives the name of a frame that cannot be scored, with the reason."""


@dataclass(frozen=True)
class Scored:
    """Depth (H, W) in meters, its scores, and what a robot needs to know of it."""

    depth: np.ndarray
    scores: Measures
    robot: RobotFrame | None = None


@dataclass(frozen=True)
class FrameScores:
    """The scores of one model on one frame.

    Attributes:
        aligned: of aligned depth; None if the protocol does not align.
        metric: of the meters as they are; None if the model gives none.
    """

    aligned: Scored | None
    metric: Scored | None


def score_models(
    models: Sequence[ScoredModel],
    frames: Iterable[LabeledImage],
    rules: SetRules | None = None,
    on_prediction: OnPrediction | None = None,
    on_left_out: OnLeftOut | None = None,
    workers: int = 1,
    robot: ObstacleOptions | None = None,
) -> list[Row]:
    """Score models on the same frames; each frame is read once.

    A model that predicts meters gets two rows: aligned, comparable with the others, and unaligned. If one model gives
    no depth for a frame, or the frame has no pixel to score, no model is scored on that frame. The result does not
    depend on ``workers``.

    Args:
        models: models and baselines, all suitable; see `predictions.unsuitable`.
        frames: frames with known depth.
        rules: the pixels to score, and how; None for all of known depth.
        on_prediction: called after each prediction.
        on_left_out: called for each frame that cannot be scored.
        workers: threads that score. Predictions are made in this thread, in order.
        robot: what an obstacle is, to measure what a robot needs to know; None to leave that out.

    Returns:
        The aligned rows in the order of ``models``, then the unaligned ones.

    Raises:
        ValueError: no frame is left.
        DataError: a frame cannot be scored and there is no ``on_left_out``.
    """
    rules = rules or SetRules()
    aligned, metric = _rows(models, rules, robot)
    predicted = predicted_frames(models, frames, rules, on_left_out)

    def score(item: _Predicted) -> list[FrameScores]:
        frame, mask, predictions = item
        pairs = zip(models, predictions, strict=True)
        return [score_prediction(model, prediction, frame, mask, rules, robot) for model, prediction in pairs]

    for (frame, mask, predictions), scored in in_order(score, predicted, workers):
        for model, row, metric_row, prediction, result in zip(
            models, aligned, metric, predictions, scored, strict=True
        ):
            if row is not None:
                _add(row, frame, result.aligned, prediction.seconds)
            if metric_row is not None:
                _add(metric_row, frame, result.metric, prediction.seconds, prediction.gain is None)
            if on_prediction is not None:
                on_prediction(frame, model, (result.aligned or result.metric).depth, mask)
    rows = [row for row in (*aligned, *metric) if row is not None]
    if not rows or not rows[0].images:
        raise ValueError("there is nothing to evaluate: no frames or no models")
    return rows


def _add(row: Row, frame: LabeledImage, scored: Scored, seconds: float, is_uncorrected: bool = False) -> None:
    row.add(frame.name, scored.scores, seconds, is_uncorrected)
    if row.robot is not None:
        row.robot.add(scored.robot)


def _rows(
    models: Sequence[ScoredModel], rules: SetRules, robot: ObstacleOptions | None
) -> tuple[list[Row | None], list[Row | None]]:
    """Return the aligned row of each model and that of its meters, None where it has none."""
    is_aligned = rules.alignment.method != "none"
    aligned = [_row(model, True, robot) if is_aligned else None for model in models]
    return aligned, [_row(model, False, robot) if has_meters(model) else None for model in models]


def _row(model: ScoredModel, aligned: bool, robot: ObstacleOptions | None) -> Row:
    return Row(model.name, aligned, model.is_baseline, robot=None if robot is None else RobotReport(robot))


_Predicted = tuple[LabeledImage, np.ndarray, "list[Prediction]"]


def predicted_frames(
    models: Sequence[ScoredModel],
    frames: Iterable[LabeledImage],
    rules: SetRules,
    on_left_out: OnLeftOut | None,
) -> Iterator[_Predicted]:
    """Yield frames with the mask of the scored pixels and the predictions of all models, at the scored size.

    Args:
        models: the models.
        frames: frames with known depth.
        rules: crops, limits, size and flip.
        on_left_out: called for each frame without a pixel to score or a prediction; None to raise.

    Raises:
        DataError: a frame cannot be scored and there is no ``on_left_out``.
    """
    for original in frames:
        try:
            frame = rules.input_of(original)
            scored = rules.scored(frame)
            mask = rules.mask(scored)
            predictions = [predict(model, frame, rules.flip) for model in models]
        except DataError as error:
            if on_left_out is None:
                raise
            on_left_out(str(error))
            continue
        yield scored, mask, [replace(item, values=_resized(item.values, scored)) for item in predictions]


def score_prediction(
    model: ScoredModel,
    prediction: Prediction,
    frame: LabeledImage,
    mask: np.ndarray,
    rules: SetRules,
    robot: ObstacleOptions | None = None,
) -> FrameScores:
    """Score one prediction.

    Args:
        model: the model.
        prediction: at the size of the frame.
        frame: the frame with its truth, at the size at which it is scored.
        mask: bool (H, W), the scored pixels.
        rules: alignment and limits.
        robot: see `score_models`.
    """
    aligned = metric = None
    if rules.alignment.method != "none":
        depth = align_to(prediction.values, model.output, frame.depth, mask, rules)
        edges = None
        if rules.boundary:
            edges = align_to(prediction.values, model.output, frame.depth, mask, replace(rules, floor=_EDGE_FLOOR))
        aligned = score_aligned(depth, frame, mask, rules, robot, edges)
    if has_meters(model):
        meters = limit_metric((1.0 if prediction.gain is None else prediction.gain) * prediction.values, rules)
        metric = score_aligned(meters, frame, mask, rules, robot)
    return FrameScores(aligned, metric)


def score_aligned(
    depth: np.ndarray,
    frame: LabeledImage,
    mask: np.ndarray,
    rules: SetRules,
    robot: ObstacleOptions | None = None,
    edges: np.ndarray | None = None,
) -> Scored:
    """Score depth in meters.

    Args:
        depth: (H, W), meters, positive.
        frame: the frame with its truth.
        mask: bool (H, W), the scored pixels.
        rules: whether edges are scored.
        robot: see `score_models`.
        edges: the depth whose edges are scored; None for ``depth``.
    """
    scores: Measures = score_depth(depth[mask], frame.depth[mask])
    if rules.boundary:
        seen = depth if edges is None else edges
        scores = BoundaryScores(**vars(scores), boundary_f1=boundary_f1(seen, frame.depth, mask))
    return Scored(depth, scores, None if robot is None else robot_frame(depth, frame, mask, robot))


def limit_metric(depth: np.ndarray, rules: SetRules | None = None) -> np.ndarray:
    """Clip a metric prediction to the scored range.

    Args:
        depth: prediction, meters.
        rules: the limits of true depth; None for every positive depth.
    """
    return np.clip(depth, *((rules and rules.depth_range) or (NEAREST, np.inf)))


def _resized(values: np.ndarray, frame: LabeledImage) -> np.ndarray:
    """Return a prediction at the size of the truth, interpolated linearly."""
    if values.shape == frame.depth.shape:
        return values
    return cv2.resize(values, frame.depth.shape[::-1], interpolation=cv2.INTER_LINEAR)
