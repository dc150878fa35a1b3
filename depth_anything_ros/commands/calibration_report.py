"""The results of `calibrate` as text and as JSON."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from depth_anything_ros import __version__
from depth_anything_ros.api.estimator import Estimator
from depth_anything_ros.geometry.transform import Transform
from depth_anything_ros.scale.source_report import ADEQUATE, FEW, SourceReport

LONG = 10.0
"""Minimum seconds of a recording to judge changes of the scale."""


@dataclass(frozen=True)
class Setup:
    """The setup of the comparison.

    Attributes:
        recording: Name of the recording.
        image: Topic of the images.
        depth_info: Topic of the depth image's camera_info, or None.
        imu: Topic of the IMU, or None.
        estimator: The model.
        extrinsics: Extrinsics of the command line, x y z qx qy qz qw; None: from TF.
        camera_height: Height of the camera in meters; None without the ground as a source.
        camera_pitch: Pitch of the camera in degrees.
        is_fixed: Whether the parameter file sets the fixed pair.
    """

    recording: str
    image: str
    depth_info: str | None
    imu: str | None
    estimator: Estimator
    extrinsics: Sequence[float] | None
    camera_height: float | None
    camera_pitch: float
    is_fixed: bool


def text_of(one: SourceReport, setup: Setup) -> str:
    """Return the report of one source for the terminal.

    Args:
        one: The source.
        setup: Setup of the comparison.
    """
    lines = [f"{one.name}{f' ({one.topic})' if one.topic else ''}: {len(one.fits)} of {one.frames} frames have a scale"]
    for reason, count in one.refusal_counts.items():
        lines.append(f"  {'refused':<18}{count} frames: {reason}")
    if one.pair is not None:
        lines.append(f"  {_what(setup):<18}{pair_text(one, setup)}")
        lines.append(f"  {'spread over time':<18}{spread_text(one)}")
        lines.append(f"  {'drift':<18}{one.drift.text}")
        error = f"{one.error:.3f} with a fit to each frame"
        if one.pair.error is not None:
            error += f"; {one.pair.error:.3f} with the fixed pair, on frames that were not used to find it"
        lines.append(f"  {'AbsRel':<18}{error}")
        lines.append(f"  {'depth uncertainty':<18}{100 * one.uncertainty:.0f} % (one standard deviation of a pixel)")
        lines.append(f"  {'outliers':<18}{100 * one.outliers:.0f} % of the references")
    lines.append(f"  {'clock':<18}{one.clock.text}")
    lines.append(f"  {'extrinsics':<18}{one.extrinsics.text}")
    if one.bins:
        lines.append(f"  {'range in m':<18}{'error':>8}{'16 to 84 %':>20}{'references':>12}{'outliers':>10}")
    for part in one.bins:
        spread = f"{100 * part.low:+.1f} to {100 * part.high:+.1f} %"
        numbers = f"{100 * part.median:>+6.1f} %{spread:>20}{part.count:>12}{100 * part.outliers:>8.0f} %"
        lines.append(f"  {_range_text(part):<18}{numbers}")
    return "\n".join(lines)


def json_of(reports: Sequence[SourceReport], best: SourceReport, setup: Setup, failed: Sequence[str]) -> bytes:
    """Return the content of calibration.json.

    Args:
        reports: Reports of all sources.
        best: The most reliable source.
        setup: Setup of the comparison.
        failed: Images that could not be used.
    """
    record = setup.estimator.record
    content = {
        "version": __version__,
        "recording": setup.recording,
        "image": setup.image,
        "model": record.name,
        "scale_model": record.scale_model,
        "provenance": setup.estimator.provenance,
        "most_reliable": best.name,
        "sources": {one.name: _source(one) for one in reports},
        "failed_images": list(failed),
    }
    return (json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False) + "\n").encode(errors="backslashreplace")


def _what(setup: Setup) -> str:
    return "factor" if setup.estimator.record.is_metric else "fixed pair"


def pair_text(one: SourceReport, setup: Setup) -> str:
    """Return the fixed pair and the method, or the factor of a metric model, as text."""
    assert one.pair is not None
    a = math.exp(one.pair.log_a)
    if setup.estimator.record.is_metric:
        return f"true depth is {a:.3f} times the model's depth, ± {100 * one.pair.depth_spread:.1f} % between frames"
    shift = "" if setup.estimator.record.scale_model == "depth_scale" else f", b = {one.pair.b:.4g}"
    return f"a = {a:.4g}{shift} (from {one.pair.method})"


def spread_text(one: SourceReport) -> str:
    """Return how much the scale of a source changes over time, and whether a fixed pair is adequate."""
    assert one.pair is not None
    seconds = one.fits[-1].frame.time - one.fits[0].frame.time
    text = f"{one.pair.log_a_spread:.3f} in ln a, {100 * one.pair.depth_spread:.1f} % in depth over {seconds:.1f} s"
    if len(one.fits) < FEW:
        return f"{text}: too few frames to judge a fixed pair"
    if not one.allows_fixed_pair:
        return f"{text}: too large for a fixed pair (at most {100 * ADEQUATE:.0f} %)"
    short = "" if seconds >= LONG else ", but the recording is short"
    return f"{text}: a fixed pair is adequate for this view{short}"


def _range_text(part: Any) -> str:
    return f"{part.nearest:g} to {part.farthest:g}" if math.isfinite(part.farthest) else f"from {part.nearest:g}"


def _source(one: SourceReport) -> dict[str, Any]:
    content: dict[str, Any] = {
        "topic": one.topic or None,
        "frames": one.frames,
        "frames_with_scale": len(one.fits),
        "refused": one.refusal_counts,
        "clock": {
            "late_seconds": one.clock.late,
            "sigma": one.clock.sigma,
            "gain": one.clock.gain,
            "is_seen": one.clock.is_seen,
            "text": one.clock.text,
        },
        "extrinsics": {
            "turn_degrees": None if one.extrinsics.degrees is None else list(one.extrinsics.degrees),
            "sigma": list(one.extrinsics.sigma),
            "shift_meters": None if one.extrinsics.shift is None else list(one.extrinsics.shift),
            "gain": one.extrinsics.gain,
            "is_seen": one.extrinsics.is_seen,
            "text": one.extrinsics.text,
            "corrected": None if one.extrinsics.corrected is None else pose_numbers(one.extrinsics.corrected),
        },
        "by_range": [
            {
                "nearest": part.nearest,
                "farthest": part.farthest if math.isfinite(part.farthest) else None,
                "median": part.median,
                "low": part.low,
                "high": part.high,
                "references": part.count,
                "outliers": part.outliers,
            }
            for part in one.bins
        ],
    }
    if one.pair is not None:
        content["pair"] = {
            "a": math.exp(one.pair.log_a),
            "b": one.pair.b,
            "method": one.pair.method,
            "absrel": one.pair.error,
            "depth_spread": one.pair.depth_spread,
            "log_a_spread": one.pair.log_a_spread,
            "rate": one.drift.rate,
            "is_adequate": one.allows_fixed_pair,
        }
        content |= {"absrel": one.error, "uncertainty": one.uncertainty, "outliers": one.outliers}
    content["each_frame"] = [
        {"time": fit.frame.time, "a": math.exp(fit.result.log_a), "b": fit.result.b, "residual": fit.result.spread}
        for fit in one.fits
    ]
    return content


def pose_numbers(transform: Transform) -> list[float]:
    """Return x, y, z, qx, qy, qz, qw, as ``scale.extrinsics``."""
    return [round(float(value), 6) for value in (*transform.translation, *transform.quaternion)]


def result_files(folder: Path) -> dict[str, Path]:
    """Return the result files of a folder by their kind."""
    names = {kind: folder / f"calibration.{kind}" for kind in ("json", "yaml", "png")}
    return names | {"record": folder / "record.json"}
