"""What a robot needs to know of a model: obstacles, where depth is wrong, and whether it is steady.

`robot_frame` measures one frame, and `RobotReport` averages frames. A mean over frames gives each frame in which
a value exists the same weight. docs/evaluation.md defines every value.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from depth_anything_ros.data.frame import LabeledImage
from depth_anything_ros.evaluation.breakdown import Breakdown, by_range, by_region
from depth_anything_ros.evaluation.obstacles import ObstacleCounts, ObstacleOptions, count_obstacles
from depth_anything_ros.evaluation.stability import LONGEST_GAP, TimedDepth, flicker, scale_drift


@dataclass(frozen=True)
class RobotFrame:
    """The values of one frame. ``obstacles`` is None without intrinsics, ``timed`` without a time."""

    range: Breakdown
    region: Breakdown
    log_scale: float
    obstacles: ObstacleCounts | None
    timed: TimedDepth | None


def robot_frame(depth: np.ndarray, frame: LabeledImage, mask: np.ndarray, options: ObstacleOptions) -> RobotFrame:
    """Measure one frame.

    Args:
        depth: prediction (H, W), meters.
        frame: the frame with its truth.
        mask: bool (H, W), the scored pixels.
        options: what an obstacle is.
    """
    true = np.where(mask, frame.depth, np.nan)
    obstacles = timed = None
    if frame.camera is not None:
        obstacles = count_obstacles(depth, true, frame.camera, options)
        if frame.time is not None:
            timed = TimedDepth(depth.astype(np.float32), true, frame.camera, frame.time, frame.pose)
    log_scale = float(np.median(np.log(true[mask]) - np.log(depth[mask])))
    edges = options.edges
    return RobotFrame(by_range(depth, true, mask, edges), by_region(depth, true, mask), log_scale, obstacles, timed)


@dataclass
class RobotReport:
    """The values of one model on one set. Frames must be added in their order.

    Attributes:
        options: what an obstacle is.
        frames: the frames, without their depth.
    """

    options: ObstacleOptions
    frames: list[RobotFrame] = field(default_factory=list)
    _times: list[float] = field(default_factory=list)
    _log_scales: list[float] = field(default_factory=list)
    _flicker: list[float] = field(default_factory=list)
    _last: TimedDepth | None = None

    def add(self, frame: RobotFrame) -> None:
        """Add the next frame."""
        timed = frame.timed
        if timed is not None:
            self._times.append(timed.time)
            self._log_scales.append(frame.log_scale)
            if self._last is not None and 0 < timed.time - self._last.time <= LONGEST_GAP:
                change = flicker(self._last, timed)
                self._flicker.extend([] if change is None else [change])
            self._last = timed
        self.frames.append(RobotFrame(frame.range, frame.region, frame.log_scale, frame.obstacles, None))

    def values(self) -> dict[str, Any]:
        """Return the means as plain values; None where no frame has a value."""
        obstacles = [frame.obstacles for frame in self.frames if frame.obstacles is not None]
        return {
            "frames": len(self.frames),
            "voxel": self.options.voxel,
            "min_points": self.options.min_points,
            "range_edges": [None if math.isinf(edge) else edge for edge in self.options.edges],
            "obstacles": self._obstacles(obstacles) if obstacles else None,
            "abs_rel_by_range": _mean([frame.range.abs_rel for frame in self.frames]),
            "bias_by_range": _mean([frame.range.bias for frame in self.frames]),
            "abs_rel_by_region": _mean([frame.region.abs_rel for frame in self.frames]),
            "bias_by_region": _mean([frame.region.bias for frame in self.frames]),
            "scale_spread_percent": 100 * float(np.std([frame.log_scale for frame in self.frames])),
            "scale_drift_percent_per_minute": scale_drift(self._times, self._log_scales),
            "flicker_percent": float(np.mean(self._flicker)) if self._flicker else None,
        }

    def _obstacles(self, counts: Sequence[ObstacleCounts]) -> dict[str, Any]:
        names = ("true", "missed", "predicted", "false", "unknown_true", "unknown_predicted")
        totals = {name: np.sum([getattr(item, name) for item in counts], axis=0) for name in names}
        return {
            "missed_rate": _overall([item.missed.sum() for item in counts], [item.true.sum() for item in counts]),
            "false_rate": _overall([item.false.sum() for item in counts], [item.predicted.sum() for item in counts]),
            "missed_rate_by_range": _mean([item.missed_rate for item in counts]),
            "false_rate_by_range": _mean([item.false_rate for item in counts]),
            "voxels": {name: total.tolist() for name, total in totals.items()},
        }


def _overall(part: Sequence[int], whole: Sequence[int]) -> float | None:
    """Return the mean over frames of their shares, of the frames that have any."""
    shares = [float(p / w) for p, w in zip(part, whole, strict=True) if w]
    return float(np.mean(shares)) if shares else None


def _mean(arrays: Sequence[np.ndarray]) -> Any:
    """Return the mean over frames that ignores NaN, as lists with None where all are NaN."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # of parts without any pixel
        return _plain(np.nanmean(np.stack(arrays), axis=0).tolist())


def _plain(value: Any) -> Any:
    if isinstance(value, list):
        return [_plain(item) for item in value]
    return None if math.isnan(value) else value
