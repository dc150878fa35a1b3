"""Checks of a sensor against the images: the offset of its clock, and the rotation of its extrinsics.

Both vary one quantity and compare how well the references then agree with the network's output, after a fit of scale
and shift to each frame. The error of the result is from the jackknife over parts of the recording.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from depth_anything_ros.geometry.transform import Transform
from depth_anything_ros.scale.calibration import Frame, FrameFit, Measurement
from depth_anything_ros.scale.fit import Prior, ScaleFit, ScaleKind, fit_samples, sample
from depth_anything_ros.scale.references import References

MAX_OFFSET = 0.2
"""Seconds: the largest offset that is tried."""
MAX_ROTATION = 3.0
"""Degrees about each axis: the largest rotation that is tried."""
MIN_FRAMES = 5
"""Fewer frames are no check."""
MIN_GAIN = 0.02
"""Smallest relative improvement of the agreement that counts."""
MIN_OFFSET, MIN_ROTATION = 0.015, 0.3
"""Seconds and degrees: the smallest offset and rotation that are reported."""
MIN_CONTRAST = 0.03
"""Smallest relative change of the agreement over all offsets; below, the scene shows no offset."""
SURE = 3.0
"""Standard deviations at which an offset or rotation counts as seen."""
_WORST = 0.5
"""Largest error in ln Z that a reference counts with; also that of a frame without a fit."""
_USED = 200
"""References of one frame that are compared."""
_FRAMES = 20
"""Frames that the rotation is sought with."""
_PARTS, _QUARTERS = 6, 4
_UNIT = 0.1
"""Degrees of one step of the finest search."""
_STEPS = (16, 8, 4, 2, 1)
_LAGS = np.round(np.arange(-MAX_OFFSET, MAX_OFFSET + 0.005, 0.01), 3)


@dataclass(frozen=True)
class OffsetCheck:
    """The offset of a source's clock.

    Attributes:
        late: seconds by which the source's stamps seem too late; None if the check is impossible.
        sigma: standard deviation of ``late``.
        gain: relative improvement of the agreement at that offset.
        is_seen: whether the offset is significant.
        text: the result in words.
    """

    late: float | None
    sigma: float
    gain: float
    is_seen: bool
    text: str


@dataclass(frozen=True)
class RotationCheck:
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


def check_offset(kind: ScaleKind, frames: Sequence[Frame], measurements: Sequence[Measurement]) -> OffsetCheck:
    """Find the difference of stamps at which a source agrees best with the images.

    Args:
        kind: how the output becomes depth.
        frames: in the order of time.
        measurements: of one source, around the frames.
    """
    curves = np.array([curve for frame in frames if (curve := _curve(kind, frame, measurements)) is not None])
    if len(curves) < MIN_FRAMES:
        text = f"not checked: fewer than {MIN_FRAMES} frames have messages at least every {MAX_OFFSET} s around them"
        return OffsetCheck(None, 0.0, 0.0, False, text)
    total = curves.mean(axis=0)
    late = _lowest(total)
    sigma = float(_jackknife(curves, lambda chosen: np.array([_lowest(chosen.mean(axis=0))]))[0])
    zero, minimum = float(np.interp(0.0, _LAGS, total)), float(np.interp(late, _LAGS, total))
    gain = (zero - minimum) / max(zero, 1e-9)
    if (total.max() - minimum) / max(minimum, 1e-9) < MIN_CONTRAST:
        text = "no offset can be seen: the view hardly changes; move the camera while you record"
        return OffsetCheck(late, sigma, gain, False, text)
    is_seen = gain >= MIN_GAIN and abs(late) >= MIN_OFFSET and abs(late) > SURE * sigma
    if not is_seen:
        return OffsetCheck(late, sigma, gain, False, f"no offset seen ({late:+.3f} ± {sigma:.3f} s)")
    at_least = "at least " if abs(late) > MAX_OFFSET - 0.01 else ""
    text = (
        f"the stamps are {at_least}{abs(late):.3f} ± {sigma:.3f} s too {'late' if late > 0 else 'early'}: correct them "
        f"in the driver (agreement improves by {100 * gain:.0f} %)"
    )
    return OffsetCheck(late, sigma, gain, True, text)


def check_rotation(kind: ScaleKind, fits: Sequence[FrameFit]) -> RotationCheck:
    """Find the rotation of a source's points about its own position at which they agree best with the images.

    A shift of the sensor is not sought: far away it changes nothing, and near by it looks like a rotation.

    Args:
        kind: how the output becomes depth.
        fits: of the frames, from `fit_frames`.
    """
    none = (0.0, 0.0, 0.0)
    if len(fits) < MIN_FRAMES:
        return RotationCheck(None, none, 0.0, False, f"not checked: fewer than {MIN_FRAMES} frames have a scale")
    costs = _RotationCosts(kind, fits[:: math.ceil(len(fits) / _FRAMES)])
    everything = np.ones((costs.count, _QUARTERS), bool)
    steps = costs.search((0, 0, 0), _STEPS, everything)
    degrees = costs.refined(steps, everything)

    def without(rows: np.ndarray, axis: int) -> np.ndarray:
        chosen = _only(everything, rows, axis)
        return costs.refined(costs.search(steps, _STEPS[2:], chosen), chosen)

    over_time = _jackknife(np.arange(costs.count), lambda rows: without(rows, 0))
    # A network's error is the same in all frames of one view, but not in all of the image.
    over_image = _jackknife(np.arange(_QUARTERS), lambda rows: without(rows, 1))
    sigma = np.maximum(over_time, over_image)
    before, after = costs.mean((0, 0, 0), everything), costs.mean(steps, everything)
    gain = (before - after) / max(before, 1e-9)
    is_sure = [
        abs(degrees[axis]) >= MIN_ROTATION
        and abs(degrees[axis]) > SURE * sigma[axis]
        and costs.mean(_without(steps, axis), everything) > (1 + MIN_GAIN) * after
        for axis in range(3)
    ]
    found = (float(degrees[0]), float(degrees[1]), float(degrees[2]))
    errors = (float(sigma[0]), float(sigma[1]), float(sigma[2]))
    if gain < MIN_GAIN or not any(is_sure):
        shown = ", ".join(f"{a:+.1f} ± {e:.1f}° about {n}" for n, a, e in zip("xyz", found, errors, strict=True))
        return RotationCheck(found, errors, gain, False, f"no rotation seen ({shown})")
    named = zip("xyz", found, errors, is_sure, strict=True)
    shown = " and ".join(
        f"{angle:+.1f} ± {error:.1f}° about {axis}" for axis, angle, error, is_seen in named if is_seen
    )
    turn = Transform(_rotation(np.where(is_sure, degrees, 0.0)), np.zeros(3))
    to_camera = fits[0].measurement.to_camera
    corrected = Transform(turn.rotation @ to_camera.rotation, to_camera.translation)
    text = (
        f"fits better if turned by {shown} of the camera (x right, y down, z forward): check the extrinsics (agreement "
        f"improves by {100 * gain:.0f} %)"
    )
    return RotationCheck(found, errors, gain, True, text, corrected)


def _misfits(kind: ScaleKind, x: np.ndarray, known: References, width: int) -> np.ndarray:
    """Return the error in ln Z of each reference after a fit, at most `_WORST`; NaN outside the image."""
    result = fit_samples(kind, x, width, known, Prior())
    if not isinstance(result, ScaleFit):
        return np.full(len(known), _WORST)
    return np.minimum(np.abs(result.residuals), _WORST)


def _only(chosen: np.ndarray, places: np.ndarray, axis: int) -> np.ndarray:
    """Return a mask that is False except at some places of an axis, and like ``chosen`` there."""
    kept = np.isin(np.arange(chosen.shape[axis]), places)
    return chosen & (kept[:, np.newaxis] if axis == 0 else kept)


def _thinned(known: References) -> References:
    return known.take(np.arange(0, len(known), max(1, math.ceil(len(known) / _USED))))


def _curve(kind: ScaleKind, frame: Frame, measurements: Sequence[Measurement]) -> np.ndarray | None:
    """Return the misfit of a frame by the lag of the messages, float64 (len(_LAGS),); None if messages are missing."""
    near = sorted((one for one in measurements if abs(one.time - frame.time) <= 2 * MAX_OFFSET), key=lambda m: m.time)
    lags, costs = [], []
    for one in near:
        try:
            known = _thinned(one.convert(frame.values))
        except ValueError:
            continue
        if not len(known):
            continue
        misfits = _misfits(kind, sample(frame.values, known.pixels, kind.sign < 0), known, frame.values.shape[1])
        if np.isfinite(misfits).any():
            lags.append(one.time - frame.time)
            costs.append(float(np.nanmean(misfits)))
    if len(lags) < 3 or lags[0] > -MAX_OFFSET + 0.011 or lags[-1] < MAX_OFFSET - 0.011:
        return None
    return np.interp(_LAGS, lags, costs) if np.diff(lags).max() <= MAX_OFFSET else None


def _lowest(curve: np.ndarray) -> float:
    """Return the lag of a curve's minimum, refined by a parabola."""
    place = int(np.argmin(curve))
    near = np.abs(_LAGS - _LAGS[place]) <= 0.055
    square, linear, _ = np.polyfit(_LAGS[near], curve[near], 2)
    vertex = -linear / (2 * square) if square > 1e-9 else _LAGS[place]
    return float(np.clip(vertex, max(_LAGS[place] - 0.05, -MAX_OFFSET), min(_LAGS[place] + 0.05, MAX_OFFSET)))


def _jackknife(rows: np.ndarray, estimate: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    """Return the standard deviation of an estimate, from its values without one part of the rows each."""
    parts = np.array_split(np.arange(len(rows)), min(_PARTS, len(rows)))
    found = np.array([estimate(np.delete(rows, part, axis=0)) for part in parts])
    return np.sqrt((len(parts) - 1) / len(parts) * ((found - found.mean(axis=0)) ** 2).sum(axis=0))


def _without(steps: tuple[int, int, int], axis: int) -> tuple[int, int, int]:
    x, y, z = (0 if number == axis else step for number, step in enumerate(steps))
    return x, y, z


def _rotation(degrees: np.ndarray) -> np.ndarray:
    return cv2.Rodrigues(np.radians(np.asarray(degrees, np.float64)))[0]


class _RotationCosts:
    """The misfit of each frame and quarter of the image by the rotation, kept for the rotations that were tried."""

    def __init__(self, kind: ScaleKind, fits: Sequence[FrameFit]) -> None:
        self._kind = kind
        self._tried: dict[tuple[int, int, int], np.ndarray] = {}
        self._frames: list[tuple[FrameFit, References, np.ndarray]] = []
        for one in fits:
            known, camera = _thinned(one.known.take(~one.known.is_bound)), one.frame.camera
            self._frames.append((one, known, camera.back_project(known.pixels, known.depth)))
        self.count = len(self._frames)

    def mean(self, steps: tuple[int, int, int], chosen: np.ndarray) -> float:
        """Return the mean misfit of a reference after a rotation.

        Args:
            steps: the rotation, in steps of `_UNIT`.
            chosen: bool (frames, quarters), those that count.
        """
        if steps not in self._tried:
            rotation = _rotation(_UNIT * np.array(steps))
            self._tried[steps] = np.array([self._sums(*frame, rotation) for frame in self._frames])
        total, count = self._tried[steps][chosen].sum(axis=0)
        return float(total / count) if count else _WORST

    def _sums(self, one: FrameFit, known: References, points: np.ndarray, rotation: np.ndarray) -> np.ndarray:
        """Return the sum of the misfits in each quarter of the image and their number, float64 (quarters, 2)."""
        camera, origin = one.frame.camera, one.measurement.to_camera.translation
        turned = (points - origin) @ rotation.T + origin
        pixels = camera.project(np.where(turned[:, 2:] > 0.01, turned, np.nan))
        moved = References(pixels, np.maximum(turned[:, 2], 0.01), known.sigma, known.is_bound)
        inside = np.isfinite(pixels).all(axis=1)
        moved, before = moved.take(inside), known.pixels[inside]
        x = sample(one.frame.values, moved.pixels, self._kind.sign < 0)
        misfits = _misfits(self._kind, x, moved, camera.width)
        quarters = 2 * (before[:, 1] > camera.height / 2).astype(int) + (before[:, 0] > camera.width / 2)
        seen = np.isfinite(misfits)
        sums = np.bincount(quarters[seen], misfits[seen], _QUARTERS)
        return np.stack([sums, np.bincount(quarters[seen], minlength=_QUARTERS)], axis=1)

    def search(self, at: tuple[int, int, int], sizes: Sequence[int], chosen: np.ndarray) -> tuple[int, int, int]:
        """Return the best rotation, in steps of `_UNIT`, by a search along the axes.

        Args:
            at: where to begin.
            sizes: of the moves that are tried, from large to small.
            chosen: bool (frames, quarters), those that count.
        """
        for size in sizes:
            has_moved = True
            while has_moved:
                around = [at, *(self._moved(at, axis, sign * size) for axis in range(3) for sign in (-1, 1))]
                lowest = min(around, key=lambda steps: self.mean(steps, chosen))
                has_moved, at = lowest != at, lowest
        return at

    def refined(self, at: tuple[int, int, int], chosen: np.ndarray) -> np.ndarray:
        """Return the angles at the minima of parabolas through the neighbors of a rotation, degrees, float64 (3,).

        Args:
            at: the rotation, in steps of `_UNIT`.
            chosen: bool (frames, quarters), those that count.
        """
        return np.array([self._refined(at, axis, chosen) for axis in range(3)])

    def _moved(self, at: tuple[int, int, int], axis: int, step: int) -> tuple[int, int, int]:
        limit = round(MAX_ROTATION / _UNIT)
        moved = list(at)
        moved[axis] = min(max(moved[axis] + step, -limit), limit)
        return moved[0], moved[1], moved[2]

    def _refined(self, at: tuple[int, int, int], axis: int, chosen: np.ndarray) -> float:
        """Return the angle about one axis at the minimum of a parabola through the neighbors, degrees."""
        step = 4
        low, here, high = (self.mean(self._moved(at, axis, move), chosen) for move in (-step, 0, step))
        curvature = low - 2 * here + high
        shift = 0.5 * step * (low - high) / curvature if curvature > 1e-9 else 0.0
        return _UNIT * (at[axis] + min(max(shift, -step / 2), step / 2))
