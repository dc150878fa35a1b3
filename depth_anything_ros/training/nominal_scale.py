"""Plausible meters for a relative network: measure its nominal scale, and multiply its output by it."""

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
    """Return the one (a, b) whose depth 1 / (a * inverse depth + b) has the smallest error over all frames.

    The error is the mean absolute difference of log depth. A relative network's scale differs between images, so this
    gives plausible meters, not measured ones. The search uses a grid that is narrowed three times.

    Args:
        network: the relative network.
        frames: images with depth in meters.
        size: (height, width) to which the images are resized.
        sources: number of each frame's source; sources count equally, however many frames they have. Default: one
            source.

    Raises:
        ValueError: the network's output is constant.
    """
    generator = np.random.default_rng(0)
    predicted, true, source_numbers = [], [], []
    for frame, source in zip(frames, repeat(0) if sources is None else sources, strict=False):
        inverse_depth = predict(network, frame.image, size)
        source_numbers.append(source)
        known = np.argwhere(np.isfinite(frame.depth))  # before resizing, which might drop all pixels of sparse depth
        rows, columns = generator.choice(known, NOMINAL_SAMPLES).T
        height, width = frame.depth.shape
        predicted.append(inverse_depth[rows * size[0] // height, columns * size[1] // width])
        true.append(frame.depth[rows, columns])
    values, depths = np.concatenate(predicted), np.concatenate(true)
    weights = np.repeat(weights_of(source_numbers), NOMINAL_SAMPLES)
    if np.ptp(values) <= 1e-6 * np.abs(values).max():  # resizing a constant rounds it
        raise ValueError("the network's inverse depth is the same everywhere: it has learned nothing; train it longer")
    # Search around the scale that maps the network's typical value to a typical inverse depth.
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
    """Return each frame's weight, float64 (N,), from the number of its source: sources count equally."""
    _, positions, counts = np.unique(sources, return_inverse=True, return_counts=True)
    return 1.0 / (len(counts) * counts[positions])


@torch.no_grad()
def predict(network: DepthAnything, image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Return the network's output for one image.

    Args:
        network: the network.
        image: RGB uint8 (H, W, 3).
        size: (height, width) to which the image is resized.

    Returns:
        float32 of ``size``.
    """
    resized = resized_image(image, size)
    return network(normalize_pixels(torch.from_numpy(resized)[None]))[0].numpy()


def typical_output(network: DepthAnything, images: Iterable[np.ndarray], size: tuple[int, int]) -> float:
    """Return the median over images of each image's mean output; for images without depth.

    Args:
        network: the network.
        images: RGB uint8 (H, W, 3) each.
        size: (height, width) to which the images are resized.
    """
    return float(np.median([predict(network, image, size).mean() for image in images]))


@torch.no_grad()
def rescale_output(network: DepthAnything, factor: float) -> None:
    """Multiply a relative network's output by a factor, exactly.

    Scale-invariant losses do not fix a network's scale, so it drifts: to ten million in the bundled one, beyond the
    range of half precision. The factor is spread over the last convolutions, so that nothing between them overflows
    either. Only ReLU and resizing are between them, and both pass a factor.

    Args:
        network: the network, changed in place.
        factor: greater than 0.
    """
    chain = network.depth_head.scratch.output_chain()
    step = factor ** (1 / len(chain))
    for position, convolution in enumerate(chain, start=1):
        convolution.weight.mul_(step)
        convolution.bias.mul_(step**position)
