"""Scores of a stage's final weights, by one process: at several scales, and on the evaluation sources."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import NamedTuple

import numpy as np
from torch import nn

from depth_anything_ros.data.frame import DataError, reraise_disk_error
from depth_anything_ros.data.sources import Sample, Source, read_numbered
from depth_anything_ros.system.progress import track
from depth_anything_ros.training.input.sources_in_use import is_scored
from depth_anything_ros.training.loop import Training
from depth_anything_ros.training.validation.predictions import Scoring, predictor
from depth_anything_ros.training.validation.scorer import Scores, distinct, mean_scores
from depth_anything_ros.training.validation.segmentation import multi_scale_predictor

log = logging.getLogger(__name__)

Predictor = Callable[[np.ndarray], np.ndarray]
"""See `predictor`."""


def multi_scale_scores(network: nn.Module, training: Training) -> Scores:
    """Return the scores of all validation images over several scales.

    Args:
        network: the segmentation network.
        training: the run.

    Returns:
        Scores by names that end in _multi_scale; empty without validation images.
    """
    validation, fabric = training.validation, training.fabric
    if validation is None:
        return {}
    samples = track(validation.samples_of_all(), "several scales", "images", validation.count)
    with fabric.autocast():
        by_source = scores_by_source(_several_scales(network, training), samples, training.scoring)
    return {f"{name}_multi_scale": value for name, value in mean_scores(list(by_source.values())).items()}


class Evaluation(NamedTuple):
    """Scores of those sources that can be scored, by name, and the number of images that could not be read."""

    scores: dict[str, Scores]
    left_out: int


def evaluation_scores(network: nn.Module, training: Training) -> Evaluation:
    """Score the images of ``data.evaluation`` that have the stage's kind of labels.

    Classes are also scored at several scales. Images that cannot be read or scored are left out; the log names the
    damaged ones.

    Args:
        network: the final network.
        training: the run.
    """
    configuration, fabric = training.configuration, training.fabric
    sources = [source for source in training.sources["evaluation"] if is_scored(source, configuration)]
    predictors = {"": predictor(network.to(fabric.device), fabric.device, configuration.scored_size)}
    if configuration.segmentation is not None:
        predictors["_multi_scale"] = _several_scales(network, training)
    by_label, left_out = {}, 0
    for label, source in zip(distinct([source.name for source in sources]), sources, strict=True):
        images = sum(source.blocks)
        samples = track(readable(source), f"evaluation on {label}", "images", images)
        with fabric.autocast():
            scores, read = _scores_of(predictors, samples, training.scoring)
        left_out += images - read
        if scores:
            by_label[label] = scores
        else:
            log.warning("evaluation on %s: none of its images has labels that can be scored", label)
    return Evaluation(by_label, left_out)


def _scores_of(predictors: Mapping[str, Predictor], samples: Iterable[Sample], scoring: Scoring) -> tuple[Scores, int]:
    """Return the scores of each predictor, whose name ends their names, and the number of samples that were read."""
    totals, read, scored = dict.fromkeys(predictors, 0.0), 0, 0
    for sample in samples:
        read += 1
        if scoring.can_score(sample):
            scored += 1
            for ending, predict in predictors.items():
                totals[ending] = totals[ending] + scoring.tally(predict(sample.image), sample)
    summaries = {ending: scoring.summary(total, scored) for ending, total in totals.items()} if scored else {}
    return {f"{name}{ending}": value for ending, of_one in summaries.items() for name, value in of_one.items()}, read


def scores_by_source(predict: Predictor, samples: Iterable[tuple[int, Sample]], scoring: Scoring) -> dict[int, Scores]:
    """Return the scores of predictions, by source.

    Args:
        predict: from `predictor`.
        samples: (index of the source, sample).
        scoring: how predictions are scored.

    Returns:
        Scores by source index, for sources with samples.
    """
    totals: dict[int, np.ndarray] = {}
    counts: dict[int, int] = {}
    for source, sample in samples:
        totals[source] = totals.get(source, 0.0) + scoring.tally(predict(sample.image), sample)
        counts[source] = counts.get(source, 0) + 1
    return {source: scoring.summary(total, counts[source]) for source, total in totals.items()}


def readable(source: Source, numbers: Iterable[int] | None = None) -> Iterator[Sample]:
    """Yield the samples of a source that can be read; the log names the others.

    Args:
        source: the source.
        numbers: samples to read; None for all.
    """
    for number in range(sum(source.blocks)) if numbers is None else numbers:
        try:
            yield read_numbered(source, number)
        except DataError as error:
            reraise_disk_error(error)
            log.warning("left out: %s", error)


def _several_scales(network: nn.Module, training: Training) -> Predictor:
    """Return a predictor of classes that averages over scales."""
    configuration, device = training.configuration, training.fabric.device
    size, settings = configuration.scored_size, configuration.segmentation
    return multi_scale_predictor(network.to(device), device, size, settings)
