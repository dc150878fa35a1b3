"""Scores of video: one scale and shift for all frames of a sequence, and the temporal alignment error.

All pixels of all frames enter the fit, as in Video Depth Anything. So a sequence is predicted first and scored then;
in between its predictions are in a temporary folder.
"""

from __future__ import annotations

import pickle
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from depth_anything_ros.data.frame import LabeledImage
from depth_anything_ros.evaluation.alignment import as_inverse_depth, to_depth
from depth_anything_ros.evaluation.obstacles import ObstacleOptions
from depth_anything_ros.evaluation.predictions import Prediction, ScoredModel, has_meters
from depth_anything_ros.evaluation.protocol import FARTHEST, SetRules
from depth_anything_ros.evaluation.results import Row
from depth_anything_ros.evaluation.robot import RobotReport
from depth_anything_ros.evaluation.scoring import (
    OnLeftOut,
    OnPrediction,
    limit_metric,
    predicted_frames,
    score_aligned,
)
from depth_anything_ros.evaluation.stability import LONGEST_GAP, TimedDepth, temporal_alignment_error

_Item = tuple[LabeledImage, np.ndarray, "list[Prediction]"]


@dataclass
class LineSums:
    """The least-squares line y = a x + b of values that come in parts, float64."""

    count: int = 0
    x_mean: float = 0.0
    y_mean: float = 0.0
    xx: float = 0.0
    xy: float = 0.0
    farthest: float = 0.0

    def add(self, x: np.ndarray, true_depth: np.ndarray) -> None:
        """Add pixels with y = 1 / true depth.

        Args:
            x: inverse depth (N,), N of at least 1.
            true_depth: depth (N,), meters.
        """
        x, y = x.astype(np.float64), 1.0 / true_depth.astype(np.float64)
        x_mean, y_mean, count = float(x.mean()), float(y.mean()), len(x)
        centered = x - x_mean
        total = self.count + count
        dx, dy, share = x_mean - self.x_mean, y_mean - self.y_mean, self.count * count / total
        self.xx += float(centered @ centered) + dx * dx * share
        self.xy += float(centered @ (y - y_mean)) + dx * dy * share
        self.x_mean += dx * count / total
        self.y_mean += dy * count / total
        self.count = total
        self.farthest = max(self.farthest, float(true_depth.max()))

    @property
    def line(self) -> tuple[float, float]:
        """Return a and b; a is 0 if all x are equal."""
        if self.xx <= self.count * (1e-12 * self.x_mean) ** 2:
            return 0.0, self.y_mean
        a = self.xy / self.xx
        return a, self.y_mean - a * self.x_mean


def score_video(
    models: Sequence[ScoredModel],
    frames: Iterable[LabeledImage],
    rules: SetRules,
    on_prediction: OnPrediction,
    on_left_out: OnLeftOut,
    robot: ObstacleOptions | None = None,
) -> list[Row]:
    """Score sequences. Frames whose names have the same folder are one sequence; they must come in a row.

    Args:
        models: models and baselines.
        frames: frames with known depth.
        rules: limits and floor. The alignment is least squares in inverse depth.
        on_prediction: called after each prediction.
        on_left_out: called for each frame that cannot be scored.
        robot: what an obstacle is; None to leave out what a robot needs to know.

    Returns:
        The aligned rows, then those of meters as they are. ``Row.sequences`` has scale, shift and TAE.

    Raises:
        ValueError: no frame is left.
    """
    aligned = [_row(model, True, robot) for model in models]
    metric = [_row(model, False, robot) if has_meters(model) else None for model in models]
    for name, items in _sequences(predicted_frames(models, frames, rules, on_left_out)):
        with tempfile.TemporaryDirectory(prefix="evaluate-") as folder:
            files, sums = _store(items, models, Path(folder))
            for index, model in enumerate(models):
                scored = aligned[index], metric[index]
                _score_sequence(name, files, index, model, sums[index], scored, rules, on_prediction)
    rows = [row for row in (*aligned, *metric) if row is not None]
    if not rows or not rows[0].images:
        raise ValueError("there is nothing to evaluate: no frames or no models")
    return rows


def _row(model: ScoredModel, is_aligned: bool, robot: ObstacleOptions | None) -> Row:
    return Row(model.name, is_aligned, model.is_baseline, robot=None if robot is None else RobotReport(robot))


def _sequences(items: Iterator[_Item]) -> Iterator[tuple[str, Iterator[_Item]]]:
    """Yield the name and the frames of each sequence."""
    upcoming = next(items, None)
    while upcoming is not None:
        name = upcoming[0].name.rpartition("/")[0]

        def same(first: _Item = upcoming, name: str = name) -> Iterator[_Item]:
            nonlocal upcoming
            yield first
            for upcoming in items:
                if upcoming[0].name.rpartition("/")[0] != name:
                    return
                yield upcoming
            upcoming = None

        yield name, same()


def _store(items: Iterator[_Item], models: Sequence[ScoredModel], folder: Path) -> tuple[list[Path], list[LineSums]]:
    """Write the frames with their predictions to files, and sum what the fit of each model needs."""
    files, sums = [], [LineSums() for _ in models]
    for frame, mask, predictions in items:
        for model, prediction, total in zip(models, predictions, sums, strict=True):
            total.add(as_inverse_depth(prediction.values[mask], model.output), frame.depth[mask])
        path = folder / f"{len(files)}.pickle"
        with path.open("wb") as file:
            pickle.dump((frame, mask, predictions), file, pickle.HIGHEST_PROTOCOL)
        files.append(path)
    return files, sums


def _score_sequence(
    name: str,
    files: Sequence[Path],
    index: int,
    model: ScoredModel,
    sums: LineSums,
    rows: tuple[Row, Row | None],
    rules: SetRules,
    on_prediction: OnPrediction,
) -> None:
    (a, b), floor = sums.line, 1.0 / sums.farthest if rules.floor == FARTHEST else float(rules.floor)
    steadiness: list[_Steadiness] = [_Steadiness(rules) for _ in rows]
    for path in files:
        with path.open("rb") as file:
            frame, mask, predictions = pickle.load(file)
        prediction = predictions[index]
        inverse = as_inverse_depth(prediction.values, model.output).astype(np.float64)
        depths = [to_depth(a * inverse + b, floor, rules)]
        if rows[1] is not None:
            depths.append(limit_metric((prediction.gain or 1.0) * prediction.values, rules))
        for row, depth, steady in zip(rows, depths, steadiness, strict=False):
            scored = score_aligned(depth, frame, mask, rules, row.robot and row.robot.options)
            row.add(frame.name, scored.scores, prediction.seconds, not row.aligned and prediction.gain is None)
            if row.robot is not None:
                row.robot.add(scored.robot)
            steady.add(depth, frame, mask)
        on_prediction(frame, model, depths[0], mask)
    for row, steady in zip(rows, steadiness, strict=True):
        if row is not None:
            fitted: dict[str, Any] = {"scale": a, "shift": b} if row.aligned else {}
            row.sequences[name] = {"frames": len(files), **fitted, "tae_percent": steady.tae}


class _Steadiness:
    """The temporal alignment error of a sequence, whose frames come in order, inside the crop."""

    def __init__(self, rules: SetRules) -> None:
        self._rules = rules
        self._errors: list[float] = []
        self._last: TimedDepth | None = None

    def add(self, depth: np.ndarray, frame: LabeledImage, mask: np.ndarray) -> None:
        if frame.camera is None or frame.time is None:
            return
        predicted = np.where(self._rules.inside(depth.shape), depth, np.nan)
        timed = TimedDepth(predicted, np.where(mask, frame.depth, np.nan), frame.camera, frame.time, frame.pose)
        if self._last is not None and 0 < timed.time - self._last.time <= LONGEST_GAP:
            error = temporal_alignment_error(self._last, timed)
            self._errors.extend([] if error is None else [error])
        self._last = timed

    @property
    def tae(self) -> float | None:
        return float(np.mean(self._errors)) if self._errors else None
