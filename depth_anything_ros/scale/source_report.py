"""The report of one source of a recording: its scale, its residuals, and the checks of its clock and extrinsics."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from depth_anything_ros.scale.calibration import (
    Frame,
    FrameFit,
    Measurement,
    Pair,
    RangeBin,
    depth_uncertainty,
    error_of,
    fit_frames,
    fixed_pair,
    residuals_by_range,
)
from depth_anything_ros.scale.clock_check import ClockCheck, check_clock
from depth_anything_ros.scale.drift import Drift, drift_of
from depth_anything_ros.scale.extrinsics_check import ExtrinsicsCheck, check_extrinsics
from depth_anything_ros.scale.kinds import ScaleKind, log_depth
from depth_anything_ros.scale.metric_scale import MOTION
from depth_anything_ros.scale.sensor_points import SAME_PLACE
from depth_anything_ros.system.reason_counts import join_reasons

ADEQUATE = 0.05
"""Largest spread over time of the depth that a fixed pair gives, relative, at which the pair is adequate."""
GROUND = "ground_plane"
DISPUTED = 0.1
"""Relative difference of depth between two sources that is reported."""
FEW = 5
"""Fewer frames do not show a spread over time."""
_CHECKED = ("point_cloud", "depth_image", "laser_scan")
_SAME_DIRECTION = 1e-3
"""Radians between two cameras with the same view."""


@dataclass(frozen=True)
class SourceReport:
    """The report of one source.

    Attributes:
        name: a name of ``scale.source``.
        topic: "" for the ground.
        frames: number of frames.
        fits: Fits of the frames that it gives a scale.
        refusals: for each other frame the reason.
        pair: one scale for all frames; None without fits.
        error: AbsRel of the frames' own fits, on the references that agree; NaN without fits.
        uncertainty: relative standard deviation of depth, see `depth_uncertainty`; NaN without fits.
        bins: residuals by range.
        drift: how fast the scale changes.
        clock: check of its stamps.
        extrinsics: check of its rotation.
    """

    name: str
    topic: str
    frames: int
    fits: list[FrameFit]
    refusals: list[str]
    pair: Pair | None
    error: float
    uncertainty: float
    bins: list[RangeBin]
    drift: Drift
    clock: ClockCheck
    extrinsics: ExtrinsicsCheck

    @property
    def allows_fixed_pair(self) -> bool:
        """Whether the recording shows that one scale is enough."""
        return self.pair is not None and len(self.fits) >= FEW and self.pair.depth_spread < ADEQUATE

    @property
    def outliers(self) -> float:
        """The share of the references that do not agree with the fit to their frame."""
        known = sum(int((~one.known.is_bound).sum()) for one in self.fits)
        agreeing = sum(int((one.result.inliers & ~one.known.is_bound).sum()) for one in self.fits)
        return 1 - agreeing / max(known, 1)

    @property
    def refusal_counts(self) -> dict[str, int]:
        """The number of frames by reason; reasons that differ in numbers only count as one."""
        return join_reasons(Counter(self.refusals))


def examine(
    kind: ScaleKind, name: str, topic: str, frames: Sequence[Frame], measurements: Sequence[Measurement]
) -> SourceReport:
    """Return the report of one source.

    Args:
        kind: how the network's output becomes depth.
        name: a name of ``scale.source``.
        topic: Topic of the source; "" for the ground.
        frames: in the order of time.
        measurements: around the frames, in the order of time.
    """
    fits, refusals = fit_frames(kind, frames, measurements)
    clock, extrinsics = check_sensor(kind, name, frames, measurements, fits)
    drift = drift_of(kind, fits)
    if not fits:
        return SourceReport(name, topic, len(frames), [], refusals, None, np.nan, np.nan, [], drift, clock, extrinsics)
    error = float(np.mean([error_of(kind, one, one.result.log_a, one.result.b) for one in fits]))
    return SourceReport(
        name,
        topic,
        len(frames),
        fits,
        refusals,
        fixed_pair(kind, fits),
        error,
        depth_uncertainty(kind, fits),
        residuals_by_range(fits),
        drift,
        clock,
        extrinsics,
    )


def most_reliable(reports: Sequence[SourceReport]) -> SourceReport | None:
    """Return the most certain source among those that scale at least half as many frames as the best one.

    The ground is an assumption. It counts only if no sensor gives a scale.
    """
    sensors = [one for one in reports if one.name != GROUND and one.fits]
    candidates = sensors or [one for one in reports if one.fits]
    most = max((len(one.fits) for one in candidates), default=0)
    usable = [one for one in candidates if 2 * len(one.fits) >= most]
    return min(usable, key=lambda one: one.uncertainty, default=None)


def disagreements(kind: ScaleKind, reports: Sequence[SourceReport]) -> list[str]:
    """Return a sentence for each two sources whose fixed pairs give depths that differ by more than `DISPUTED`.

    Args:
        kind: how the network's output becomes depth.
        reports: Reports of the sources.
    """
    found = []
    for one, other in itertools.combinations([report for report in reports if report.pair is not None], 2):
        assert one.pair is not None
        assert other.pair is not None
        x = float(np.median([fit.result.typical for fit in (*one.fits, *other.fits)]))
        depths = [float(np.exp(log_depth(kind, x, pair.log_a, pair.b))) for pair in (one.pair, other.pair)]
        if abs(np.log(depths[0] / depths[1])) > DISPUTED:
            check = "clocks and extrinsics"
            if GROUND in (one.name, other.name):
                check = "the camera's height and pitch, and whether the floor is flat"
            meters = f"{depths[0]:.2f} and {depths[1]:.2f} m"
            found.append(f"{one.name} and {other.name} disagree: {meters} for the same point; check {check}")
    return found


def check_sensor(
    kind: ScaleKind,
    name: str,
    frames: Sequence[Frame],
    measurements: Sequence[Measurement],
    fits: Sequence[FrameFit],
) -> tuple[ClockCheck, ExtrinsicsCheck]:
    """Return the checks of a source's stamps, and of its position with the stamps corrected.

    Args:
        kind: how the network's output becomes depth.
        name: a name of ``scale.source``.
        frames: in the order of time.
        measurements: around the frames, in the order of time.
        fits: Fits of the frames with these measurements.
    """
    clock = _check_clock(kind, name, fits, measurements)
    return clock, _check_extrinsics(kind, name, frames, measurements, fits, clock)


def _check_clock(
    kind: ScaleKind, name: str, fits: Sequence[FrameFit], measurements: Sequence[Measurement]
) -> ClockCheck:
    if name == GROUND:
        return ClockCheck.impossible("the ground has no stamps")
    if name == MOTION:
        return ClockCheck.impossible("its references have the time of the image")
    if name not in _CHECKED:
        return ClockCheck.impossible("one distance cannot show it")
    return check_clock(kind, fits, measurements)


def _check_extrinsics(
    kind: ScaleKind,
    name: str,
    frames: Sequence[Frame],
    measurements: Sequence[Measurement],
    fits: Sequence[FrameFit],
    clock: ClockCheck,
) -> ExtrinsicsCheck:
    if reason := _why_no_rotation(name, fits):
        return ExtrinsicsCheck.impossible(reason)
    if not (clock.is_seen and clock.late is not None):
        return check_extrinsics(kind, fits)
    late = clock.late
    corrected, _ = fit_frames(kind, frames, [replace(one, time=one.time - late) for one in measurements])
    found = check_extrinsics(kind, corrected)
    return replace(found, text=f"{found.text}, with the stamps corrected") if found.is_seen else found


def _why_no_rotation(name: str, fits: Sequence[FrameFit]) -> str:
    if name == GROUND:
        return "a wrong pitch looks like the shift b"
    if name == MOTION:
        return "its references are features of the images"
    if name not in _CHECKED:
        return "one distance cannot show a rotation"
    if name == "depth_image" and fits:
        to_camera = fits[0].measurement.to_camera
        if np.linalg.norm(to_camera.translation) < SAME_PLACE and to_camera.angle < _SAME_DIRECTION:
            return "the depth image has the camera's own view"
    return ""
