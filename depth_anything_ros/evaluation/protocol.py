"""The protocol: which pixels count, how a prediction is aligned, what is averaged over what.

Means are taken over the images of a set, each image counting once however many pixels it has, and over the sets,
each set counting once however many images it has.
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
"""RGB uint8 (H, W, 3) to float (H, W): inverse depth or meters, at the image's resolution."""


@dataclass(frozen=True)
class Region:
    """The pixels that count: those of known depth, inside ``crop`` and ``depth_range`` (meters) where given."""

    crop: Crop | None = None
    depth_range: tuple[float, float] | None = None

    def mask(self, frame: LabeledImage) -> np.ndarray:
        """The pixels of ``frame`` that count, bool (H, W). Raises `DataError` if there is none."""
        mask = frame.valid
        if self.crop is not None:
            inside = np.zeros_like(mask)
            inside[self.crop(*mask.shape)] = True
            mask &= inside
        if self.depth_range is not None:
            with np.errstate(invalid="ignore"):
                mask &= (frame.depth > self.depth_range[0]) & (frame.depth < self.depth_range[1])
        if not mask.any():
            raise DataError(f"{frame.name}: no pixel of known depth is left to score")
        return mask


@dataclass(frozen=True)
class ScoredModel:
    """Something that is scored: a name, a predictor and what it predicts ("inverse_depth" or "depth").

    ``is_metric``: whether depth is in meters, so that it is scored as it is too. ``gain(frame)``: what those meters
    are multiplied by for the frame's lens, None where the set does not tell it; no ``gain``: they hold for any lens.
    """

    name: str
    predict: Predict
    output: str
    is_baseline: bool = False
    is_metric: bool = True
    gain: Callable[[LabeledImage], float | None] | None = None


@dataclass
class Row:
    """The results of one contender on one set.

    ``aligned``: whether scale and shift were fitted to each image. ``uncorrected``: images whose meters should have
    been corrected for a lens that the set does not tell.
    """

    contender: str
    aligned: bool
    is_baseline: bool
    images: dict[str, Scores] = field(default_factory=dict)
    seconds: list[float] = field(default_factory=list)
    uncorrected: list[str] = field(default_factory=list)

    def add(self, frame: str, scores: Scores, seconds: float, is_uncorrected: bool = False) -> None:
        """Takes the result on one frame."""
        self.images[frame] = scores
        self.seconds.append(seconds)
        if is_uncorrected:
            self.uncorrected.append(frame)

    @property
    def scores(self) -> Scores:
        """The mean over the images."""
        return Scores.mean(self.images.values())

    @property
    def milliseconds(self) -> float:
        """The median time of a prediction."""
        return 1000 * statistics.median(self.seconds)


OnPrediction = Callable[[LabeledImage, ScoredModel, np.ndarray, np.ndarray], None]
"""Called with the frame, the contender, its aligned depth (H, W) in meters and the mask of the pixels that count."""
OnLeftOut = Callable[[str], None]
"""Called with why a frame cannot be scored, its name included."""


@dataclass(frozen=True)
class _Prediction:
    """What one contender gave for one frame. ``gain``: None where the lens should be corrected for, and is unknown."""

    depth: np.ndarray
    scores: Scores
    seconds: float
    metric: Scores | None = None
    gain: float | None = 1.0


def score_models(
    contenders: Sequence[ScoredModel],
    frames: Iterable[LabeledImage],
    region: Region | None = None,
    on_prediction: OnPrediction | None = None,
    on_left_out: OnLeftOut | None = None,
) -> list[Row]:
    """Scores contenders side by side; every frame is read once.

    A contender that predicts meters gets two rows: aligned like the others, so that they can be compared, and as it
    is. A frame without a pixel to score, or for which a contender gives no depth, counts for no contender. Raises
    ValueError if no frame is left, and `DataError` for the first one that cannot be scored, unless ``on_left_out``
    takes it.
    """
    region = region or Region()
    aligned = [Row(contender.name, True, contender.is_baseline) for contender in contenders]
    unaligned = [
        Row(contender.name, False, contender.is_baseline) if _has_meters(contender) else None
        for contender in contenders
    ]
    for frame in frames:
        try:
            mask = region.mask(frame)
            predictions = [_prediction(contender, frame, mask, region.depth_range) for contender in contenders]
        except DataError as error:
            if on_left_out is None:
                raise
            on_left_out(str(error))
            continue
        for contender, row, metric_row, prediction in zip(contenders, aligned, unaligned, predictions, strict=True):
            row.add(frame.name, prediction.scores, prediction.seconds)
            if metric_row is not None:
                metric_row.add(frame.name, prediction.metric, prediction.seconds, prediction.gain is None)
            if on_prediction is not None:
                on_prediction(frame, contender, prediction.depth, mask)
    if not aligned or not aligned[0].images:
        raise ValueError("there is nothing to evaluate: no frames or no contenders")
    return aligned + [row for row in unaligned if row is not None]


def _has_meters(contender: ScoredModel) -> bool:
    return contender.output == "depth" and contender.is_metric


def _prediction(
    contender: ScoredModel, frame: LabeledImage, mask: np.ndarray, depth_range: tuple[float, float] | None
) -> _Prediction:
    """What the contender gives for a frame, scored. Raises `DataError` for what cannot be."""
    prediction, seconds = _predict(contender, frame)
    true = frame.depth[mask]
    depth = align(as_inverse_depth(prediction, contender.output), frame.depth, mask)
    scores = score_depth(depth[mask], true)
    if not _has_meters(contender):
        return _Prediction(depth, scores, seconds)
    gain = 1.0 if contender.gain is None else contender.gain(frame)
    metric = limit_metric((1.0 if gain is None else gain) * prediction[mask], depth_range)
    return _Prediction(depth, scores, seconds, score_depth(metric, true), gain)


def limit_metric(depth: np.ndarray, depth_range: tuple[float, float] | None) -> np.ndarray:
    """A metric prediction in meters, limited to the range that is scored (all that is positive, where None)."""
    return np.clip(depth, *(depth_range or (NEAREST, np.inf)))


def _predict(contender: ScoredModel, frame: LabeledImage) -> tuple[np.ndarray, float]:
    """The contender's prediction for a frame, float (H, W), and the seconds that it took."""
    started = time.perf_counter()
    try:
        prediction = contender.predict(frame.image)
    except ModelError as error:
        raise DataError(f"{contender.name} gave nothing for {frame.name}: {error}") from error
    seconds = time.perf_counter() - started
    if prediction.shape != frame.depth.shape:
        raise DataError(f"{contender.name} gave {prediction.shape} for {frame.name}, which is {frame.depth.shape}")
    if not np.isfinite(prediction).all():
        raise DataError(f"{contender.name} gave numbers that are not finite for {frame.name}")
    return prediction, seconds
