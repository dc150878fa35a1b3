"""The focal length that a metric stage trains with: that of its crops, in pixels of the network's input."""

from __future__ import annotations

import logging

import numpy as np

from depth_anything_ros.training.configuration import StageConfiguration
from depth_anything_ros.training.input.batches import SampleIndex, Samples

log = logging.getLogger(__name__)

CROPS = 64
WIDEST = 0.15
"""Standard deviation of the logarithm of focal lengths, beyond which they have no one that suits all."""


def training_focal(configuration: StageConfiguration, samples: Samples) -> float | None:
    """The geometric mean over crops of fx and fy; None where it is not known, or not one.

    The depth that a network cannot tell from another by the image alone is learned as the mean of its logarithm. So
    the mean of the focal length's logarithm is what its meters hold for. Looked at are some crops, drawn as the run
    draws them, evenly spaced over its steps.
    """
    parts = configuration.optimizer.steps * configuration.optimizer.grad_accum_steps
    chosen = np.unique(np.linspace(0, parts - 1, CROPS).astype(int)).tolist()
    of_part = configuration.data.labeled_batch_size // configuration.optimizer.grad_accum_steps
    places = [SampleIndex("labeled", part, slot) for slot in range(of_part) for part in chosen][:CROPS]
    focals = [samples.view(place).focal for place in places]
    known = [focal for focal in focals if focal is not None]
    if len(known) < len(focals):
        log.warning(
            "%d of %d crops are of unknown focal length: the model's record names none, and the node warns of it; give "
            "it with `export --training-focal`",
            *(len(focals) - len(known), len(focals)),
        )
        return None
    logarithms = np.log(np.mean(known, axis=1))
    mean, spread = float(np.exp(logarithms.mean())), float(logarithms.std())
    if spread > WIDEST:
        log.warning(
            "crops have focal lengths from %.0f to %.0f pixels, and none suits all: the model's record names none; "
            "train on one camera, with one size and smallest_crop 1",
            *(np.exp(logarithms.min()), np.exp(logarithms.max())),
        )
        return None
    return mean
