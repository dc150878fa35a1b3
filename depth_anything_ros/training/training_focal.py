"""The focal length that a metric stage trains with: the mean over its crops, in pixels of the network's input."""

from __future__ import annotations

import logging

import numpy as np

from depth_anything_ros.training.configuration import StageConfiguration
from depth_anything_ros.training.input.samples import SampleIndex, Samples

log = logging.getLogger(__name__)

CROPS = 64
MAX_SPREAD = 0.15
"""Largest standard deviation of the logarithm of focal lengths for which their mean suits all crops."""


def training_focal(configuration: StageConfiguration, samples: Samples) -> float | None:
    """Return the geometric mean of the crops' focal lengths (mean of fx and fy), in pixels of the network's input.

    A network learns the mean logarithm of depths that one image allows. So its meters hold for the mean logarithm of
    the focal lengths. The crops are drawn as the run draws them, evenly spaced over its steps.

    Args:
        configuration: the stage's settings.
        samples: the samples to draw crops from.

    Returns:
        The focal length, or None if it is unknown for some crop, or differs too much between crops.
    """
    parts = configuration.optimizer.steps * configuration.optimizer.grad_accum_steps
    chosen = np.unique(np.linspace(0, parts - 1, CROPS).astype(int)).tolist()
    of_part = configuration.data.labeled_batch_size // configuration.optimizer.grad_accum_steps
    indices = [SampleIndex("labeled", part, slot) for slot in range(of_part) for part in chosen][:CROPS]
    focals = [samples.view(index).focal for index in indices]
    known = [focal for focal in focals if focal is not None]
    if len(known) < len(focals):
        log.warning(
            "%d of %d crops have no known focal length, so the model's record has none and the node warns about it; "
            "set it with `export --training-focal`",
            *(len(focals) - len(known), len(focals)),
        )
        return None
    logarithms = np.log(np.mean(known, axis=1))
    mean, spread = float(np.exp(logarithms.mean())), float(logarithms.std())
    if spread > MAX_SPREAD:
        log.warning(
            "the focal lengths of the crops range from %.0f to %.0f pixels, too far apart for one value, so the "
            "model's record has none; train with one camera, one size and smallest_crop 1",
            *(np.exp(logarithms.min()), np.exp(logarithms.max())),
        )
        return None
    return mean
