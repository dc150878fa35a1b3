"""Check of a sensor's extrinsics: the rotation at which its measurements agree best with the images."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from depth_anything_ros.geometry.camera import Camera
from depth_anything_ros.geometry.transform import Transform
from depth_anything_ros.scale.calibration import FrameFit
from depth_anything_ros.scale.kinds import ScaleKind
from depth_anything_ros.scale.shape_agreement import Blocks, log_map, misfits

MAX_ROTATION = 3.0
"""Degrees about each axis: the largest rotation that is tried."""
MIN_FRAMES = 5
"""Fewer frames are no check."""
MIN_GAIN = 0.02
"""Smallest relative improvement of the agreement that counts, for each axis."""
MIN_ROTATION = 0.3
"""Degrees: the smallest rotation that is reported."""
MIN_SIGMA = 0.05
"""Degrees: smallest standard deviation of an angle."""
BLIND = 1.0
"""Degrees: standard deviation of most angles above which the check says nothing."""
SURE = 3.0
"""Standard deviations at which a rotation counts as seen."""
_FRAMES = 20
"""Frames that the rotation is sought with."""
_UNIT = 0.1
"""Degrees of one step of the finest search."""
_SIZES = (16, 8, 4, 2, 1)
_LIMIT = round(MAX_ROTATION / _UNIT)
_NEIGHBOR = 4
"""Steps to the neighbors of the best rotation, through which a parabola is laid."""
_QUARTERS = 4
_MIN_SHARE = 0.2
"""Smallest share of the references in one half of the image, for a comparison with the other half."""
_NONE = (0.0, 0.0, 0.0)
_Steps = tuple[int, int, int]


@dataclass(frozen=True)
class ExtrinsicsCheck:
    """The rotation of a source's extrinsics.

    Attributes:
        degrees: about x (right), y (down) and z (forward) of the camera, to turn the source's points by; None if the
            check is impossible.
        sigma: standard deviations of ``degrees``.
        gain: relative improvement of the agreement at that rotation.
        is_seen: whether the rotation is significant.
        text: the result in words.
        corrected: the extrinsics after this rotation; None if there is nothing to correct.
    """

    degrees: tuple[float, float, float] | None
    sigma: tuple[float, float, float]
    gain: float
    is_seen: bool
    text: str
    corrected: Transform | None = None

    @classmethod
    def impossible(cls, reason: str) -> ExtrinsicsCheck:
        """Return the result of no check."""
        return cls(None, _NONE, 0.0, False, f"not checked: {reason}")


def check_extrinsics(kind: ScaleKind, fits: Sequence[FrameFit]) -> ExtrinsicsCheck:
    """Find the rotation of a source's points about its own position at which they agree best with the images.

    A shift of the sensor is not sought: far away it changes nothing, and near by it looks like a rotation.

    Args:
        kind: how the output becomes depth.
        fits: of the frames, from `fit_frames`.
    """
    if len(fits) < MIN_FRAMES:
        return ExtrinsicsCheck.impossible(f"fewer than {MIN_FRAMES} frames have a scale")
    search = _Search([_Frame.of(kind, one) for one in fits[:: math.ceil(len(fits) / _FRAMES)]])
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
            text = f"cannot be told: the view is too plain, or the model's shape too coarse ({angles})"
        return ExtrinsicsCheck(found, errors, gain, False, text)
    if max(map(abs, steps)) >= _LIMIT:
        text = (
            f"unclear: agreement improves up to the largest rotation that is tried ({MAX_ROTATION:g}°). The extrinsics "
            "are off by more, or the model's shape is too coarse here"
        )
        return ExtrinsicsCheck(found, errors, gain, False, text)
    text = (
        f"fits better if turned by {_angles(found, errors, is_sure)} of the camera (x right, y down, z forward): check "
        f"the extrinsics (agreement improves by {100 * gain:.0f} %)"
    )
    to_camera = fits[0].measurement.to_camera
    turn = _rotation(np.where(is_sure, degrees, 0.0))
    corrected = Transform(turn @ to_camera.rotation, to_camera.translation)
    return ExtrinsicsCheck(found, errors, gain, True, text, corrected)


def _angles(degrees: Sequence[float], sigma: Sequence[float], shown: Sequence[bool]) -> str:
    named = zip("xyz", degrees, sigma, shown, strict=True)
    return ", ".join(f"{angle:+.1f} ± {error:.1f}° about {axis}" for axis, angle, error, is_shown in named if is_shown)


def _three(values: np.ndarray) -> tuple[float, float, float]:
    return float(values[0]), float(values[1]), float(values[2])


def _without(steps: _Steps, axis: int) -> _Steps:
    x, y, z = (0 if number == axis else step for number, step in enumerate(steps))
    return x, y, z


def _rotation(degrees: np.ndarray) -> np.ndarray:
    return cv2.Rodrigues(np.radians(np.asarray(degrees, np.float64)))[0]


@dataclass(frozen=True)
class _Frame:
    """One frame of the search."""

    log_depths: np.ndarray
    camera: Camera
    origin: np.ndarray
    points: np.ndarray
    blocks: Blocks
    quarters: np.ndarray

    @classmethod
    def of(cls, kind: ScaleKind, one: FrameFit) -> _Frame:
        known, camera = one.known.take(~one.known.is_bound), one.frame.camera
        points = camera.back_project(known.pixels, known.depth)
        is_lower, is_right = known.pixels[:, 1] > camera.height / 2, known.pixels[:, 0] > camera.width / 2
        blocks = Blocks.of(known.pixels, camera.width, camera.height)
        origin = one.measurement.to_camera.translation
        return cls(log_map(kind, one), camera, origin, points, blocks, 2 * is_lower.astype(int) + is_right)

    def sums(self, rotation: np.ndarray) -> np.ndarray:
        """Return the sum of the misfits in each quarter of the image and their number, float64 (quarters, 2)."""
        turned = (self.points - self.origin) @ rotation.T + self.origin
        turned = np.where(turned[:, 2:] > 0.01, turned, np.nan)
        errors = misfits(self.log_depths, self.camera.project(turned), np.log(turned[:, 2]), self.blocks)
        seen = np.isfinite(errors)
        total = np.bincount(self.quarters[seen], errors[seen], _QUARTERS)
        return np.stack([total, np.bincount(self.quarters[seen], minlength=_QUARTERS)], axis=1)


class _Search:
    """The misfits of all frames by the rotation, kept for the rotations that were tried."""

    def __init__(self, frames: Sequence[_Frame]) -> None:
        self._frames = frames
        self._tried: dict[_Steps, np.ndarray] = {}
        self.all = np.ones((len(frames), _QUARTERS), bool)

    def mean(self, steps: _Steps, chosen: np.ndarray) -> float:
        """Return the mean misfit of a reference after a rotation.

        Args:
            steps: the rotation, in steps of `_UNIT`.
            chosen: bool (frames, quarters), those that count.
        """
        total, count = self._sums(steps)[chosen].sum(axis=0)
        return float(total / count) if count else math.inf

    def best(self, chosen: np.ndarray) -> _Steps:
        """Return the best rotation, in steps of `_UNIT`, by a search along the axes."""
        at = (0, 0, 0)
        for size in _SIZES:
            has_moved = True
            while has_moved:
                around = [at, *(self._moved(at, axis, sign * size) for axis in range(3) for sign in (-1, 1))]
                lowest = min(around, key=lambda steps: self.mean(steps, chosen))
                has_moved, at = lowest != at, lowest
        return at

    def refined(self, at: _Steps, chosen: np.ndarray) -> np.ndarray:
        """Return the angles at the minima of parabolas through the neighbors of a rotation, degrees, float64 (3,).

        Args:
            at: the rotation, in steps of `_UNIT`.
            chosen: bool (frames, quarters), those that count.
        """
        return np.array([self._refined(at, axis, chosen) for axis in range(3)])

    def sigma(self) -> np.ndarray:
        """Return the standard deviation of the best angles in degrees, float64 (3,), from halves of the recording.

        The halves are those of the time, and the upper and lower, left and right ones of the image: a network's error
        is the same in all frames of one view, but not in all of the image.
        """
        early = np.arange(len(self._frames))[:, np.newaxis] < len(self._frames) / 2
        is_upper, is_left = np.array([True, True, False, False]), np.array([True, False, True, False])
        largest = np.full(3, MIN_SIGMA)
        for half in (early, is_upper, is_left):
            parts = [np.broadcast_to(part, self.all.shape) for part in (half, ~half)]
            counts = [self._sums((0, 0, 0))[part][:, 1].sum() for part in parts]
            if min(counts) < _MIN_SHARE * sum(counts):
                continue  # a planar scan is in one half of the image
            first, second = (self.refined(self.best(part), part) for part in parts)
            largest = np.maximum(largest, np.abs(first - second) / 2)
        return largest

    def _sums(self, steps: _Steps) -> np.ndarray:
        """Return sums and numbers of the misfits, float64 (frames, quarters, 2)."""
        if steps not in self._tried:
            rotation = _rotation(_UNIT * np.array(steps))
            self._tried[steps] = np.array([frame.sums(rotation) for frame in self._frames])
        return self._tried[steps]

    def _moved(self, at: _Steps, axis: int, step: int) -> _Steps:
        moved = list(at)
        moved[axis] = min(max(moved[axis] + step, -_LIMIT), _LIMIT)
        return moved[0], moved[1], moved[2]

    def _refined(self, at: _Steps, axis: int, chosen: np.ndarray) -> float:
        low, here, high = (self.mean(self._moved(at, axis, move), chosen) for move in (-_NEIGHBOR, 0, _NEIGHBOR))
        curvature = low - 2 * here + high
        shift = 0.5 * _NEIGHBOR * (low - high) / curvature if curvature > 1e-9 else 0.0
        return _UNIT * (at[axis] + min(max(shift, -_NEIGHBOR / 2), _NEIGHBOR / 2))
