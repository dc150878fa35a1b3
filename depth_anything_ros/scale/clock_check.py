"""Check of a sensor's clock: the difference of stamps at which its measurements agree best with the images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from depth_anything_ros.scale.calibration import FrameFit, Measurement
from depth_anything_ros.scale.kinds import ScaleKind
from depth_anything_ros.scale.shape_agreement import Blocks, log_map, misfits

MAX_OFFSET = 0.2
"""Seconds: the largest offset tried."""
WINDOW = 2 * MAX_OFFSET
"""Seconds around a frame whose measurements are compared with it."""
MIN_FRAMES = 5
"""Minimum number of frames for a check."""
MIN_GAIN = 0.02
"""Smallest relative improvement of the agreement that counts."""
MIN_OFFSET = 0.015
"""Seconds: the smallest offset that is reported."""
MIN_CONTRAST = 0.03
"""Smallest relative change of the agreement over all offsets; below, the scene shows no offset."""
BLIND = 0.02
"""Seconds: standard deviation above which the result is undetermined."""
SURE = 3.0
"""Standard deviations from which an offset is significant."""
_PARTS = 6
_LAGS = np.round(np.arange(-MAX_OFFSET, MAX_OFFSET + 0.005, 0.01), 3)
_REFINED = 0.05
"""Seconds on both sides of a minimum, for the parabola through it."""


@dataclass(frozen=True)
class ClockCheck:
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

    @classmethod
    def impossible(cls, reason: str) -> ClockCheck:
        """Return the result of an impossible check."""
        return cls(None, 0.0, 0.0, False, f"not checked: {reason}")


def check_clock(kind: ScaleKind, fits: Sequence[FrameFit], measurements: Sequence[Measurement]) -> ClockCheck:
    """Find the difference of stamps at which a source agrees best with the images.

    The error of the result is from the jackknife over parts of the recording.

    Args:
        kind: how the output becomes depth.
        fits: Fits of the frames, from `fit_frames`.
        measurements: Measurements of that source, around the frames.
    """
    curves = np.array([curve for one in fits if (curve := _curve(kind, one, measurements)) is not None])
    if len(curves) < MIN_FRAMES:
        return ClockCheck.impossible(
            f"fewer than {MIN_FRAMES} frames have a scale and messages at least every {MAX_OFFSET} s around them"
        )
    total = curves.mean(axis=0)
    late, sigma = _lowest(total), _jackknife(curves)
    zero, minimum = float(np.interp(0.0, _LAGS, total)), float(np.interp(late, _LAGS, total))
    gain = (zero - minimum) / max(zero, 1e-9)
    if (total.max() - minimum) / max(minimum, 1e-9) < MIN_CONTRAST:
        text = "undetermined: the view hardly changes, or the model is too coarse; turn the camera left and right"
        return ClockCheck(late, sigma, gain, False, text)
    if gain < MIN_GAIN or abs(late) < max(MIN_OFFSET, SURE * sigma):
        text = f"no offset seen ({late:+.3f} ± {sigma:.3f} s)"
        if sigma > BLIND:
            text = f"undetermined: turn the camera left and right, or use a finer model ({late:+.3f} ± {sigma:.3f} s)"
        return ClockCheck(late, sigma, gain, False, text)
    if abs(late) > MAX_OFFSET - 0.005:  # no minimum, so the jackknife says nothing about the error
        text = (
            f"unclear: agreement improves up to the largest offset tried ({late:+.1f} s, by {100 * gain:.0f} %). The "
            "stamps are off by more, or the model's shape is too coarse for this check"
        )
        return ClockCheck(late, sigma, gain, False, text)
    text = (
        f"the stamps are {abs(late):.3f} ± {sigma:.3f} s too {'late' if late > 0 else 'early'}: correct them in the "
        f"driver (agreement improves by {100 * gain:.0f} %)"
    )
    return ClockCheck(late, sigma, gain, True, text)


def _curve(kind: ScaleKind, one: FrameFit, measurements: Sequence[Measurement]) -> np.ndarray | None:
    """Return the misfit of a frame by the lag of the messages, float64 (len(_LAGS),); None if messages are missing."""
    frame, log_depths = one.frame, log_map(kind, one)
    near = [other for other in measurements if abs(other.time - frame.time) <= WINDOW]
    lags, costs = [], []
    for other in sorted(near, key=lambda measurement: measurement.time):
        try:
            known = other.convert(frame.values)
        except ValueError:
            continue
        blocks = Blocks.of(known.pixels, frame.camera.width, frame.camera.height)
        errors = misfits(log_depths, known.pixels, np.log(known.depth), blocks)
        if np.isfinite(errors).any():
            lags.append(other.time - frame.time)
            costs.append(float(np.nanmean(errors)))
    if len(lags) < 3 or lags[0] > -MAX_OFFSET + 0.011 or lags[-1] < MAX_OFFSET - 0.011:
        return None
    return np.interp(_LAGS, lags, costs) if np.diff(lags).max() <= MAX_OFFSET else None


def _lowest(curve: np.ndarray) -> float:
    """Return the lag of a curve's minimum, refined by a parabola."""
    lag = _LAGS[int(np.argmin(curve))]
    near = np.abs(_LAGS - lag) <= _REFINED + 0.005
    square, linear, _ = np.polyfit(_LAGS[near], curve[near], 2)
    vertex = -linear / (2 * square) if square > 1e-9 else lag
    return float(np.clip(vertex, max(lag - _REFINED, -MAX_OFFSET), min(lag + _REFINED, MAX_OFFSET)))


def _jackknife(curves: np.ndarray) -> float:
    """Return the standard deviation of the lag of the minimum, from the minima without one part of the frames each."""
    parts = np.array_split(np.arange(len(curves)), min(_PARTS, len(curves)))
    lags = np.array([_lowest(np.delete(curves, part, axis=0).mean(axis=0)) for part in parts])
    return float(np.sqrt((len(parts) - 1) / len(parts) * ((lags - lags.mean()) ** 2).sum()))
