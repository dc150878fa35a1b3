"""The protocol: which pixels are scored, how predictions are aligned, and how scores are averaged.

A mean over a set gives each image the same weight, regardless of its number of pixels. A mean over sets gives each set
the same weight, regardless of its number of images.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np

from depth_anything_ros.data.frame import DataError, LabeledImage
from depth_anything_ros.evaluation.alignment import NEAREST, align, as_inverse_depth
from depth_anything_ros.evaluation.metrics import Scores, score_depth
from depth_anything_ros.evaluation.scored_sets import Crop
from depth_anything_ros.runtime.errors import ModelError

Predict = Callable[[np.ndarray], np.ndarray]
"""Maps RGB uint8 (H, W, 3) to float (H, W): inverse depth or meters, at the image's resolution."""


@dataclass(frozen=True)
class Region:
    """The pixels to score: known depth inside ``crop`` and ``depth_range``. None means no limit.

    Attributes:
        crop: the rows and columns to score.
        depth_range: limits of true depth, meters.
    """

    crop: Crop | None = None
    depth_range: tuple[float, float] | None = None

    def mask(self, frame: LabeledImage) -> np.ndarray:
        """Return the pixels to score, bool (H, W). Raises `DataError` if there are none."""
        mask = frame.valid
        if self.crop is not None:
            inside = np.zeros_like(mask)
            inside[self.crop(*mask.shape)] = True
            mask &= inside
        if self.depth_range is not None:
            with np.errstate(invalid="ignore"):
                mask &= (frame.depth > self.depth_range[0]) & (frame.depth < self.depth_range[1])
        if not mask.any():
            raise DataError(f"{frame.name}: no pixel with known depth is left to score")
        return mask


@dataclass(frozen=True)
class ScoredModel:
    """A model or baseline to score.

    Attributes:
        name: its name in reports.
        predict: the predictor.
        output: "inverse_depth" or "depth", the quantity that it predicts.
        is_baseline: whether it is a baseline.
        is_metric: whether its depth is in meters. Meters are also scored without alignment.
        gain: returns the factor that corrects the meters for a frame's lens, or None if the set has no intrinsics.
            None if the meters are valid for any lens.
    """

    name: str
    predict: Predict
    output: str
    is_baseline: bool = False
    is_metric: bool = True
    gain: Callable[[LabeledImage], float | None] | None = None


@dataclass
class Row:
    """The results of one model on one set.

    Attributes:
        model: the name of the model.
        aligned: whether scale and shift are fitted to each image.
        is_baseline: whether the model is a baseline.
        images: the scores by frame.
        seconds: the time of each prediction.
        uncorrected: images of unknown lens whose meters need a correction for it.
    """

    model: str
    aligned: bool
    is_baseline: bool
    images: dict[str, Scores] = field(default_factory=dict)
    seconds: list[float] = field(default_factory=list)
    uncorrected: list[str] = field(default_factory=list)

    def add(self, frame: str, scores: Scores, seconds: float, is_uncorrected: bool = False) -> None:
        """Add the result on one frame.

        Args:
            frame: the name of the frame.
            scores: its scores.
            seconds: the time of the prediction.
            is_uncorrected: whether its meters need a lens correction and the lens is unknown.
        """
        self.images[frame] = scores
        self.seconds.append(seconds)
        if is_uncorrected:
            self.uncorrected.append(frame)

    @property
    def scores(self) -> Scores:
        """Return the mean over the images."""
        return Scores.mean(self.images.values())

    @property
    def milliseconds(self) -> float:
        """Return the median time of a prediction."""
        return 1000 * statistics.median(self.seconds)


OnPrediction = Callable[[LabeledImage, ScoredModel, np.ndarray, np.ndarray], None]
"""Receives the frame, the model, its aligned depth (H, W) in meters and the mask of the scored pixels."""
OnLeftOut = Callable[[str], None]
"""Receives the name of a frame that cannot be scored, with the reason."""


@dataclass(frozen=True)
class _Prediction:
    """The prediction of one model for one frame. ``gain`` is None if the lens needs a correction and is unknown."""

    depth: np.ndarray
    scores: Scores
    seconds: float
    metric: Scores | None = None
    gain: float | None = 1.0


def score_models(
    models: Sequence[ScoredModel],
    frames: Iterable[LabeledImage],
    region: Region | None = None,
    on_prediction: OnPrediction | None = None,
    on_left_out: OnLeftOut | None = None,
) -> list[Row]:
    """Score models on the same frames; each frame is read once.

    A model that predicts meters gets two rows: aligned, comparable with the others, and unaligned. If one model gives
    no depth for a frame, or the frame has no pixel to score, no model is scored on that frame.

    Args:
        models: models and baselines.
        frames: frames with known depth.
        region: the pixels to score; None for all of known depth.
        on_prediction: called after each prediction.
        on_left_out: called for each frame that cannot be scored.

    Returns:
        The aligned rows in the order of ``models``, then the unaligned ones.

    Raises:
        ValueError: no frame is left.
        DataError: a frame cannot be scored and there is no ``on_left_out``.
    """
    region = region or Region()
    aligned = [Row(model.name, True, model.is_baseline) for model in models]
    unaligned = [Row(model.name, False, model.is_baseline) if _has_meters(model) else None for model in models]
    for frame in frames:
        try:
            mask = region.mask(frame)
            predictions = [_prediction(model, frame, mask, region.depth_range) for model in models]
        except DataError as error:
            if on_left_out is None:
                raise
            on_left_out(str(error))
            continue
        for model, row, metric_row, prediction in zip(models, aligned, unaligned, predictions, strict=True):
            row.add(frame.name, prediction.scores, prediction.seconds)
            if metric_row is not None:
                metric_row.add(frame.name, prediction.metric, prediction.seconds, prediction.gain is None)
            if on_prediction is not None:
                on_prediction(frame, model, prediction.depth, mask)
    if not aligned or not aligned[0].images:
        raise ValueError("there is nothing to evaluate: no frames or no models")
    return aligned + [row for row in unaligned if row is not None]


def _has_meters(model: ScoredModel) -> bool:
    return model.output == "depth" and model.is_metric


def _prediction(
    model: ScoredModel, frame: LabeledImage, mask: np.ndarray, depth_range: tuple[float, float] | None
) -> _Prediction:
    """Return the scored prediction for a frame. Raises `DataError` if the frame cannot be scored."""
    prediction, seconds = _predict(model, frame)
    true = frame.depth[mask]
    depth = align(as_inverse_depth(prediction, model.output), frame.depth, mask)
    scores = score_depth(depth[mask], true)
    if not _has_meters(model):
        return _Prediction(depth, scores, seconds)
    gain = 1.0 if model.gain is None else model.gain(frame)
    metric = limit_metric((1.0 if gain is None else gain) * prediction[mask], depth_range)
    return _Prediction(depth, scores, seconds, score_depth(metric, true), gain)


def limit_metric(depth: np.ndarray, depth_range: tuple[float, float] | None) -> np.ndarray:
    """Clip a metric prediction to the scored range.

    Args:
        depth: prediction, meters.
        depth_range: the range, meters; None for every positive depth.
    """
    return np.clip(depth, *(depth_range or (NEAREST, np.inf)))


def _predict(model: ScoredModel, frame: LabeledImage) -> tuple[np.ndarray, float]:
    """Return the prediction for a frame, float (H, W), and its time in seconds."""
    started = time.perf_counter()
    try:
        prediction = model.predict(frame.image)
    except ModelError as error:
        raise DataError(f"{model.name} failed on {frame.name}: {error}") from error
    seconds = time.perf_counter() - started
    if prediction.shape != frame.depth.shape:
        raise DataError(f"{model.name} predicted {prediction.shape} for {frame.name}, expected {frame.depth.shape}")
    if not np.isfinite(prediction).all():
        raise DataError(f"{model.name} predicted values that are not finite for {frame.name}")
    return prediction, seconds
