"""Scores of the weights that a stage keeps, by one process: at several scales, and on the sets that it is made for."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator

import numpy as np
from torch import nn
from tqdm import tqdm

from depth_anything_ros.data.frame import DataError, raise_what_may_pass
from depth_anything_ros.data.sources import Sample, Source, read_numbered
from depth_anything_ros.training.held_out import Scores, distinct, mean_scores
from depth_anything_ros.training.loop import Training
from depth_anything_ros.training.segmentation import multi_scale_predictor
from depth_anything_ros.training.validation import Scoring, predictor

log = logging.getLogger(__name__)


def multi_scale_scores(network: nn.Module, training: Training) -> Scores:
    """Scores over several scales of all held-out images, by names that end in _multi_scale; none if there are none."""
    held_out, fabric = training.held_out, training.fabric
    if held_out is None:
        return {}
    samples = tqdm(held_out.samples_of_all(), "several scales", held_out.count, unit="image")
    with fabric.autocast():
        found = scores_by_source(_several_scales(network, training), samples, training.scoring)
    return {f"{name}_multi_scale": value for name, value in mean_scores(list(found.values())).items()}


def evaluation_scores(network: nn.Module, training: Training) -> dict[str, Scores]:
    """Scores by source of all images of ``data.evaluation`` of which something is known; of classes at several scales.

    What cannot be read, or not be scored, is left out; the log names the damaged.
    """
    configuration, fabric = training.configuration, training.fabric
    sources = [source for source in training.sources["evaluation"] if source.known]
    predictors = {"": predictor(network.to(fabric.device), fabric.device, configuration.scored_size)}
    if configuration.segmentation is not None:
        predictors["_multi_scale"] = _several_scales(network, training)
    found: dict[str, Scores] = {}
    for label, source in zip(distinct([source.name for source in sources]), sources, strict=True):
        found[label] = {}
        for ending, predict in predictors.items():
            samples = tqdm(readable(source), f"evaluation on {label}{ending}", sum(source.blocks), unit="image")
            numbered = ((0, sample) for sample in samples if training.scoring.can_score(sample))
            with fabric.autocast():
                for scores in scores_by_source(predict, numbered, training.scoring).values():
                    found[label] |= {f"{name}{ending}": value for name, value in scores.items()}
    return found


def scores_by_source(
    predict: Callable[[np.ndarray], np.ndarray], samples: Iterable[tuple[int, Sample]], scoring: Scoring
) -> dict[int, Scores]:
    """Scores of predictions for samples, by the number of their source; of those sources that have any."""
    totals: dict[int, np.ndarray] = {}
    counts: dict[int, int] = {}
    for source, sample in samples:
        totals[source] = totals.get(source, 0.0) + scoring.tally(predict(sample.image), sample)
        counts[source] = counts.get(source, 0) + 1
    return {source: scoring.summary(total, counts[source]) for source, total in totals.items()}


def readable(source: Source, numbers: Iterable[int] | None = None) -> Iterator[Sample]:
    """The samples of a source that can be read; ``numbers``: these alone. The log names the others."""
    for number in range(sum(source.blocks)) if numbers is None else numbers:
        try:
            yield read_numbered(source, number)
        except DataError as error:
            raise_what_may_pass(error)
            log.warning("left out: %s", error)


def _several_scales(network: nn.Module, training: Training) -> Callable[[np.ndarray], np.ndarray]:
    """Predicts classes as the mean over scales has them."""
    configuration, device = training.configuration, training.fabric.device
    size, settings = configuration.scored_size, configuration.segmentation
    return multi_scale_predictor(network.to(device), device, size, settings)
