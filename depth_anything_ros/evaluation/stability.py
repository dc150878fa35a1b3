"""Depth over time: drift of the scale, flicker, and the temporal alignment error.

P is predicted depth, Z true depth. Static pixels of two frames are those whose true depth, moved by the poses, agrees
with the true depth of the other frame; they are where one thing is seen twice.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from depth_anything_ros.geometry.camera import Camera

STATIC = 0.05
"""Relative difference of true depth up to which two pixels see the same thing."""
LONGEST_GAP = 0.25
"""Seconds between frames that are consecutive."""
_MOST_PAIRS = 2000


@dataclass(frozen=True)
class TimedDepth:
    """The depth of one frame of a sequence.

    Attributes:
        predicted: (H, W), meters; NaN where it is not to be used.
        true: (H, W), meters; NaN where unknown.
        camera: the intrinsics.
        time: seconds.
        pose: camera to world, float64 (4, 4), or None.
    """

    predicted: np.ndarray
    true: np.ndarray
    camera: Camera
    time: float
    pose: np.ndarray | None = None

    @property
    def usable(self) -> np.ndarray:
        """Return the pixels with a prediction, bool (H, W)."""
        return np.isfinite(self.predicted) & (self.predicted > 0)

    @property
    def known(self) -> np.ndarray:
        """Return the pixels with both depths, bool (H, W)."""
        return np.isfinite(self.true) & (self.true > 0) & self.usable

    @property
    def log_scale(self) -> float:
        """Return median(ln Z - ln P): the logarithm of the factor that corrects the prediction."""
        known = self.known
        return float(np.median(np.log(self.true[known]) - np.log(self.predicted[known])))


def scale_drift(times: Sequence[float], log_scales: Sequence[float]) -> float | None:
    """Return the drift of the scale in percent a minute: the median slope of ln scale over all pairs of frames.

    The median slope (Theil and Sen) ignores single frames that fail.

    Args:
        times: seconds, (N,).
        log_scales: `TimedDepth.log_scale` of each frame, (N,).

    Returns:
        100 (exp(60 s) - 1) with the slope s in 1/second; None with fewer than two times.
    """
    t, s = np.asarray(times, np.float64), np.asarray(log_scales, np.float64)
    if len(t) > _MOST_PAIRS:
        chosen = np.linspace(0, len(t) - 1, _MOST_PAIRS).round().astype(int)
        t, s = t[chosen], s[chosen]
    first, second = np.triu_indices(len(t), 1)
    apart = t[second] != t[first]
    if not apart.any():
        return None
    first, second = first[apart], second[apart]
    slope = float(np.median((s[second] - s[first]) / (t[second] - t[first])))
    return 100 * math.expm1(min(60 * slope, 700))


def flicker(first: TimedDepth, second: TimedDepth) -> float | None:
    """Return the flicker between consecutive frames in percent of depth.

    With poses: the root mean square, over static pixels, of the change of ln P - ln Z. Motion changes both terms alike,
    so what is left is the model's. Without poses: the median over pixels of |change of ln P|; it includes motion, and
    only a camera at rest makes it the model's.

    Args:
        first: a frame.
        second: the next frame.

    Returns:
        100 times the change; None if nothing is seen in both frames.
    """
    if first.pose is None or second.pose is None:
        both = first.known & second.known if first.known.shape == second.known.shape else np.zeros(0, bool)
        if not both.any():
            return None
        return 100 * float(np.median(np.abs(np.log(second.predicted[both]) - np.log(first.predicted[both]))))
    origin, pixels, moved = _moved(first, first.true, second, first.known)
    seen = second.true.reshape(-1)[pixels]
    with np.errstate(invalid="ignore"):
        static = second.known.reshape(-1)[pixels] & (np.abs(moved - seen) <= STATIC * moved)
    if not static.any():
        return None
    origin, pixels = origin[static], pixels[static]
    before = np.log(first.predicted.reshape(-1)[origin] / first.true.reshape(-1)[origin])
    after = np.log(second.predicted.reshape(-1)[pixels] / seen[static])
    return 100 * float(np.sqrt(np.mean((after - before).astype(np.float64) ** 2)))


def temporal_alignment_error(first: TimedDepth, second: TimedDepth) -> float | None:
    """Return the temporal alignment error (TAE) of two frames in percent, as in Video Depth Anything.

    The predicted depth of each frame is moved into the other by the true poses and compared with the depth predicted
    there: mean |moved - P| / P, averaged over both directions. All predicted pixels count, with or without true depth.
    Of points on one pixel the nearest counts; the reference leaves that to the order in which its device writes.

    Args:
        first: a frame.
        second: the next frame.

    Returns:
        The error; None without poses, or if the frames share no pixel.
    """
    if first.pose is None or second.pose is None:
        return None
    errors = [_one_way(first, second), _one_way(second, first)]
    return None if None in errors else 50 * (errors[0] + errors[1])


def _one_way(source: TimedDepth, target: TimedDepth) -> float | None:
    _, pixels, moved = _moved(source, source.predicted, target, source.usable)
    nearest = np.full(target.predicted.size, np.inf)
    np.minimum.at(nearest, pixels, moved)
    nearest = nearest.reshape(target.predicted.shape)
    both = np.isfinite(nearest) & target.usable
    if not both.any():
        return None
    return float(np.mean(np.abs(nearest[both] - target.predicted[both]) / target.predicted[both]))


def _moved(source: TimedDepth, depth: np.ndarray, target: TimedDepth, usable: np.ndarray) -> tuple[np.ndarray, ...]:
    """Return the usable pixels of the source that the target sees: flat index, flat index in the target, and depth."""
    (x, y), camera = source.camera.rays(), target.camera
    to_target = np.linalg.inv(target.pose) @ source.pose
    planes = []
    for row in to_target[:3]:  # of the point Z * (x, y, 1)
        ray = (row[0] * x.astype(np.float64))[np.newaxis] + (row[1] * y.astype(np.float64) + row[2])[:, np.newaxis]
        ray *= depth
        ray += row[3]
        planes.append(ray)
    with np.errstate(divide="ignore", invalid="ignore"):
        u = np.rint(camera.fx * planes[0] / planes[2] + camera.cx)
        v = np.rint(camera.fy * planes[1] / planes[2] + camera.cy)
        seen = usable & np.isfinite(depth) & (depth > 0) & (planes[2] > 1e-6)
        seen &= (u >= 0) & (u < camera.width) & (v >= 0) & (v < camera.height)
    origin = np.flatnonzero(seen)
    pixels = v.reshape(-1)[origin].astype(np.int64) * camera.width + u.reshape(-1)[origin].astype(np.int64)
    return origin, pixels, planes[2].reshape(-1)[origin]
