"""Scores of classes: the mean intersection over union of a set, over the pixels of all its images."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from depth_anything_ros.data.frame import DataError
from depth_anything_ros.data.segmentation import IGNORED, ClassImage, check_classes
from depth_anything_ros.evaluation.metrics import Measures, measure
from depth_anything_ros.evaluation.predictions import ScoredModel, predict
from depth_anything_ros.evaluation.results import Row
from depth_anything_ros.evaluation.scoring import OnLeftOut

CLASSES = "classes"
"""The output of a model that predicts a class for each pixel, uint8 (H, W)."""


@dataclass(frozen=True)
class ClassScores(Measures):
    """The scores of an image or of a set."""

    miou: float = measure("mIoU", is_better="high")
    """mean over classes of intersection / union, over classes in truth or prediction"""
    pixel_accuracy: float = measure("pixel accuracy", is_better="high")
    """share of pixels with the right class"""


@dataclass
class ClassRow(Row):
    """The results of one model. The scores of the set are those of all pixels together, as in Cityscapes and ADE20K.

    ``confusion`` counts pixels by true class in rows and predicted class in columns, int64.
    """

    confusion: np.ndarray | None = None

    @property
    def scores(self) -> ClassScores:
        """Return the scores of all pixels."""
        return class_scores(self.confusion)

    def values(self, name: str) -> np.ndarray:
        """Return nothing: the score of a set is no mean over images, so it has no interval.

        Args:
            name: not used.
        """
        return np.zeros(0)


def confusion_matrix(prediction: np.ndarray, labels: np.ndarray, classes: int) -> np.ndarray:
    """Return how many pixels of each true class, in rows, are predicted as each class, int64 (classes, classes).

    Args:
        prediction: uint8 (H, W), classes.
        labels: uint8 (H, W), the true classes; `IGNORED` is not counted.
        classes: number of classes.
    """
    known = labels != IGNORED
    pairs = labels[known].astype(np.int64) * classes + prediction[known]
    return np.bincount(pairs, minlength=classes**2).reshape(classes, classes)


def class_scores(confusion: np.ndarray) -> ClassScores:
    """Return the scores of a confusion matrix; NaN if it counts no pixel."""
    right = confusion.diagonal()
    union = confusion.sum(axis=0) + confusion.sum(axis=1) - right
    occurs = union > 0
    if not occurs.any():
        return ClassScores(float("nan"), float("nan"))
    return ClassScores(float((right[occurs] / union[occurs]).mean()), float(right.sum() / confusion.sum()))


def score_classes(models: Sequence[ScoredModel], frames: Iterable[ClassImage], on_left_out: OnLeftOut) -> list[Row]:
    """Score segmentation networks on the same images.

    Args:
        models: models; those that do not predict classes are left out.
        frames: images with classes, all of one set.
        on_left_out: called for each image that cannot be scored.

    Raises:
        ValueError: no image is left.
    """
    models = [model for model in models if model.output == CLASSES]
    rows = [ClassRow(model.name, True, False) for model in models]
    for frame in frames:
        try:
            check_classes(frame.name, frame.labels, frame.classes)
            if not (frame.labels != IGNORED).any():
                raise DataError(f"{frame.name}: no pixel has a class")
            predictions = [predict(model, frame) for model in models]
            for model, prediction in zip(models, predictions, strict=True):
                _check_prediction(model, prediction.values, frame.classes)
        except DataError as error:
            on_left_out(str(error))
            continue
        for row, prediction in zip(rows, predictions, strict=True):
            confusion = confusion_matrix(prediction.values, frame.labels, frame.classes)
            row.confusion = confusion if row.confusion is None else row.confusion + confusion
            row.add(frame.name, class_scores(confusion), prediction.seconds)
    if not rows or not rows[0].images:
        raise ValueError("there is nothing to evaluate: no frames or no models")
    return list(rows)


def _check_prediction(model: ScoredModel, prediction: np.ndarray, classes: int) -> None:
    if prediction.max() >= classes:
        raise DataError(f"{model.name} predicts class {prediction.max()} (from 0), but the set has {classes} classes")
