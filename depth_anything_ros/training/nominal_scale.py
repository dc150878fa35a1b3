"""Plausible meters for a relative network: its nominal scale is measured, and its output multiplied accordingly."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import repeat

import numpy as np
import torch

from depth_anything_ros.data.frame import LabeledImage
from depth_anything_ros.images.resizing import resized_image
from depth_anything_ros.model.depth_anything import DepthAnything
from depth_anything_ros.training.input.pixels import normalize_pixels

NOMINAL_SAMPLES = 400
NOMINAL_FARTHEST = 200.0


def nominal_scale(
    network: DepthAnything, frames: Iterable[LabeledImage], size: tuple[int, int], sources: Iterable[int] | None = None
) -> tuple[float, float]:
    """The one (a, b) for which 1 / (a * inverse depth + b) errs least over all frames, in the logarithm of depth.

    ``size`` (height, width) is what the images are resized to. ``sources``: a number for each frame, the same for those
    of one source; sources count alike, however many frames they have. Default: all are of one. A relative network's
    scale differs from image to image, so that this gives plausible meters, not measured ones. Found on a grid that is
    narrowed three times.
    """
    generator = np.random.default_rng(0)
    predicted, true, of_frames = [], [], []
    for frame, source in zip(frames, repeat(0) if sources is None else sources, strict=False):
        inverse_depth = predict(network, frame.image, size)
        of_frames.append(source)
        known = np.argwhere(np.isfinite(frame.depth))  # before it is resized: of sparse depth, nothing might be left
        rows, columns = generator.choice(known, NOMINAL_SAMPLES).T
        height, width = frame.depth.shape
        predicted.append(inverse_depth[rows * size[0] // height, columns * size[1] // width])
        true.append(frame.depth[rows, columns])
    values, depths = np.concatenate(predicted), np.concatenate(true)
    weights = np.repeat(weights_of(of_frames), NOMINAL_SAMPLES)
    if np.ptp(values) == 0:
        raise ValueError("the network gives the same inverse depth everywhere: it has learned nothing")
    # The network's typical value must come near a typical inverse depth: the search is around that.
    typical = np.median(values) or values.mean()  # a ReLU may have zeroed most
    center_a, center_b = np.log(np.median(1 / depths) / typical), np.log(1 / NOMINAL_FARTHEST) + 2
    reach = 4.0
    for _ in range(4):
        candidates_a, candidates_b = (center + np.linspace(-reach, reach, 17) for center in (center_a, center_b))
        errors = np.array(
            [
                [weights @ np.abs(np.log((np.exp(a) * values + np.exp(b)) * depths)) for b in candidates_b]
                for a in candidates_a
            ]
        )
        best_a, best_b = np.unravel_index(errors.argmin(), errors.shape)
        center_a, center_b, reach = candidates_a[best_a], candidates_b[best_b], reach / 4
    return float(np.exp(center_a)), float(np.exp(center_b))


def weights_of(sources: Sequence[int]) -> np.ndarray:
    """What each frame counts, given the number of its source: sources count alike, float64 (N,)."""
    _, which, counts = np.unique(sources, return_inverse=True, return_counts=True)
    return 1.0 / (len(counts) * counts[which])


@torch.no_grad()
def predict(network: DepthAnything, image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """The output, float32 of ``size`` (height, width), for RGB uint8 (H, W, 3)."""
    resized = resized_image(image, size)
    return network(normalize_pixels(torch.from_numpy(resized)[None]))[0].numpy()


def typical_output(network: DepthAnything, images: Iterable[np.ndarray], size: tuple[int, int]) -> float:
    """The median over images of each image's mean output, where nothing is known of depth."""
    return float(np.median([predict(network, image, size).mean() for image in images]))


@torch.no_grad()
def rescale_output(network: DepthAnything, factor: float) -> None:
    """Multiplies a relative network's output by ``factor`` > 0, exactly.

    Losses that know no scale leave a network's free, and it drifts: to ten million in the bundled one, more than half
    precision can hold. The factor is spread over the last four convolutions, so that nothing between them overflows
    either; only ReLU and resizing, which let a factor through, lie there.
    """
    scratch = network.depth_head.scratch
    chain = (scratch.refinenet1.out_conv, scratch.output_conv1, scratch.output_conv2[0], scratch.output_conv2[2])
    step = factor ** (1 / len(chain))
    for position, convolution in enumerate(chain, start=1):
        convolution.weight.mul_(step)
        convolution.bias.mul_(step**position)
