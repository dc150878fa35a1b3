"""Results of models on sets: scores by image, and their means over images and over sets."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from depth_anything_ros.evaluation.metrics import Measures
from depth_anything_ros.evaluation.robot import RobotReport
from depth_anything_ros.evaluation.stated_sigma import StatedDepth

_MAIN = (("abs_rel", "delta1"), ("accuracy",), ("miou", "pixel_accuracy"))
"""The measures of short tables; the first of these that a score has are used."""


@dataclass
class Row:
    """The results of one model on one set.

    Attributes:
        model: the name of the model.
        aligned: whether scale and shift are fitted to each image.
        is_baseline: whether the model is a baseline.
        images: the scores by frame.
        seconds: the time of each prediction.
        uncorrected: images of unknown lens whose meters need a correction for it.
        robot: what a robot needs to know, if requested.
        sequences: scale, shift and temporal alignment error of each sequence of a video.
    """

    model: str
    aligned: bool
    is_baseline: bool
    images: dict[str, Measures] = field(default_factory=dict)
    seconds: list[float] = field(default_factory=list)
    uncorrected: list[str] = field(default_factory=list)
    robot: RobotReport | None = None
    sequences: dict[str, dict[str, float | None]] = field(default_factory=dict)

    def add(self, frame: str, scores: Measures, seconds: float, is_uncorrected: bool = False) -> None:
        """Add the result on one frame.

        Args:
            frame: the name of the frame.
            scores: its scores.
            seconds: the time of the prediction.
            is_uncorrected: whether its meters need a lens correction and the lens is unknown.
        """
        self.images[frame] = scores
        self.seconds.append(seconds)
        if is_uncorrected:
            self.uncorrected.append(frame)

    @property
    def scores(self) -> Measures:
        """Return the mean over the images; of several videos, the mean over the videos of their means over images."""
        first = next(iter(self.images.values()))
        return type(first).mean(self._averaged())

    def values(self, name: str) -> np.ndarray:
        """Return one measure of every image, or of every video if there are several, float64 (N,)."""
        return np.array([getattr(scores, name) for scores in self._averaged()], dtype=np.float64)

    def _averaged(self) -> Sequence[Measures]:
        """Return what has the same weight: images, or the means of several videos."""
        if len(self.sequences) < 2:
            return list(self.images.values())
        videos: dict[str, list[Measures]] = {}
        for name, scores in self.images.items():
            videos.setdefault(name.rpartition("/")[0], []).append(scores)
        return [type(scores[0]).mean(scores) for scores in videos.values()]

    @property
    def tae(self) -> float | None:
        """Return the mean temporal alignment error over the sequences in percent, None if there is none."""
        errors = [values["tae_percent"] for values in self.sequences.values() if values["tae_percent"] is not None]
        return statistics.fmean(errors) if errors else None

    @property
    def milliseconds_95(self) -> float:
        """Return the time that 95 % of the predictions stay below."""
        return 1000 * float(np.percentile(self.seconds, 95))

    @property
    def milliseconds(self) -> float:
        """Return the median time of a prediction."""
        return 1000 * statistics.median(self.seconds)


@dataclass(frozen=True)
class SetResult:
    """The scores on one set.

    Attributes:
        name: the name of the set.
        terms: its terms of use.
        frames: the number of scored frames.
        available: the number of frames in the set.
        rows: one row per model, two for a metric model.
        left_out: frames and files that could not be scored, each with the reason.
        variant: what distinguishes several results of one set, such as the pattern of a completion.
        stated: of a bag: its own depth with σ; None without one.
    """

    name: str
    terms: str
    frames: int
    available: int
    rows: list[Row]
    left_out: Sequence[str] = ()
    variant: str = ""
    stated: StatedDepth | None = None

    @property
    def title(self) -> str:
        """Return the name in tables."""
        return f"{self.name}, {self.variant}" if self.variant else self.name

    def row(self, title: str) -> Row | None:
        """Return the row with a title, None if there is none."""
        return next((row for row in self.rows if row_title(row.model, row.aligned) == title), None)


def row_title(model: str, aligned: bool) -> str:
    """Return the title of a row in tables.

    Args:
        model: the name of the model.
        aligned: whether the row is of aligned depth.
    """
    return model if aligned else f"{model} (meters as they are)"


def main_measures(scores: Measures) -> tuple[str, ...]:
    """Return the names of the measures that short tables show."""
    return next((names for names in _MAIN if names[0] in scores.names()), scores.names()[:1])


def main_values(scores: Measures) -> str:
    """Return the main measures with their values."""
    return " ".join(f"{scores.heading(name)} {getattr(scores, name):.3f}" for name in main_measures(scores))


def mean_over_sets(results: Sequence[SetResult]) -> dict[str, Measures]:
    """Return the mean of each row over the sets by the row's title. Each set has the same weight."""
    rows: dict[str, list[Measures]] = {}
    for result in results:
        for row in result.rows:
            rows.setdefault(row_title(row.model, row.aligned), []).append(row.scores)
    return {title: common_type(scores).mean(scores) for title, scores in rows.items()}


def common_type(scores: Sequence[Measures]) -> type[Measures]:
    """Return the type with the fewest measures, which all scores have."""
    return min((type(score) for score in scores), key=lambda kind: len(kind.names()))
