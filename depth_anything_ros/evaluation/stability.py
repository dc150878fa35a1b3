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
        predicted: (H, W), meters.
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
    def known(self) -> np.ndarray:
        """Return the pixels with both depths, bool (H, W)."""
        return np.isfinite(self.true) & (self.true > 0) & np.isfinite(self.predicted) & (self.predicted > 0)

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
    rows, columns, target_rows, target_columns, moved = _moved(first, first.true, second)
    seen = second.true[target_rows, target_columns]
    with np.errstate(invalid="ignore"):
        static = second.known[target_rows, target_columns] & (np.abs(moved - seen) <= STATIC * moved)
    static &= first.known[rows, columns]
    if not static.any():
        return None
    before = np.log(first.predicted[rows, columns][static] / first.true[rows, columns][static])
    after = np.log(second.predicted[target_rows, target_columns][static] / seen[static])
    return 100 * float(np.sqrt(np.mean((after - before).astype(np.float64) ** 2)))


def temporal_alignment_error(first: TimedDepth, second: TimedDepth) -> float | None:
    """Return the temporal alignment error (TAE) of two frames in percent, as in Video Depth Anything.

    The predicted depth of each frame is moved into the other by the true poses and compared with the depth predicted
    there: mean |moved - P| / P, averaged over both directions. Of points on one pixel the nearest counts. Pixels
    without true depth are not used.

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
    _, _, rows, columns, moved = _moved(source, source.predicted, target)
    nearest = np.full(target.predicted.shape, np.inf)
    np.minimum.at(nearest, (rows, columns), moved)
    both = np.isfinite(nearest) & target.known
    if not both.any():
        return None
    return float(np.mean(np.abs(nearest[both] - target.predicted[both]) / target.predicted[both]))


def _moved(source: TimedDepth, depth: np.ndarray, target: TimedDepth) -> tuple[np.ndarray, ...]:
    """Return the pixels of the source that the target sees: rows, columns, those in the target, and depth there."""
    rows, columns = np.nonzero(source.known & np.isfinite(depth) & (depth > 0))
    points = source.camera.back_project(np.stack([columns, rows], axis=1), depth[rows, columns])
    to_target = np.linalg.inv(target.pose) @ source.pose
    points = points @ to_target[:3, :3].T + to_target[:3, 3]
    ahead = points[:, 2] > 1e-6
    rows, columns, points = rows[ahead], columns[ahead], points[ahead]
    pixels = np.rint(target.camera.project(points))
    size = target.camera.width, target.camera.height
    inside = ((pixels >= 0) & (pixels < size)).all(axis=1)
    u, v = pixels[inside].astype(np.int64).T
    return rows[inside], columns[inside], v, u, points[inside, 2]
