"""The final scale of a relative network's output, and the images that decide it."""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

import torch

from depth_anything_ros.data.frame import LabeledImage
from depth_anything_ros.data.sources import Sample
from depth_anything_ros.model.depth_anything import DepthAnything
from depth_anything_ros.training.loop import Training
from depth_anything_ros.training.nominal_scale import nominal_scale, rescale_output, typical_output
from depth_anything_ros.training.validation.choice import choose
from depth_anything_ros.training.validation.final_scores import readable


class ScaleImages(NamedTuple):
    """Samples, each with the number of its source. ``kind``: "validation" or "training"."""

    kind: str
    samples: list[tuple[int, Sample]]
    is_metric: bool


def rescale_to_nominal(
    network: DepthAnything, images: ScaleImages, size: tuple[int, int]
) -> tuple[float, float] | None:
    """Rescale a relative network's output to nominal inverse depth, 1/m.

    If no depth is known, the typical output becomes 1.

    Args:
        network: the network, changed in place.
        images: the images that decide the scale.
        size: (height, width) to which the images are resized.

    Returns:
        The nominal scale (a, b) after rescaling, or None if no depth is in meters.
    """
    known = [(source, sample) for source, sample in images.samples if has_depth(sample)]
    if not known:
        typical = typical_output(network, (sample.image for _, sample in images.samples), size)
        if typical > 0:
            rescale_output(network, 1 / typical)
        return None
    frames = (frame_of(sample) for _, sample in known)
    a, b = nominal_scale(network, frames, size, [source for source, _ in known])
    rescale_output(network, a)
    return (1.0, b) if images.is_metric else None


def images_for_scale(training: Training) -> ScaleImages:
    """Return the validation images, or else as many training images, the same number from each source.

    If some sources have depth in meters, only their images are returned.
    """
    if training.validation is not None:
        sources, chosen_samples, kind = (
            training.validation.sources,
            list(training.validation.samples_of_all()),
            "validation",
        )
    else:
        sources = training.sources["labeled"] or training.sources["unlabeled"]
        chosen = choose(sources, training.configuration.data.validation_images)
        chosen_samples = [
            (number, sample) for number, indices in chosen.items() for sample in readable(sources[number], indices)
        ]
        if not training.sources["labeled"] and not training.configuration.carry_labels:
            chosen_samples = [
                (number, replace(sample, inverse_depth=None)) for number, sample in chosen_samples
            ]  # the teacher labels them
        kind = "training"
    metric = {number for number, source in enumerate(sources) if source.is_metric}
    return ScaleImages(kind, [one for one in chosen_samples if not metric or one[0] in metric], bool(metric))


def has_depth(sample: Sample) -> bool:
    """Return whether some pixel has known, finite depth."""
    return sample.inverse_depth is not None and bool((sample.inverse_depth > 0).any())


def frame_of(sample: Sample) -> LabeledImage:
    """Return a sample as evaluation expects it; infinite depth becomes unknown."""
    depth = torch.from_numpy(sample.inverse_depth).reciprocal()
    depth[~torch.isfinite(depth)] = torch.nan
    return LabeledImage(sample.name, sample.image, depth.numpy())
