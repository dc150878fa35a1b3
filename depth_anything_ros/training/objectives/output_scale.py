"""What a relative network's output is multiplied by in the end, and the images on which that is found."""

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
    """Samples with the number of the source of each. ``what``: "held-out" or "training"."""

    what: str
    samples: list[tuple[int, Sample]]
    is_metric: bool


def rescale_to_nominal(
    network: DepthAnything, images: ScaleImages, size: tuple[int, int]
) -> tuple[float, float] | None:
    """Rescales the output; returns the nominal scale that is left, None where no depth is in meters.

    ``size`` (height, width) is what images are resized to. Where nothing is known of depth, a typical output becomes 1.
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
    """The held-out images; where there are none, as many of those that are trained on, equally many of each source.

    Of sources of which some are in meters, those alone.
    """
    if training.validation is not None:
        sources, found, what = training.validation.sources, list(training.validation.samples_of_all()), "held-out"
    else:
        sources = training.sources["labeled"] or training.sources["unlabeled"]
        chosen = choose(sources, training.configuration.data.validation_images)
        found = [(which, sample) for which, numbers in chosen.items() for sample in readable(sources[which], numbers)]
        if not training.sources["labeled"] and not training.configuration.carry_labels:
            found = [(which, replace(sample, inverse_depth=None)) for which, sample in found]  # not for the student
        what = "training"
    metric = {which for which, source in enumerate(sources) if source.is_metric}
    return ScaleImages(what, [one for one in found if not metric or one[0] in metric], bool(metric))


def has_depth(sample: Sample) -> bool:
    """Whether some pixel is of known and finite depth."""
    return sample.inverse_depth is not None and bool((sample.inverse_depth > 0).any())


def frame_of(sample: Sample) -> LabeledImage:
    """A sample as evaluation knows it; what is infinitely far counts as unknown there."""
    depth = torch.from_numpy(sample.inverse_depth).reciprocal()
    depth[~torch.isfinite(depth)] = torch.nan
    return LabeledImage(sample.name, sample.image, depth.numpy())
