"""Scores of classes: mean intersection over union, of one prediction for each image or of the mean over scales."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict

import numpy as np
import torch
from torch import nn

from depth_anything_ros.data.check import color_classes
from depth_anything_ros.data.segmentation import IGNORED, check_classes
from depth_anything_ros.data.sources import Sample
from depth_anything_ros.evaluation.classes import class_scores, confusion_matrix
from depth_anything_ros.training.settings import SegmentationSettings
from depth_anything_ros.training.validation.predictions import panel, run_network


class SegmentationScoring:
    """Mean intersection over union and pixel accuracy, over all images together, of pixels with a class."""

    best = "miou"

    def __init__(self, classes: int) -> None:
        self._classes, self.length = classes, classes**2

    def can_score(self, sample: Sample) -> bool:
        """Return whether some pixel has a class. Raise `DataError` if the class does not exist."""
        if sample.labels is None:
            return False
        check_classes(sample.name, sample.labels, self._classes)
        return bool((sample.labels != IGNORED).any())

    def tally(self, prediction: np.ndarray, sample: Sample) -> np.ndarray:
        """Return the confusion matrix, flattened, with true classes in rows. See `Scoring.tally`."""
        check_classes(sample.name, sample.labels, self._classes)
        return confusion_matrix(prediction, sample.labels, self._classes).astype(np.float64).ravel()

    def summary(self, total: np.ndarray, images: int) -> dict[str, float]:
        """Return "miou", over classes in truth or prediction, and "pixel_accuracy"; NaN without any class."""
        return asdict(class_scores(total.reshape(self._classes, self._classes)))

    def picture(self, prediction: np.ndarray, sample: Sample) -> np.ndarray:
        """Draw true and predicted classes, each class in its own color. See `Scoring.picture`."""
        return np.hstack([color_classes(panel(labels), self._classes) for labels in (sample.labels, prediction)])


def multi_scale_predictor(
    network: nn.Module, device: torch.device, size: tuple[int, int], settings: SegmentationSettings
) -> Callable[[np.ndarray], np.ndarray]:
    """Return a function from RGB uint8 (H, W, 3) to classes, uint8 (H, W), averaged over scales and mirrored images.

    Probabilities are averaged at the image's own size.

    Args:
        network: the segmentation network.
        device: where it runs.
        size: (height, width) whose area an image has in the network at scale 1.
        settings: scales and flip.
    """

    def predict(image: np.ndarray) -> np.ndarray:
        total = 0.0
        for scale in settings.scales:
            scaled = round(scale * size[0]), round(scale * size[1])
            total = total + run_network(network, image, device, scaled).softmax(dim=0)
            if settings.flip:
                mirrored = run_network(network, np.ascontiguousarray(image[:, ::-1]), device, scaled)
                total = total + mirrored.softmax(dim=0).flip(-1)
        return total.argmax(dim=0).to(torch.uint8).cpu().numpy()

    return predict
