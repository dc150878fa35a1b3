"""The depth node's parameter values: for the model and for each camera. No ROS."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from depth_anything_ros.images.intensity import InputRange
from depth_anything_ros.postprocessing.meters import check_limits
from depth_anything_ros.processing.parameter_declarations import DECLARATIONS, PER_CAMERA, Acts


@dataclass(frozen=True)
class ModelParameters:
    """Which model runs, and on what. None leaves the choice to the model.

    Attributes:
        model: a name, an .onnx file or a model folder.
        record: path of a JSON record.
        backend: a backend or "auto".
        precision: a precision or "auto".
        threads: CPU threads.
        input_size: (height, width) of the network's input in pixels.
    """

    model: str
    record: str | None
    backend: str
    precision: str
    threads: int | None
    input_size: tuple[int, int] | None

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> ModelParameters:
        """Create from parameter values by name. Raises `ValueError`, with the parameter's name."""
        height, width = values["input.height"], values["input.width"]
        if bool(height) != bool(width):
            raise ValueError(f"input.height is {height} and input.width is {width}: set both, or neither")
        return cls(
            values["model"],
            os.path.expanduser(values["record"]) or None,
            values["backend"],
            values["precision"],
            values["threads"] or None,
            (height, width) if height else None,
        )


@dataclass(frozen=True)
class StreamParameters:
    """Parameters of one camera. A change takes effect at the next frame. Units are those of `DECLARATIONS`.

    ``rectified`` is None for auto.
    """

    output_height: int
    output_width: int
    rectified: bool | None
    rectify: bool
    input_range: str
    scale_a: float
    scale_b: float
    scale_focal_correction: bool
    scale_nominal: bool
    scale_hold: float
    scale_lost: str
    scale_local: bool
    scale_camera_height: float
    scale_camera_pitch: float
    min_depth: float
    max_depth: float
    max_rate: float
    max_age: float
    priority: int
    points_stride: int
    points_color: bool
    points_min_depth: float
    points_max_depth: float
    points_max_sigma: float
    flying_pixels_threshold: float
    flying_pixels_in_depth: bool
    overload_share: float

    @classmethod
    def of(cls, values: Mapping[str, Any], camera: str = "") -> StreamParameters:
        """Create from parameter values by name.

        Args:
            values: values of all declared parameters, by name.
            camera: the camera's name; "" for a single camera.

        Raises:
            ValueError: a value is invalid; the message names the parameter.
        """
        own = {name: values[f"{camera}.{name}"] for name in PER_CAMERA} if camera else {}
        names = [declaration.name for declaration in DECLARATIONS if declaration.acts is Acts.LIVE]
        chosen = {name.replace(".", "_"): own.get(name, values[name]) for name in names}
        rectified = {"auto": None, "true": True, "false": False}
        return cls(**{**chosen, "rectified": rectified.get(chosen["rectified"], chosen["rectified"])})

    def __post_init__(self) -> None:
        """Check what the ranges of the descriptors cannot express."""
        try:
            check_limits(self.min_depth, self.max_depth)
        except ValueError as error:
            raise ValueError(f"min_depth and max_depth: {error}") from error
        try:
            InputRange.of(self.input_range)
        except ValueError as error:
            raise ValueError(f"input_range: {error}") from error
        if math.isinf(self.scale_a) or self.scale_a <= 0:
            raise ValueError(f"scale.a is {self.scale_a}, must be positive (or .nan for no scale)")
        if math.isinf(self.scale_b):
            raise ValueError(f"scale.b is {self.scale_b}, must be finite (or .nan for no scale)")
        farthest, name = self.max_depth, "max_depth"
        if self.points_max_depth:
            farthest, name = self.points_max_depth, "points.max_depth"
        if not self.points_min_depth < farthest:
            raise ValueError(
                f"points.min_depth is {self.points_min_depth} and {name} {farthest}: the first must be smaller"
            )

    def output_size_for(self, height: int, width: int) -> tuple[int, int]:
        """Return the outputs' (height, width) for an image of this size. A side of 0 keeps the image's aspect ratio."""
        if not self.output_height and not self.output_width:
            return height, width
        return (
            self.output_height or max(1, round(height * self.output_width / width)),
            self.output_width or max(1, round(width * self.output_height / height)),
        )
