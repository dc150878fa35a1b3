"""The meters of `predict`: the camera's intrinsics, the correction for its lens, and the scale of point clouds."""

from __future__ import annotations

import argparse
import math
import sys
from dataclasses import dataclass

from depth_anything_ros.api.cameras import read_camera
from depth_anything_ros.commands import CommandError
from depth_anything_ros.geometry.calibration import Calibration
from depth_anything_ros.postprocessing.meters import Scale
from depth_anything_ros.zoo.record import ModelRecord


@dataclass(frozen=True)
class Lens:
    """The camera, if known, and the focal length of a metric model's training, if the record names it."""

    camera: Calibration | float | None
    reference_focal: float | None

    @property
    def corrects(self) -> bool:
        """Whether meters are corrected for the lens."""
        return self.camera is not None and self.reference_focal is not None

    @property
    def state(self) -> str:
        """Whether and how meters are corrected for the lens, in one line."""
        if self.reference_focal is None:
            return "the record names no focal length to correct for"
        made_for = f"made for a focal length of {self.reference_focal:.1f} px at the network's input"
        if self.corrects:
            return f"corrected: {made_for}"
        return f"uncorrected: {made_for}; give --fov or --camera to correct them for your lens"


@dataclass(frozen=True)
class CloudScale:
    """The scale of point clouds, its source in words, and their maximum range. A metric model's scale is 1, 0."""

    scale: Scale
    source: str
    max_range: float


def camera_of(args: argparse.Namespace) -> Calibration | float | None:
    """Return the calibration of --camera or the degrees of --fov, if any. It needs no model."""
    if "ply" in args.save and args.fov is None and args.camera is None:
        raise CommandError("--save ply needs a camera: give --fov DEGREES or --camera FILE")
    return read_camera(args.camera) if args.camera else args.fov


def lens_of(camera: Calibration | float | None, record: ModelRecord) -> Lens:
    """Return the lens, and print whether a metric model's meters are corrected for it.

    Args:
        camera: from `camera_of`.
        record: describes the model.
    """
    lens = Lens(camera, record.reference_focal)
    if record.is_metric:
        print(f"meters: {lens.state}", file=sys.stderr)
    return lens


def cloud_scale_of(args: argparse.Namespace, record: ModelRecord) -> CloudScale:
    """Return the scale of point clouds, and print its source.

    Args:
        args: --scale and --max-range.
        record: describes the model.

    Raises:
        CommandError: a relative model has no scale, or --scale does not fit the model.
    """
    scale, source = Scale(1.0, 0.0), "metric model"
    if not record.is_metric and args.scale is not None:
        scale, source = _given_scale(*args.scale, record), "given"
    elif not record.is_metric:
        if record.nominal_scale is None:
            raise CommandError(f"{record.name} is relative and has no nominal scale: --save ply needs --scale A,B")
        scale, source = Scale(*record.nominal_scale), "nominal: plausible, not measured"
    print(f"scale of the clouds: {source}", file=sys.stderr)
    return CloudScale(scale, source, args.max_range)


def _given_scale(a: float, b: float | None, record: ModelRecord) -> Scale:
    if record.scale_model == "depth_scale":
        if b:
            raise CommandError(f"{record.name} predicts depth of unknown scale but known shift: give --scale A alone")
        return Scale(a, 0.0)
    if b is None:
        raise CommandError(f"{record.name} predicts values of unknown scale and shift: give both, --scale A,B")
    return Scale(a, b)


def parse_scale(text: str) -> tuple[float, float | None]:
    """Parse "A,B" of the command line, or "A"; B is then None."""
    try:
        numbers = [float(number) for number in text.split(",")]
        if len(numbers) > 2 or not all(map(math.isfinite, numbers)):
            raise ValueError("not one or two finite numbers")
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r} is not two finite numbers A,B") from error
    if numbers[0] <= 0:
        raise CommandError(f"is {text}, A must be positive")
    return numbers[0], numbers[1] if len(numbers) == 2 else None
