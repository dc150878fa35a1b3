"""Held-out images during training: scored by all devices together, drawn by the first."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import accumulate
from typing import Protocol

import cv2
import numpy as np
import torch
from lightning_fabric import Fabric
from torch import nn

from depth_anything_ros.data.check import in_rows
from depth_anything_ros.data.frame import DataError
from depth_anything_ros.data.sources import Sample, Source, name_and_version, read_numbered
from depth_anything_ros.evaluation.alignment import align
from depth_anything_ros.evaluation.metrics import score_depth
from depth_anything_ros.evaluation.protocol import limit_metric
from depth_anything_ros.model.configurations import PATCH_SIZE
from depth_anything_ros.runtime.colour import colourise
from depth_anything_ros.runtime.preprocessing import resized_image
from depth_anything_ros.training.pixels import normalise_pixels

PICTURES = 4
PANEL = (168, 224)


class Scoring(Protocol):
    """How predictions for held-out images are scored: what each image adds to a sum, and what the sum says."""

    best: str
    """The score that decides which weights are kept; larger is better."""

    def can_score(self, sample: Sample) -> bool:
        """Whether enough is known of a sample."""

    def tally(self, prediction: np.ndarray, sample: Sample) -> np.ndarray:
        """What an image adds, float64 (K,). ``prediction``: as `predictor` gives it, (H, W)."""

    def summary(self, total: np.ndarray, images: int) -> dict[str, float]:
        """Scores by name."""

    def picture(self, prediction: np.ndarray, sample: Sample) -> np.ndarray:
        """What the network says of a sample, beside what is true; RGB uint8, two panels."""


class DepthScoring:
    """AbsRel and δ1: of relative networks after alignment of scale and shift in inverse depth, of metric ones as is."""

    best = "delta1"

    def __init__(self, metric: bool = False) -> None:
        self._metric = metric

    def can_score(self, sample: Sample) -> bool:
        """Whether depth is known somewhere."""
        return sample.inverse_depth is not None and bool((sample.inverse_depth > 0).any())

    def tally(self, prediction: np.ndarray, sample: Sample) -> np.ndarray:
        """AbsRel and δ1 of one image."""
        mask = sample.inverse_depth > 0
        with np.errstate(divide="ignore"):
            depth = 1.0 / sample.inverse_depth
        predicted = limit_metric(prediction, None) if self._metric else align(prediction, depth, mask)
        scores = score_depth(predicted[mask], depth[mask])
        return np.array([scores.abs_rel, scores.delta1])

    def summary(self, total: np.ndarray, images: int) -> dict[str, float]:
        """Means over images."""
        return {"abs_rel": float(total[0] / images), "delta1": float(total[1] / images)}

    def picture(self, prediction: np.ndarray, sample: Sample) -> np.ndarray:
        """True and predicted inverse depth."""
        with np.errstate(divide="ignore"):
            inverse = 1.0 / prediction if self._metric else prediction
        return np.hstack([colourise(panel(sample.inverse_depth)), colourise(panel(inverse))])


class HeldOut:
    """Samples that training never sees; each device holds its share. ``described`` tells them from any others.

    Args:
        sources: the samples, of which ``count`` are taken, evenly spaced.
        size: (height, width): about so many pixels go through the network, in an image's own proportions.
        scoring: how they are scored.
        rank, devices: this device's number, and how many there are.
    """

    def __init__(
        self,
        sources: Sequence[Source],
        count: int,
        size: tuple[int, int],
        scoring: Scoring,
        rank: int = 0,
        devices: int = 1,
    ) -> None:
        self._scoring, self._size, self._devices = scoring, size, devices
        self.is_metric = all(source.is_metric for source in sources)
        self._sources, self._numbers = sources, evenly_spaced_numbers(sources, count)
        self.count = len(self._numbers)
        self.described = f"{self.count} of {', '.join(map(name_and_version, sources))}, at {size[0]}x{size[1]}"
        self._rounds = -(-self.count // devices)
        # Where weights are sharded, all devices must run the network equally often: the last round is filled up.
        shares = [(turn * devices + rank) for turn in range(self._rounds)]
        self._counted = [place < self.count for place in shares]
        self.samples = [self._read(*self._numbers[place % self.count]) for place in shares]

    def samples_of_all(self) -> Iterator[Sample]:
        """The samples of all devices, each once; where others hold some, read anew one after the other."""
        if self._devices == 1:
            yield from self.samples
            return
        for which, number in self._numbers:
            yield self._read(which, number)

    def _read(self, which: int, number: int) -> Sample:
        """A sample that can be scored: where one cannot, the next of its source that can."""
        source = self._sources[which]
        total = sum(source.blocks)
        for further in range(total):
            sample = read_numbered(source, (number + further) % total)
            if self._scoring.can_score(sample):
                return sample
        raise DataError(f"no sample of {source.name} has known depth or classes, so that nothing can be scored")

    def score(
        self, fabric: Fabric, module: nn.Module, before_each: Callable[[], None] = lambda: None
    ) -> tuple[dict[str, float], np.ndarray]:
        """Scores by name, the same on every device, and a picture of this device's first samples, RGB uint8.

        ``before_each`` is called before each image, by all devices equally often, and may raise.
        """
        total, rows = 0.0, []
        predict = predictor(module, fabric.device, self._size)
        for sample, counts in zip(self.samples, self._counted, strict=True):
            before_each()
            prediction = predict(sample.image)
            if counts:
                total = total + self._scoring.tally(prediction, sample)
            if len(rows) < PICTURES:
                rows.append(np.hstack([panel(sample.image), self._scoring.picture(prediction, sample)]))
        if np.isscalar(total):  # more devices than images
            total = np.zeros_like(self._scoring.tally(prediction, sample))
        total = fabric.all_reduce(torch.from_numpy(total).to(fabric.device, torch.float64), reduce_op="sum")
        return self._scoring.summary(total.cpu().numpy(), self.count), in_rows(rows, 1)


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
    maps = module(normalise_pixels(pixels)).float()
    maps = maps[:, None] if maps.ndim == 3 else maps
    return nn.functional.interpolate(maps, image.shape[:2], mode="bilinear", align_corners=False)[0]


def input_size(image: tuple[int, int], size: tuple[int, int]) -> tuple[int, int]:
    """About as many pixels as ``size`` has, in the image's proportions; both (height, width), multiples of 14."""
    factor = (size[0] * size[1] / (image[0] * image[1])) ** 0.5
    rows, columns = (max(1, round(side * factor / PATCH_SIZE)) for side in image)
    return rows * PATCH_SIZE, columns * PATCH_SIZE


def evenly_spaced_numbers(sources: Sequence[Source], count: int) -> list[tuple[int, int]]:
    """Source and number of at most ``count`` samples, evenly spaced over all."""
    sizes = [sum(source.blocks) for source in sources]
    total, starts = sum(sizes), [0, *accumulate(sizes)]
    count = min(count, total)
    places = [place * total // count for place in range(count)]
    owners = [next(index for index, start in enumerate(starts[1:]) if place < start) for place in places]
    return [(owner, place - starts[owner]) for owner, place in zip(owners, places, strict=True)]


def panel(pixels: np.ndarray) -> np.ndarray:
    """A map or an image at the size of a panel."""
    return cv2.resize(pixels, PANEL[::-1], interpolation=cv2.INTER_NEAREST)
