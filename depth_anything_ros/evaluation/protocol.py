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

from depth_anything_ros.data.frame import DataError, Frame
from depth_anything_ros.evaluation.alignment import NEAREST, align, as_inverse_depth
from depth_anything_ros.evaluation.metrics import Scores, score_depth
from depth_anything_ros.evaluation.sets import Crop

Predict = Callable[[np.ndarray], np.ndarray]
"""RGB uint8 (H, W, 3) to float (H, W): inverse depth or metres, at the image's resolution."""


@dataclass(frozen=True)
class Region:
    """The pixels that count: those of known depth, inside ``crop`` and ``depth_range`` (metres) where given."""

    crop: Crop | None = None
    depth_range: tuple[float, float] | None = None

    def mask(self, frame: Frame) -> np.ndarray:
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
class Contender:
    """Something that is scored: a name, a predictor and what it predicts ("inverse_depth" or "depth").

    ``is_metric``: whether depth is in metres, so that it is scored as it is too. ``gain(frame)``: what those metres
    are multiplied by for the frame's lens, None where the set does not tell it; no ``gain``: they hold for any lens.
    """

    name: str
    predict: Predict
    output: str
    is_baseline: bool = False
    is_metric: bool = True
    gain: Callable[[Frame], float | None] | None = None


@dataclass
class Row:
    """The results of one contender on one set.

    ``aligned``: whether scale and shift were fitted to each image. ``uncorrected``: images whose metres should have
    been corrected for a lens that the set does not tell.
    """

    contender: str
    aligned: bool
    is_baseline: bool
    images: dict[str, Scores] = field(default_factory=dict)
    seconds: list[float] = field(default_factory=list)
    uncorrected: list[str] = field(default_factory=list)

    @property
    def scores(self) -> Scores:
        """The mean over the images."""
        return Scores.mean(self.images.values())

    @property
    def milliseconds(self) -> float:
        """The median time of a prediction."""
        return 1000 * statistics.median(self.seconds)


OnPrediction = Callable[[Frame, Contender, np.ndarray, np.ndarray], None]
"""Called with the frame, the contender, its aligned depth (H, W) in metres and the mask of the pixels that count."""


def evaluate_contenders(
    contenders: Sequence[Contender],
    frames: Iterable[Frame],
    region: Region | None = None,
    on_prediction: OnPrediction | None = None,
) -> list[Row]:
    """Scores contenders side by side; every frame is read once.

    A contender that predicts metres gets two rows: aligned like the others, so that they can be compared, and as it
    is. Raises ValueError if there are no frames, `DataError` for a prediction that cannot be scored.
    """
    region = region or Region()
    aligned = [Row(contender.name, True, contender.is_baseline) for contender in contenders]
    unaligned = {
        contender.name: Row(contender.name, False, contender.is_baseline)
        for contender in contenders
        if contender.output == "depth" and contender.is_metric
    }
    for frame in frames:
        mask = region.mask(frame)
        true = frame.depth[mask]
        for contender, row in zip(contenders, aligned, strict=True):
            prediction, seconds = _predict(contender, frame)
            depth = align(as_inverse_depth(prediction, contender.output), frame.depth, mask)
            row.images[frame.name] = score_depth(depth[mask], true)
            row.seconds.append(seconds)
            if contender.name in unaligned:
                gain = 1.0 if contender.gain is None else contender.gain(frame)
                if gain is None:
                    unaligned[contender.name].uncorrected.append(frame.name)
                    gain = 1.0
                metric = limit_metric(gain * prediction[mask], region.depth_range)
                unaligned[contender.name].images[frame.name] = score_depth(metric, true)
                unaligned[contender.name].seconds.append(seconds)
            if on_prediction is not None:
                on_prediction(frame, contender, depth, mask)
    if not aligned or not aligned[0].images:
        raise ValueError("there is nothing to evaluate: no frames or no contenders")
    return aligned + list(unaligned.values())


def limit_metric(depth: np.ndarray, depth_range: tuple[float, float] | None) -> np.ndarray:
    """A metric prediction in metres, limited to the range that is scored (all that is positive, where None)."""
    return np.clip(depth, *(depth_range or (NEAREST, np.inf)))


def _predict(contender: Contender, frame: Frame) -> tuple[np.ndarray, float]:
    """The contender's prediction for a frame, float (H, W), and the seconds that it took."""
    started = time.perf_counter()
    prediction = contender.predict(frame.image)
    seconds = time.perf_counter() - started
    if prediction.shape != frame.depth.shape:
        raise DataError(f"{contender.name} gave {prediction.shape} for {frame.name}, which is {frame.depth.shape}")
    if not np.isfinite(prediction).all():
        raise DataError(f"{contender.name} gave numbers that are not finite for {frame.name}")
    return prediction, seconds
