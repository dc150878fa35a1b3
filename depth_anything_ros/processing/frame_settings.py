"""Everything that a frame depends on, chosen at one moment from the parameters and the model's record."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from depth_anything_ros.postprocessing.depth_products import DepthSettings
from depth_anything_ros.processing.parameters import StreamParameters
from depth_anything_ros.processing.scale_choice import ScaleChoice, choose_scale
from depth_anything_ros.zoo.record import ModelRecord


@dataclass(frozen=True)
class FrameSettings:
    """Everything that a frame depends on: parameters, scale and depth settings."""

    parameters: StreamParameters
    scale: ScaleChoice
    depth: DepthSettings


def choose_settings(parameters: StreamParameters, record: ModelRecord, sources: Sequence[str] = ()) -> FrameSettings:
    """Return the settings of the next frames.

    Args:
        parameters: the camera's parameters.
        record: describes the model.
        sources: sensors for the scale.
    """
    scale = choose_scale(parameters, record, sources)
    depth = DepthSettings(
        scale_model=record.scale_model,
        minimum=parameters.min_depth,
        maximum=parameters.max_depth,
        scale=scale.scale,
        stride=parameters.points_stride,
        colored=parameters.points_color,
        nearest=parameters.points_min_depth,
        farthest=parameters.points_max_depth or math.inf,
        flying_threshold=parameters.flying_pixels_threshold,
        flying_in_depth=parameters.flying_pixels_in_depth,
        max_sigma=parameters.points_max_sigma,
    )
    return FrameSettings(parameters, scale, depth)
