"""Models as predictors of inverse depth or meters, and their predictions for frames."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np

from depth_anything_ros.data.frame import DataError, LabeledImage
from depth_anything_ros.data.pair_sets import PairedImage
from depth_anything_ros.evaluation.protocol import SetRules
from depth_anything_ros.runtime.errors import ModelError

T = TypeVar("T")
Predict = Callable[[np.ndarray], np.ndarray]
"""Maps RGB uint8 (H, W, 3) to float (H, W): inverse depth or meters, at the image's resolution."""


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
        has_unknown_shift: whether its depth lacks a scale and a shift. Only depth can then be aligned, not its inverse.
        load: loads what an image of (height, width) needs, so that the first prediction is timed like the others; None
            if there is nothing to load. Raises `ModelError`.
    """

    name: str
    predict: Predict
    output: str
    is_baseline: bool = False
    is_metric: bool = True
    gain: Callable[[LabeledImage], float | None] | None = None
    has_unknown_shift: bool = False
    load: Callable[[int, int], None] | None = None


@dataclass(frozen=True)
class Prediction:
    """The output of one model for one frame.

    Attributes:
        values: the output (H, W).
        seconds: the time of the prediction.
        gain: the factor of its meters for the lens; None if they need one and the lens is unknown.
    """

    values: np.ndarray
    seconds: float = 0.0
    gain: float | None = 1.0


def has_meters(model: ScoredModel) -> bool:
    """Return whether a model predicts meters."""
    return model.output == "depth" and model.is_metric


def unsuitable(model: ScoredModel, rules: SetRules) -> str | None:
    """Return why a protocol cannot score a model, None if it can.

    Args:
        model: the model.
        rules: the rules of a set.
    """
    if rules.alignment.method == "none" and not has_meters(model):
        return f"{model.name} predicts no meters, and the protocol does not align"
    if rules.alignment.space != "inverse_depth" and model.output != "depth":
        return f"{model.name} predicts inverse depth, which cannot be aligned in {rules.alignment.space}"
    if model.has_unknown_shift and (rules.alignment.space, rules.alignment.method) != ("depth", "scale_and_shift"):
        return f"{model.name} predicts depth of unknown shift, which only scale and shift in depth can align"
    return None


def predict(model: ScoredModel, frame: LabeledImage | PairedImage, flip: bool = False) -> Prediction:
    """Return the prediction for a frame.

    Args:
        model: the model.
        frame: the frame.
        flip: whether to average it with the prediction of the mirrored image.

    Raises:
        DataError: the model fails, or its prediction is not finite.
    """
    if model.load is not None:
        _named(model, frame, model.load, *frame.image.shape[:2])
    started = time.perf_counter()
    values = _output(model, frame.image, frame)
    if flip:
        mirrored = _output(model, np.ascontiguousarray(frame.image[:, ::-1]), frame)
        values = 0.5 * (values + mirrored[:, ::-1])
    seconds = time.perf_counter() - started
    needs_lens = model.gain is not None and isinstance(frame, LabeledImage)
    return Prediction(values, seconds, model.gain(frame) if needs_lens else 1.0)


def _named(model: ScoredModel, frame: LabeledImage | PairedImage, call: Callable[..., T], *arguments: Any) -> T:
    """Return what a call of the model returns. Raise `DataError` with model and frame for a `ModelError`."""
    try:
        return call(*arguments)
    except ModelError as error:
        raise DataError(f"{model.name} failed on {frame.name}: {error}") from error


def _output(model: ScoredModel, image: np.ndarray, frame: LabeledImage | PairedImage) -> np.ndarray:
    prediction = _named(model, frame, model.predict, image)
    if prediction.shape != image.shape[:2]:
        raise DataError(f"{model.name} predicted {prediction.shape} for {frame.name}, expected {image.shape[:2]}")
    if not np.isfinite(prediction).all():
        raise DataError(f"{model.name} predicted values that are not finite for {frame.name}")
    return prediction
