"""The protocol: which pixels count, how a prediction is aligned, what is averaged over what.

Means are taken over the images of a set, each image counting once however many pixels it has, and over the sets,
each set counting once however many images it has.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np

from depth_anything_ros.evaluation.alignment import NEAREST, align, as_inverse_depth
from depth_anything_ros.evaluation.frame import DataError, Frame
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
        mask = frame.valid.copy()
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
    """Something that is scored: a name, a predictor and what it predicts ("inverse_depth" or "depth")."""

    name: str
    predict: Predict
    output: str
    is_baseline: bool = False


def predict_checked(contender: Contender, frame: Frame) -> tuple[np.ndarray, float]:
    """The contender's prediction for a frame, float (H, W), and the seconds that it took.

    Raises `DataError` if the prediction has another size than the image or holds numbers that are not finite.
    """
    started = time.perf_counter()
    prediction = contender.predict(frame.image)
    seconds = time.perf_counter() - started
    if prediction.shape != frame.depth.shape:
        raise DataError(f"{contender.name} gave {prediction.shape} for {frame.name}, which is {frame.depth.shape}")
    if not np.isfinite(prediction).all():
        raise DataError(f"{contender.name} gave numbers that are not finite for {frame.name}")
    return prediction, seconds


def aligned_depth(prediction: np.ndarray, output: str, frame: Frame, mask: np.ndarray) -> np.ndarray:
    """Depth (N,) in metres at the pixels of ``mask``, after the affine fit in inverse depth to the frame's truth."""
    return align(as_inverse_depth(prediction[mask], output), frame.depth[mask])


def metric_depth(prediction: np.ndarray, mask: np.ndarray, depth_range: tuple[float, float] | None) -> np.ndarray:
    """Depth (N,) in metres as a metric network gave it, limited to the range that is scored and nothing else."""
    nearest, farthest = depth_range or (NEAREST, np.inf)
    return np.clip(prediction[mask], nearest, farthest)


def evaluate_predictor(
    predict: Predict, output: str, frames: Iterable[Frame], region: Region | None = None, aligned: bool = True
) -> Scores:
    """Mean scores of one predictor over frames; for a training loop, or any network in any framework.

    ``predict``: see `Predict`. ``output``: "inverse_depth" or "depth" (metres). ``aligned``: fit scale and shift in
    inverse depth per image first; False scores metres as they are and needs ``output`` "depth".
    Raises ValueError for an unknown output or no frames, `DataError` for a prediction that cannot be scored.
    """
    if not aligned and output != "depth":
        raise ValueError("only metres can be scored without alignment: output must be 'depth'")
    region = region or Region()
    contender = Contender("the predictor", predict, output)
    scores = []
    for frame in frames:
        mask = region.mask(frame)
        prediction, _ = predict_checked(contender, frame)
        if aligned:
            depth = aligned_depth(prediction, output, frame, mask)
        else:
            depth = metric_depth(prediction, mask, region.depth_range)
        scores.append(score_depth(depth, frame.depth[mask]))
    return Scores.mean(scores)
