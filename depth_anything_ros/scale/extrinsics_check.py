"""Check of a sensor's extrinsics: the rotation, or the shift, at which its measurements agree best with the images."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from depth_anything_ros.geometry.transform import Transform
from depth_anything_ros.scale.calibration import FrameFit
from depth_anything_ros.scale.extrinsics_search import (
    LIMIT,
    MAX_ROTATION,
    UNIT,
    Search,
    SearchFrame,
    Steps,
    rotation_of,
)
from depth_anything_ros.scale.kinds import ScaleKind

MIN_FRAMES = 5
"""Minimum number of frames for a check."""
MIN_GAIN = 0.02
"""Smallest relative improvement of the agreement that counts, for each axis."""
MIN_ROTATION = 0.3
"""Degrees: the smallest rotation that is reported."""
BLIND = 1.0
"""Degrees: standard deviation of most angles above which the result is undetermined."""
SURE = 3.0
"""Standard deviations from which a rotation is significant."""
_FRAMES = 20
"""Maximum number of frames for the search."""
_NONE = (0.0, 0.0, 0.0)


@dataclass(frozen=True)
class ExtrinsicsCheck:
    """The error of a source's extrinsics.

    Attributes:
        degrees: about x (right), y (down) and z (forward) of the camera, to turn the source's points by; None if the
            check is impossible.
        sigma: standard deviations of ``degrees``.
        gain: relative improvement of the agreement at that rotation.
        is_seen: whether the rotation, or the shift instead, is significant.
        text: the result in words.
        corrected: the extrinsics after this rotation or shift; None if there is nothing to correct.
        shift: meters along x, y and z of the camera, to move the source's points by, if that explains them better than
            a rotation; otherwise None.
    """

    degrees: tuple[float, float, float] | None
    sigma: tuple[float, float, float]
    gain: float
    is_seen: bool
    text: str
    corrected: Transform | None = None
    shift: tuple[float, float, float] | None = None

    @classmethod
    def impossible(cls, reason: str) -> ExtrinsicsCheck:
        """Return the result of an impossible check."""
        return cls(None, _NONE, 0.0, False, f"not checked: {reason}")


def check_extrinsics(kind: ScaleKind, fits: Sequence[FrameFit]) -> ExtrinsicsCheck:
    """Find the rotation of a source's points about its own position at which they agree best with the images.

    A sideways shift looks like a rotation, by a larger angle for near points than for far ones. So if a rotation about
    x or y is found, equivalent shifts are tried too. The check does not search for shifts along z, or for a shift
    combined with a rotation.

    Args:
        kind: how the output becomes depth.
        fits: Fits of the frames, from `fit_frames`.
    """
    if len(fits) < MIN_FRAMES:
        return ExtrinsicsCheck.impossible(f"fewer than {MIN_FRAMES} frames have a scale")
    search = Search([SearchFrame.of(kind, one) for one in fits[:: math.ceil(len(fits) / _FRAMES)]])
    everything = search.all
    steps = search.best(everything)
    degrees, sigma = search.refined(steps, everything), search.sigma()
    before, after = search.mean((0, 0, 0), everything), search.mean(steps, everything)
    gain = (before - after) / max(before, 1e-9)
    is_sure = [
        abs(degrees[axis]) > max(MIN_ROTATION, SURE * sigma[axis])
        and search.mean(_without(steps, axis), everything) > (1 + MIN_GAIN) * after
        for axis in range(3)
    ]
    found, errors = _three(degrees), _three(sigma)
    if not any(is_sure):
        angles = _angles(found, errors, [True] * 3)
        text = f"no rotation seen ({angles})"
        if sorted(errors)[1] > BLIND:  # a planar scan leaves one angle open
            text = f"undetermined: the view is too plain, or the model's shape too coarse ({angles})"
        return ExtrinsicsCheck(found, errors, gain, False, text)
    if max(map(abs, steps)) >= LIMIT:
        text = (
            f"unclear: agreement improves up to the largest rotation tried ({MAX_ROTATION:g}°). The extrinsics "
            "are off by more, or the model's shape is too coarse here"
        )
        return ExtrinsicsCheck(found, errors, gain, False, text)
    to_camera = fits[0].measurement.to_camera
    turn = np.where(is_sure, degrees, 0.0)
    shift, advantage = search.shift_instead(_rounded(turn))
    centimeters = ", ".join(f"{100 * by:+.1f} cm along {axis}" for axis, by in zip("xyz", shift, strict=True) if by)
    if advantage > MIN_GAIN:
        gain = 1 - search.mean_of(Transform(np.eye(3), shift), everything) / max(before, 1e-9)
        corrected = Transform(to_camera.rotation, to_camera.translation + shift)
        text = (
            f"fits better if shifted by {centimeters} of the camera (x right, y down): check the extrinsics (agreement "
            f"improves by {100 * gain:.0f} %, more than by a rotation)"
        )
        return ExtrinsicsCheck(found, errors, gain, True, text, corrected, _three(shift))
    alike = f"; a shift by {centimeters} explains it equally well" if advantage > -MIN_GAIN else ""
    text = (
        f"fits better if turned by {_angles(found, errors, is_sure)} of the camera (x right, y down, z forward): check "
        f"the extrinsics (agreement improves by {100 * gain:.0f} %{alike})"
    )
    corrected = Transform(rotation_of(turn) @ to_camera.rotation, to_camera.translation)
    return ExtrinsicsCheck(found, errors, gain, True, text, corrected)


def _angles(degrees: Sequence[float], sigma: Sequence[float], shown: Sequence[bool]) -> str:
    named = zip("xyz", degrees, sigma, shown, strict=True)
    return ", ".join(f"{angle:+.1f} ± {error:.1f}° about {axis}" for axis, angle, error, is_shown in named if is_shown)


def _three(values: np.ndarray) -> tuple[float, float, float]:
    return float(values[0]), float(values[1]), float(values[2])


def _rounded(degrees: np.ndarray) -> Steps:
    x, y, z = (round(float(angle) / UNIT) for angle in degrees)
    return x, y, z


def _without(steps: Steps, axis: int) -> Steps:
    x, y, z = (0 if number == axis else step for number, step in enumerate(steps))
    return x, y, z
