"""The stages of training: for each the network, the objective that is minimized, and the scoring."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import nn

from depth_anything_ros.model.depth_anything import DepthAnything
from depth_anything_ros.model.segmentation import SegmentationNetwork
from depth_anything_ros.training.configuration import StageConfiguration
from depth_anything_ros.training.initial_network import start_network, start_segmentation
from depth_anything_ros.training.objectives.compression import CompressionObjective, start_compression
from depth_anything_ros.training.objectives.stage_objectives import (
    MetricObjective,
    Objective,
    RelativeObjective,
    SegmentationObjective,
)
from depth_anything_ros.training.teachers.networks import open_teacher
from depth_anything_ros.training.validation.predictions import DepthScoring, Scoring
from depth_anything_ros.training.validation.segmentation import SegmentationScoring


@dataclass(frozen=True)
class Stage:
    """One kind of stage.

    Attributes:
        network: builds the network, without weights.
        objective: builds the objective with the network's start weights. Its second argument is images of the stage,
            RGB uint8 (N, H, W, 3): a larger start encoder is cut to size on them.
        scoring: builds the scoring. Its second argument is the focal length that a metric stage trains with, in pixels
            of the network's input, or None if unknown.
    """

    network: Callable[[StageConfiguration], nn.Module]
    objective: Callable[[StageConfiguration, torch.Tensor], Objective]
    scoring: Callable[[StageConfiguration, float | None], Scoring]


def _depth_network(configuration: StageConfiguration) -> DepthAnything:
    settings = configuration.network
    return DepthAnything(settings.encoder, settings.version, settings.max_depth)


def _compression_objective(configuration: StageConfiguration, pixels: torch.Tensor) -> CompressionObjective:
    network, larger = start_compression(configuration.network, pixels)
    return CompressionObjective(network, configuration.losses, larger)


def _relative_objective(configuration: StageConfiguration, pixels: torch.Tensor) -> RelativeObjective:
    network = start_network(configuration.network, pixels)
    aligned = configuration.losses.alignment > 0 and configuration.stage in ("student", "distil")
    frozen = copy.deepcopy(network.pretrained) if aligned else None
    teacher = None if configuration.carry_labels else open_teacher(configuration.teacher)
    return RelativeObjective(network, configuration.losses, teacher, frozen)


def _metric_objective(configuration: StageConfiguration, pixels: torch.Tensor) -> MetricObjective:
    return MetricObjective(start_network(configuration.network, pixels), configuration.losses)


def _segmentation_network(configuration: StageConfiguration) -> SegmentationNetwork:
    settings = configuration.network
    return SegmentationNetwork(settings.encoder, settings.version, configuration.segmentation.classes)


def _segmentation_objective(configuration: StageConfiguration, pixels: torch.Tensor) -> SegmentationObjective:
    return SegmentationObjective(start_segmentation(configuration.network, configuration.segmentation.classes, pixels))


def _relative_scoring(configuration: StageConfiguration, training_focal: float | None) -> Scoring:
    return DepthScoring()


def _metric_scoring(configuration: StageConfiguration, training_focal: float | None) -> Scoring:
    return DepthScoring(configuration.network.max_depth, configuration.scored_size, training_focal)


def _segmentation_scoring(configuration: StageConfiguration, training_focal: float | None) -> Scoring:
    return SegmentationScoring(configuration.segmentation.classes)


RELATIVE = Stage(_depth_network, _relative_objective, _relative_scoring)
STAGES = {
    "compress": Stage(_depth_network, _compression_objective, _relative_scoring),
    "teacher": RELATIVE,
    "student": RELATIVE,
    "distil": RELATIVE,
    "metric": Stage(_depth_network, _metric_objective, _metric_scoring),
    "segment": Stage(_segmentation_network, _segmentation_objective, _segmentation_scoring),
}


def build_objective(configuration: StageConfiguration, pixels: torch.Tensor) -> Objective:
    """Build a stage's objective, with the network's start weights.

    Args:
        configuration: the stage's settings.
        pixels: RGB uint8 (N, H, W, 3), images of the stage; a larger start encoder is cut to size on them.
    """
    return STAGES[configuration.stage].objective(configuration, pixels)


def build_network(configuration: StageConfiguration) -> nn.Module:
    """Build the stage's network without weights, to load the result into."""
    return STAGES[configuration.stage].network(configuration)


def scoring_of(configuration: StageConfiguration, training_focal: float | None = None) -> Scoring:
    """Return the scoring that validates a stage.

    Args:
        configuration: the stage's settings.
        training_focal: focal length that a metric stage trains with, pixels of the network's input; None if unknown.
    """
    return STAGES[configuration.stage].scoring(configuration, training_focal)


def parts_of(network: nn.Module) -> dict[str, nn.Module]:
    """Return the parts of a network that have learning rates of their own, by name."""
    return {"encoder": network.pretrained, "decoder": network.decoder}
