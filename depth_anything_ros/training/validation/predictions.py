"""Predictions for validation images: how they are made, scored and drawn."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Protocol

import cv2
import numpy as np
import torch
from torch import nn

from depth_anything_ros.data.sources import Sample
from depth_anything_ros.evaluation.alignment import align
from depth_anything_ros.evaluation.metrics import score_depth
from depth_anything_ros.evaluation.scoring import limit_metric
from depth_anything_ros.images.resizing import resized_image
from depth_anything_ros.training.input.crops import resized_focal
from depth_anything_ros.training.input.pixels import normalize_pixels
from depth_anything_ros.visualization.colormap import colorize
from depth_anything_ros.zoo.encoders import PATCH_SIZE

PANEL = (168, 224)


class Scoring(Protocol):
    """How predictions are scored: each image adds values to a sum, and the sum gives the scores."""

    best: str
    """Name of the score that decides which weights are kept; larger is better."""
    length: int
    """Number of values that `tally` returns."""

    def can_score(self, sample: Sample) -> bool:
        """Return whether a sample has the labels that the score needs."""

    def tally(self, prediction: np.ndarray, sample: Sample) -> np.ndarray:
        """Return the values that an image adds to the sum.

        Args:
            prediction: from `predictor`, (H, W).
            sample: the sample with its labels.

        Returns:
            float64 (``length``,).
        """

    def summary(self, total: np.ndarray, images: int) -> dict[str, float]:
        """Return the scores by name.

        Args:
            total: the sum of `tally` over images.
            images: number of images.
        """

    def picture(self, prediction: np.ndarray, sample: Sample) -> np.ndarray:
        """Return the true and the predicted labels side by side, two panels, RGB uint8.

        Args:
            prediction: as for `tally`.
            sample: the sample with its labels.
        """


class DepthScoring:
    """AbsRel and δ1. Relative predictions are aligned first in scale and shift of inverse depth, metric ones are not.

    Args:
        max_depth: the metric network's largest output, meters; larger depths are not scored. None: a relative network.
        size: (height, width) whose area an image has in the network; see `input_size`.
        training_focal: pixels of the network's input. A metric network's meters are corrected for each image's focal
            length if it is known, as in the node and in `evaluate`. None: no correction.
    """

    best = "delta1"
    length = 2

    def __init__(
        self,
        max_depth: float | None = None,
        size: tuple[int, int] | None = None,
        training_focal: float | None = None,
    ) -> None:
        self._max_depth, self._size, self._training_focal = max_depth, size, training_focal

    def can_score(self, sample: Sample) -> bool:
        """Return whether some pixel has known depth within the network's range."""
        return sample.inverse_depth is not None and bool(self._mask(sample).any())

    def tally(self, prediction: np.ndarray, sample: Sample) -> np.ndarray:
        """Return AbsRel and δ1 of one image; NaN if the prediction has NaN or infinity. See `Scoring.tally`."""
        mask = self._mask(sample)
        if not np.isfinite(prediction[mask]).all():
            return np.full(self.length, np.nan)
        with np.errstate(divide="ignore"):
            depth = 1.0 / sample.inverse_depth
        if self._max_depth is None:
            predicted = align(prediction, depth, mask)
        else:
            predicted = limit_metric(self._gain(sample) * prediction, None)
        scores = score_depth(predicted[mask], depth[mask])
        return np.array([scores.abs_rel, scores.delta1])

    def _mask(self, sample: Sample) -> np.ndarray:
        """Return the pixels that count, bool (H, W): known depth that the network can reach with the image's lens."""
        if self._max_depth is None:
            return sample.inverse_depth > 0
        farthest = self._max_depth * min(1.0, self._gain(sample))
        return sample.inverse_depth >= np.float32((1 - 1e-6) / farthest)  # tolerance, since 1 / (1 / 80) rounds twice

    def _gain(self, sample: Sample) -> float:
        if self._training_focal is None or sample.focal is None:
            return 1.0
        shape = sample.image.shape[:2]
        return float(np.mean(resized_focal(sample.focal, shape, input_size(shape, self._size)))) / self._training_focal

    def summary(self, total: np.ndarray, images: int) -> dict[str, float]:
        """Return the means over images. See `Scoring.summary`."""
        return {"abs_rel": float(total[0] / images), "delta1": float(total[1] / images)}

    def picture(self, prediction: np.ndarray, sample: Sample) -> np.ndarray:
        """Draw true and predicted inverse depth. See `Scoring.picture`."""
        with np.errstate(divide="ignore"):
            inverse = prediction if self._max_depth is None else 1.0 / prediction
        return np.hstack([colorize(panel(sample.inverse_depth)), colorize(panel(inverse))])


def is_better(scores: Mapping[str, float], best: Mapping[str, float] | None, name: str) -> bool:
    """Return whether these weights should replace the best so far; NaN is never better.

    Args:
        scores: of these weights.
        best: of the best weights so far; None if there are none.
        name: the score that decides; larger is better.
    """
    if math.isnan(scores[name]):
        return False
    return best is None or not scores[name] < best[name]


def predictor(module: nn.Module, device: torch.device, size: tuple[int, int]) -> Callable[[np.ndarray], np.ndarray]:
    """Return a function that predicts one image.

    It takes RGB uint8 (H, W, 3) and returns a map, float32 (H, W), or classes, uint8 (H, W).

    Args:
        module: the network.
        device: where it runs.
        size: (height, width) whose area an image has in the network; see `input_size`.
    """

    def predict(image: np.ndarray) -> np.ndarray:
        maps = run_network(module, image, device, size)
        return (maps[0] if len(maps) == 1 else maps.argmax(dim=0).to(torch.uint8)).cpu().numpy()

    return predict


@torch.no_grad()
def run_network(module: nn.Module, image: np.ndarray, device: torch.device, size: tuple[int, int]) -> torch.Tensor:
    """Run the network on one image, and resize the output to the image's size.

    Args:
        module: the network.
        image: RGB uint8 (H, W, 3).
        device: where it runs.
        size: (height, width) whose area the image has in the network; see `input_size`.

    Returns:
        float32 (1 or classes, H, W).
    """
    shape = input_size(image.shape[:2], size)
    pixels = torch.from_numpy(resized_image(image, shape))[None].to(device)
    maps = module(normalize_pixels(pixels)).float()
    maps = maps[:, None] if maps.ndim == 3 else maps
    return nn.functional.interpolate(maps, image.shape[:2], mode="bilinear", align_corners=False)[0]


def input_size(image: tuple[int, int], size: tuple[int, int]) -> tuple[int, int]:
    """Return the size with about the area of ``size`` and the image's aspect ratio, in multiples of 14.

    Args:
        image: (height, width) of the image.
        size: (height, width).

    Returns:
        (height, width).
    """
    factor = (size[0] * size[1] / (image[0] * image[1])) ** 0.5
    rows, columns = (max(1, round(side * factor / PATCH_SIZE)) for side in image)
    return rows * PATCH_SIZE, columns * PATCH_SIZE


def panel(pixels: np.ndarray) -> np.ndarray:
    """Resize a map or an image to the size of a panel."""
    return cv2.resize(pixels, PANEL[::-1], interpolation=cv2.INTER_NEAREST)
