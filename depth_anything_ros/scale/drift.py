"""The rate at which a model's scale changes over a recording: the rate of the filter's random walk."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from depth_anything_ros.scale.calibration import FrameFit
from depth_anything_ros.scale.kinds import ScaleKind, log_depth

MAX_LAG = 2.0
"""Maximum seconds between two compared frames. Over longer times the scale is no free random walk."""
MIN_PAIRS = 20
"""Minimum number of pairs of frames for a rate."""
MIN_RANGE = 2.0
"""Smallest ratio of the longest to the shortest time between frames. A single lag cannot separate drift from noise."""
MIN_RATE = 0.01
"""Smallest rate that is reported."""


@dataclass(frozen=True)
class Drift:
    """The rate at which the scale changes.

    It is the rate of depth, not of ln a: a and b change in opposite directions, so depth changes by less.

    Attributes:
        rate: Relative error of depth after one second with the same scale; None if it is undetermined.
        text: the result in words.
    """

    rate: float | None
    text: str


def drift_of(kind: ScaleKind, fits: Sequence[FrameFit]) -> Drift:
    """Measure the error of one frame's scale in another frame, as a function of the time between them.

    The mean square error has a constant part, from the fits, and a part that grows with time, from a random walk. Both
    are fitted to all pairs of frames.

    Args:
        kind: how the output becomes depth.
        fits: Fits of the frames, in the order of time.
    """
    pairs = np.array(
        [
            (later.frame.time - earlier.frame.time, _squared_change(kind, earlier, later))
            for earlier, later in itertools.combinations(fits, 2)
            if 0 < later.frame.time - earlier.frame.time <= MAX_LAG
        ]
    )
    if len(pairs) < MIN_PAIRS or pairs[:, 0].max() < MIN_RANGE * pairs[:, 0].min():
        few = f"too few frames with a scale are within {MAX_LAG:g} s of each other; take more frames, or a shorter part"
        return Drift(None, f"undetermined: {few}")
    lag, square = pairs.T
    # The scatter of a square is proportional to its mean, which is about proportional to the lag.
    noise, growth = np.linalg.lstsq(np.stack([1 / lag, np.ones_like(lag)], axis=1), square / lag, rcond=None)[0]
    if noise < 0:
        growth = float(np.mean(square / lag))
    rate = max(math.sqrt(max(growth, 0.0)), MIN_RATE)
    return Drift(rate, f"{100 * rate:.0f} % of depth after 1 s without a measurement, and without odometry or images")


def _squared_change(kind: ScaleKind, earlier: FrameFit, later: FrameFit) -> float:
    """Return the mean square of the error of ln Z in the later frame with the scale of the earlier one."""
    own = log_depth(kind, later.x, later.result.log_a, later.result.b)
    return float(np.mean((log_depth(kind, later.x, earlier.result.log_a, earlier.result.b) - own) ** 2))
