"""What the stages of training have of their own: what is minimised, what is scored, what is left at the end."""

from __future__ import annotations

import copy

import torch
from torch import nn

from depth_anything_ros.model.depth_anything import DepthAnything
from depth_anything_ros.training.objectives import MetricObjective, Objective, RelativeObjective
from depth_anything_ros.training.stage_configuration import StageConfiguration
from depth_anything_ros.training.start import start_network
from depth_anything_ros.training.teachers import open_teacher
from depth_anything_ros.training.validation import DepthScoring, Scoring


def build_objective(configuration: StageConfiguration, pixels: torch.Tensor) -> Objective:
    """A stage's network, as training begins with it, and what is minimised.

    ``pixels``: RGB uint8 (N, H, W, 3), images of the stage, on which a larger encoder is cut to size.
    """
    network = start_network(configuration.network, pixels)
    if configuration.stage == "metric":
        return MetricObjective(network, configuration.losses)
    aligned = configuration.losses.alignment > 0 and configuration.stage in ("student", "distil")
    frozen = copy.deepcopy(network.pretrained) if aligned else None
    teacher = None if configuration.carry_labels else open_teacher(configuration.teacher)
    return RelativeObjective(network, configuration.losses, teacher, frozen)


def build_network(configuration: StageConfiguration) -> DepthAnything:
    """The stage's network without weights, to load the result into."""
    settings = configuration.network
    return DepthAnything(settings.encoder, settings.version, settings.max_depth)


def scoring_of(configuration: StageConfiguration) -> Scoring:
    """How a stage is validated."""
    return DepthScoring(metric=configuration.stage == "metric")


def parts_of(network: nn.Module) -> dict[str, nn.Module]:
    """The parts that have learning rates of their own."""
    return {"encoder": network.pretrained, "decoder": network.depth_head}
