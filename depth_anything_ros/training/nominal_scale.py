"""Plausible metres for a relative network: its nominal scale is measured, and its output multiplied accordingly."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import torch

from depth_anything_ros.data.frame import Frame
from depth_anything_ros.model.depth_anything import DepthAnything
from depth_anything_ros.runtime.preprocessing import resized_image
from depth_anything_ros.training.pixels import normalise_pixels

NOMINAL_SAMPLES = 400
NOMINAL_FARTHEST = 200.0


@torch.no_grad()
def nominal_scale(network: DepthAnything, frames: Iterable[Frame], size: tuple[int, int]) -> tuple[float, float]:
    """The one (a, b) for which 1 / (a * inverse depth + b) errs least over all frames, in the logarithm of depth.

    ``size`` (height, width) is what the images are resized to. A relative network's scale differs from image to
    image, so that this gives plausible metres, not measured ones. Found on a grid that is narrowed three times.
    """
    generator = np.random.default_rng(0)
    predicted, true = [], []
    for frame in frames:
        image = resized_image(frame.image, size)
        inverse_depth = network(normalise_pixels(torch.from_numpy(image)[None]))[0].numpy()
        known = np.argwhere(np.isfinite(frame.depth))  # before it is resized: of sparse depth, nothing might be left
        rows, columns = generator.choice(known, NOMINAL_SAMPLES).T
        height, width = frame.depth.shape
        predicted.append(inverse_depth[rows * size[0] // height, columns * size[1] // width])
        true.append(frame.depth[rows, columns])
    values, depths = np.concatenate(predicted), np.concatenate(true)
    if np.ptp(values) == 0:
        raise ValueError("the network gives the same inverse depth everywhere: it has learnt nothing")
    # The network's typical value must come near a typical inverse depth: the search is around that.
    centre_a, centre_b = np.log(np.median(1 / depths) / np.median(values)), np.log(1 / NOMINAL_FARTHEST) + 2
    reach = 4.0
    for _ in range(4):
        candidates_a, candidates_b = (centre + np.linspace(-reach, reach, 17) for centre in (centre_a, centre_b))
        errors = np.array(
            [
                [np.abs(np.log((np.exp(a) * values + np.exp(b)) * depths)).mean() for b in candidates_b]
                for a in candidates_a
            ]
        )
        best_a, best_b = np.unravel_index(errors.argmin(), errors.shape)
        centre_a, centre_b, reach = candidates_a[best_a], candidates_b[best_b], reach / 4
    return float(np.exp(centre_a)), float(np.exp(centre_b))


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
