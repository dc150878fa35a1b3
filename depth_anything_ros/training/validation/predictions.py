"""How predictions for held-out images are made, scored and drawn."""

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
from depth_anything_ros.evaluation.protocol import limit_metric
from depth_anything_ros.images.resizing import resized_image
from depth_anything_ros.training.input.crops import resized_focal
from depth_anything_ros.training.input.pixels import normalize_pixels
from depth_anything_ros.visualization.colormap import colorize
from depth_anything_ros.zoo.encoders import PATCH_SIZE

PANEL = (168, 224)


class Scoring(Protocol):
    """How predictions for held-out images are scored: what each image adds to a sum, and what the sum says."""

    best: str
    """The score that decides which weights are kept; larger is better."""
    length: int
    """How many values `tally` gives."""

    def can_score(self, sample: Sample) -> bool:
        """Whether enough is known of a sample."""

    def tally(self, prediction: np.ndarray, sample: Sample) -> np.ndarray:
        """What an image adds, float64 (``length``,). ``prediction``: as `predictor` gives it, (H, W)."""

    def summary(self, total: np.ndarray, images: int) -> dict[str, float]:
        """Scores by name."""

    def picture(self, prediction: np.ndarray, sample: Sample) -> np.ndarray:
        """What the network says of a sample, beside what is true; RGB uint8, two panels."""


class DepthScoring:
    """AbsRel and δ1: of relative networks after alignment of scale and shift in inverse depth, of metric ones as is.

    Args:
        max_depth: meters, where a metric network's output ends: what is farther is not scored; None: a relative one.
        size: (height, width): about so many pixels go through the network, see `input_size`.
        training_focal: pixels of the network's input; a metric network's meters are multiplied for the lens of each
            image that tells it, as the node and `evaluate` do. None: they are taken as they are.
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
        """Whether depth is known somewhere, and within what the network can say."""
        return sample.inverse_depth is not None and bool(self._mask(sample).any())

    def tally(self, prediction: np.ndarray, sample: Sample) -> np.ndarray:
        """AbsRel and δ1 of one image; NaN where the network gave no numbers."""
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
        """The pixels that count, bool (H, W): of known depth, that the network can reach with the image's lens."""
        if self._max_depth is None:
            return sample.inverse_depth > 0
        farthest = self._max_depth * min(1.0, self._gain(sample))
        return sample.inverse_depth >= np.float32((1 - 1e-6) / farthest)  # 1 / (1 / 80) is rounded twice

    def _gain(self, sample: Sample) -> float:
        if self._training_focal is None or sample.focal is None:
            return 1.0
        shape = sample.image.shape[:2]
        return float(np.mean(resized_focal(sample.focal, shape, input_size(shape, self._size)))) / self._training_focal

    def summary(self, total: np.ndarray, images: int) -> dict[str, float]:
        """Means over images."""
        return {"abs_rel": float(total[0] / images), "delta1": float(total[1] / images)}

    def picture(self, prediction: np.ndarray, sample: Sample) -> np.ndarray:
        """True and predicted inverse depth."""
        with np.errstate(divide="ignore"):
            inverse = prediction if self._max_depth is None else 1.0 / prediction
        return np.hstack([colorize(panel(sample.inverse_depth)), colorize(panel(inverse))])


def is_better(scores: Mapping[str, float], best: Mapping[str, float] | None, name: str) -> bool:
    """Whether weights with these scores are to be kept in place of those with the ``best``; NaN is never better."""
    if math.isnan(scores[name]):
        return False
    return best is None or not scores[name] < best[name]


def predictor(module: nn.Module, device: torch.device, size: tuple[int, int]) -> Callable[[np.ndarray], np.ndarray]:
    """RGB uint8 (H, W, 3) to what the network says of it: a map, float32 (H, W), or classes, uint8 (H, W)."""

    def predict(image: np.ndarray) -> np.ndarray:
        maps = run_network(module, image, device, size)
        return (maps[0] if len(maps) == 1 else maps.argmax(dim=0).to(torch.uint8)).cpu().numpy()

    return predict


@torch.no_grad()
def run_network(module: nn.Module, image: np.ndarray, device: torch.device, size: tuple[int, int]) -> torch.Tensor:
    """What the network gives for RGB uint8 (H, W, 3), resized to the image's size: float32 (1 or classes, H, W)."""
    shape = input_size(image.shape[:2], size)
    pixels = torch.from_numpy(resized_image(image, shape))[None].to(device)
    maps = module(normalize_pixels(pixels)).float()
    maps = maps[:, None] if maps.ndim == 3 else maps
    return nn.functional.interpolate(maps, image.shape[:2], mode="bilinear", align_corners=False)[0]


def input_size(image: tuple[int, int], size: tuple[int, int]) -> tuple[int, int]:
    """About as many pixels as ``size`` has, in the image's proportions; both (height, width), multiples of 14."""
    factor = (size[0] * size[1] / (image[0] * image[1])) ** 0.5
    rows, columns = (max(1, round(side * factor / PATCH_SIZE)) for side in image)
    return rows * PATCH_SIZE, columns * PATCH_SIZE


def panel(pixels: np.ndarray) -> np.ndarray:
    """A map or an image at the size of a panel."""
    return cv2.resize(pixels, PANEL[::-1], interpolation=cv2.INTER_NEAREST)
