"""Depth completion: a model's output and sparse points become depth by the robust fit and its local correction."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import cv2
import numpy as np

from depth_anything_ros.data.frame import DataError, LabeledImage
from depth_anything_ros.evaluation.parallel import in_order
from depth_anything_ros.evaluation.predictions import Prediction, ScoredModel
from depth_anything_ros.evaluation.protocol import SetRules
from depth_anything_ros.evaluation.results import Row
from depth_anything_ros.evaluation.scoring import OnLeftOut, OnPrediction, Scored, predicted_frames, score_aligned
from depth_anything_ros.evaluation.sparse_patterns import STORED, sparse_points
from depth_anything_ros.scale.fit import Prior, ScaleFit, fit
from depth_anything_ros.scale.kinds import KINDS, log_depth
from depth_anything_ros.scale.references import References, references
from depth_anything_ros.scale.shape import MIN_REFERENCES, LocalField

NO_NETWORK = "no network"
"""The baseline: depth of the nearest point."""


def score_completion(
    models: Sequence[ScoredModel],
    frames: Iterable[LabeledImage],
    rules: SetRules,
    on_prediction: OnPrediction,
    on_left_out: OnLeftOut,
    workers: int = 1,
) -> dict[str, list[Row]]:
    """Score completed depth, one row for each model and for the baseline without a network.

    Args:
        models: models; baselines that ignore the image are left out.
        frames: frames with known depth.
        rules: patterns and scored pixels.
        on_prediction: called after each prediction, with the first pattern.
        on_left_out: called for each frame that cannot be scored.
        workers: threads that score.

    Returns:
        The rows by pattern.

    Raises:
        ValueError: no frame is left.
    """
    models = [model for model in models if not model.is_baseline]
    names = [*(model.name for model in models), NO_NETWORK]
    rows = {pattern: {name: Row(name, True, name == NO_NETWORK) for name in names} for pattern in rules.patterns}

    def score(item: tuple[LabeledImage, np.ndarray, list[Prediction]]) -> dict[str, dict[str, Scored]] | str:
        frame, mask, predictions = item
        try:
            return _scored(models, predictions, frame, mask, rules)
        except (DataError, ValueError) as error:
            return f"{frame.name}: {error}"

    predicted = predicted_frames(models, frames, rules, on_left_out)
    for (frame, mask, predictions), scored in in_order(score, predicted, workers):
        if isinstance(scored, str):
            on_left_out(scored)
            continue
        seconds = {model.name: item.seconds for model, item in zip(models, predictions, strict=True)}
        for pattern, results in scored.items():
            for name, result in results.items():
                rows[pattern][name].add(frame.name, result.scores, seconds.get(name, 0.0))
        for model in models:
            on_prediction(frame, model, scored[rules.patterns[0]][model.name].depth, mask)
    if not rows[rules.patterns[0]][NO_NETWORK].images:
        raise ValueError("there is nothing to evaluate: no frames or no models")
    return {pattern: list(by_name.values()) for pattern, by_name in rows.items()}


def _scored(
    models: Sequence[ScoredModel],
    predictions: Sequence[Prediction],
    frame: LabeledImage,
    mask: np.ndarray,
    rules: SetRules,
) -> dict[str, dict[str, Scored]]:
    """Return the scores by pattern and model. Raises `DataError` if a pattern has no point or leaves no pixel."""
    results: dict[str, dict[str, Scored]] = {}
    for pattern in rules.patterns:
        points, left = _points(pattern, frame, mask)
        results[pattern] = {}
        for model, prediction in zip(models, predictions, strict=True):
            depth = limited(complete(prediction.values, model.output, points), rules)
            results[pattern][model.name] = score_aligned(depth, frame, left, rules)
        nearest = limited(nearest_depth(points, mask.shape), rules)
        results[pattern][NO_NETWORK] = score_aligned(nearest, frame, left, rules)
    return results


def _points(pattern: str, frame: LabeledImage, mask: np.ndarray) -> tuple[References, np.ndarray]:
    """Return the points of a pattern and the pixels to score, bool (H, W). Raises `DataError` if either is empty.

    Points drawn from the truth are not scored. Stored points are measured apart from it, and their pixels are scored.
    """
    left = mask.copy()
    if pattern == STORED:
        if frame.sparse is None:
            raise DataError(f"pattern {pattern!r} needs a set with sparse points")
        known = np.isfinite(frame.sparse)
        pixels, depth = np.argwhere(known)[:, ::-1], frame.sparse[known]
    else:
        pixels = sparse_points(pattern, frame.name, mask, frame.camera)
        depth = frame.depth[pixels[:, 1], pixels[:, 0]]
        left[pixels[:, 1], pixels[:, 0]] = False
    if not len(pixels):
        raise DataError(f"pattern {pattern!r} has no point")
    if not left.any():
        raise DataError(f"the points of {pattern!r} leave no pixel to score")
    return references(pixels, depth), left


def complete(values: np.ndarray, output: str, points: References) -> np.ndarray:
    """Return the depth of a model's output that agrees with sparse points, float64 (H, W), meters.

    If the points give no fit, this is the depth of the nearest point.

    Args:
        values: the output (H, W).
        output: "inverse_depth" or "depth".
        points: known depths.
    """
    kind = KINDS["inverse_affine" if output == "inverse_depth" else "depth_scale"]
    values = np.ascontiguousarray(values, np.float32)
    found = fit(kind, values, points, Prior())
    if not isinstance(found, ScaleFit):
        return nearest_depth(points, values.shape)
    log_z = np.ascontiguousarray(log_depth(kind, values, found.log_a, found.b), np.float32)
    chosen = points.take(found.plausible)
    if len(chosen) >= MIN_REFERENCES:
        at = log_depth(kind, found.outputs[found.plausible], found.log_a, found.b)
        field = LocalField(values.shape, chosen.pixels, at, found.residuals[found.plausible])
        log_z = log_z + field.correction(log_z)
    return np.exp(log_z.astype(np.float64))


def nearest_depth(points: References, size: tuple[int, ...]) -> np.ndarray:
    """Return the depth of the nearest point in the image, float64 (H, W), meters.

    Args:
        points: known depths, at whole pixels.
        size: (height, width).
    """
    u, v = points.pixels.astype(np.intp).T
    away = np.ones(size, np.uint8)
    away[v, u] = 0
    _, labels = cv2.distanceTransformWithLabels(away, cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL)
    depth_of = np.zeros(labels.max() + 1)
    depth_of[labels[v, u]] = points.depth
    return depth_of[labels]


def limited(depth: np.ndarray, rules: SetRules) -> np.ndarray:
    """Return depth within the scored range; infinity becomes its far end, NaN its near end."""
    low, high = rules.depth_range or (1e-3, 1e3)
    return np.clip(np.nan_to_num(depth, nan=low, posinf=high), max(low, 1e-3), high)
