"""The files that depth_node takes from `calibrate`: its parameter file, and the model's record with the drift."""

from __future__ import annotations

import math
import shlex
from dataclasses import replace
from pathlib import Path

import numpy as np

from depth_anything_ros.commands.calibration_report import Setup, pair_text, pose_numbers, spread_text
from depth_anything_ros.scale.source_report import SourceReport

LAUNCHED = {
    "depth_image": "sensor_depth",
    "point_cloud": "points",
    "laser_scan": "scan",
    "range": "range",
    "motion": "odom",
}
"""The argument of depth.launch.py that names the topic of each source."""


def parameters_of(best: SourceReport, setup: Setup, file: Path) -> str:
    """Return a parameter file for depth_node that uses the most reliable source, or the fixed pair.

    Args:
        best: The source.
        setup: Setup of the comparison.
        file: Path of the parameter file.
    """
    record = setup.estimator.record
    head = [f"# Scale of {setup.image} with the model {record.name}, measured by depth_anything_ros calibrate."]
    head += [
        f"# Recording: {_one_line(setup.recording)}; source {best.name}, {len(best.fits)} of {best.frames} frames."
    ]
    if not setup.is_fixed:
        head.append(
            f"# Use: ros2 launch depth_anything_ros depth.launch.py {' '.join(_launch_arguments(best, setup, file))}"
        )
    if best.drift.rate is not None:
        record_file = shlex.quote(f"record:={file.absolute().with_name('record.json')}")
        head.append(f"# To let the error of a held scale grow as it does here, add {record_file}")
    lines = [*head, "/**:", "  ros__parameters:", "    scale:"]
    lines += [f"      {line}" for line in ([] if setup.is_fixed else _source_lines(best, setup))]
    lines += [f"      {line}" for line in _pair_lines(best, setup)]
    return "\n".join([*lines, ""])


def _launch_arguments(best: SourceReport, setup: Setup, file: Path) -> list[str]:
    topics = {"imu": setup.imu} if best.name == "ground_plane" else {LAUNCHED[best.name]: best.topic}
    if best.name == "depth_image":
        topics["sensor_depth_info"] = setup.depth_info
    named = [f"{name}:={topic}" for name, topic in topics.items() if topic]
    image = setup.image.removesuffix("/compressed")
    # A topic is remapped only for a source in the argument scale.
    return [f"image:={image}", f"scale:={best.name}", *named, shlex.quote(f"params_file:={file.absolute()}")]


def _source_lines(best: SourceReport, setup: Setup) -> list[str]:
    lines = [f"source: [{best.name}]"]
    if best.name == "motion":
        lines.append("odometry: topic")
    if best.name == "ground_plane":
        lines.append(f"camera_height: {_number(setup.camera_height or 0.0)}")
        if setup.imu is None:
            lines.append(f"camera_pitch: {_number(setup.camera_pitch)}")
    if best.clock.is_seen:
        lines.append(f"# Clock: {best.clock.text}.")
    corrected = best.extrinsics.corrected
    if corrected is not None:
        lines.append(f"# Extrinsics: {best.extrinsics.text}.")
        lines.append(f"# Corrected: [{', '.join(_number(value) for value in pose_numbers(corrected))}]")
    if setup.extrinsics is not None and (best.name != "ground_plane" or setup.imu is not None):
        lines.append(f"extrinsics: [{', '.join(_number(value) for value in setup.extrinsics)}]")
    return lines


def _pair_lines(best: SourceReport, setup: Setup) -> list[str]:
    assert best.pair is not None  # the most reliable source has fits
    if setup.estimator.record.is_metric:
        return [f"# {_capitalized(pair_text(best, setup))}: the source corrects that. Spread: {spread_text(best)}."]
    mark = "" if setup.is_fixed else "# "
    lines = [f"# Fixed pair for the view of the recording. Spread over time: {spread_text(best)}."]
    if not setup.is_fixed:
        lines.append("# To use it instead of the source, delete the line source and the # before a and b.")
    lines.append(f"{mark}a: {_number(math.exp(best.pair.log_a))}")
    if setup.estimator.record.scale_model != "depth_scale":
        lines.append(f"{mark}b: {_number(best.pair.b)}")
    return lines


def _number(value: float) -> str:
    """Return a number that every YAML reader parses as a float: with a point, without an exponent."""
    return str(np.format_float_positional(value, precision=6, fractional=False, trim="0"))


def _one_line(text: str) -> str:
    return " ".join(text.split())


def _capitalized(text: str) -> str:
    return text[:1].upper() + text[1:]


def record_of(best: SourceReport, setup: Setup) -> bytes | None:
    """Return the model's record with the rate at which its scale changes, as JSON; None if the rate is undetermined.

    Args:
        best: The most reliable source.
        setup: Setup of the comparison.
    """
    rate = best.drift.rate
    if rate is None:
        return None
    return (replace(setup.estimator.record, scale_rate=float(f"{rate:.3g}")).to_json() + "\n").encode()
