"""Evaluation of models on sets: the loop over sets and frames, for the command and for Python programs."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from depth_anything_ros.data.check import evenly_spaced
from depth_anything_ros.data.frame import DataError, LabeledImage, skip_reason
from depth_anything_ros.data.name_summary import NameSummary
from depth_anything_ros.evaluation.baselines import BASELINES
from depth_anything_ros.evaluation.completion import score_completion
from depth_anything_ros.evaluation.metrics import Measures
from depth_anything_ros.evaluation.obstacles import ObstacleOptions
from depth_anything_ros.evaluation.page import Gallery, html_page
from depth_anything_ros.evaluation.pairs import score_pairs
from depth_anything_ros.evaluation.panels import FirstFrame
from depth_anything_ros.evaluation.predictions import ScoredModel, unsuitable
from depth_anything_ros.evaluation.protocol import Protocol, SetRules
from depth_anything_ros.evaluation.protocol_files import check_options, find_protocol, protocol_names
from depth_anything_ros.evaluation.report import json_report, markdown_report, text_report
from depth_anything_ros.evaluation.results import Row, SetResult, main_values, mean_over_sets
from depth_anything_ros.evaluation.scored_sets import EvaluationSet
from depth_anything_ros.evaluation.scoring import OnLeftOut, OnPrediction, score_models
from depth_anything_ros.evaluation.video import score_video
from depth_anything_ros.postprocessing.meters import focal_gain
from depth_anything_ros.runtime.estimator import Estimator
from depth_anything_ros.system.atomic_file import atomic_write

PROTOCOLS = protocol_names()
USUAL_LIMIT = 10
"""Frames per set of an open protocol."""

Progress = Callable[[Sequence[str], str], Iterable[str]]
"""Yields the names of a set's frames and displays progress. Its second argument is the name of the set."""

log = logging.getLogger(__name__)


@dataclass(frozen=True, repr=False)
class Evaluation:
    """Scores of models and baselines on sets with known depth. ``str`` returns the tables.

    Attributes:
        results: the scores on each set.
        protocol: the protocol.
        models: the estimators by their names in the tables.
        refused: sets and models that could not be scored, each with the reason.
        gallery: the worst and best images, for the page.
    """

    results: Sequence[SetResult]
    protocol: Protocol
    models: Mapping[str, Estimator]
    refused: Sequence[str] = ()
    gallery: Gallery = field(default_factory=Gallery)

    @property
    def means(self) -> dict[str, Measures]:
        """Return the mean scores over the sets by the row's title. Each set has the same weight."""
        return mean_over_sets(self.results)

    @property
    def left_out(self) -> list[str]:
        """Return the sets and frames that could not be scored, each with the reason."""
        return [*self.refused, *(text for result in self.results for text in result.left_out)]

    def to_markdown(self) -> str:
        """Return a table of the main measures with one line per set, beside published numbers."""
        return markdown_report(self.results, self.protocol)

    def to_json(self) -> str:
        """Return all scores, image by image, and the records of the models."""
        return json.dumps(self._report(), indent=2, ensure_ascii=False)

    def to_html(self) -> str:
        """Return one page with all scores, plots, and the worst and best images; it needs no network."""
        return html_page(self._report(), self.gallery)

    def _report(self) -> dict[str, Any]:
        models = {
            name: {"record": json.loads(estimator.record.to_json()), "provenance": estimator.provenance}
            for name, estimator in self.models.items()
        }
        return json_report(self.results, self.protocol, models)

    def __str__(self) -> str:
        return text_report(self.results, self.protocol)

    def __repr__(self) -> str:
        sets = ", ".join(f"{result.frames} frames of {result.name}" for result in self.results)
        rows = (f"{title} {main_values(mean)}" for title, mean in self.means.items())
        left_out = f"; {len(self.left_out)} left out" if self.left_out else ""
        return f"Evaluation({sets}: {', '.join(rows)}{left_out})"


@dataclass(frozen=True)
class EvaluationOptions:
    """How models are scored.

    Attributes:
        limit: frames per set, evenly spaced; 0 for all; None for 10 in open protocols and for all in others.
        protocol: the name of a protocol. "full" scores every pixel with known depth, "published" the pixels that
            papers score; the others fix sets and frames.
        baselines: whether to score baselines too.
        pictures: a folder for SET.png, or None.
        gallery: whether to keep the worst and best images, for the page.
        progress: displays progress.
        warn: receives one line for each frame or set that is left out.
        workers: threads that score; the result is the same for any number.
        robot: what an obstacle is, to report what a robot needs to know; None to leave that out.
    """

    limit: int | None = None
    protocol: str = "full"
    baselines: bool = True
    pictures: Path | None = None
    gallery: bool = False
    progress: Progress = lambda names, _: names
    warn: Callable[[str], None] = log.warning
    workers: int = 1
    robot: ObstacleOptions | None = None

    def __post_init__(self) -> None:
        """Check the options. Raises `ValueError` if one is invalid or contradicts the protocol."""
        if self.limit is not None and self.limit < 0:
            raise ValueError(f"limit is {self.limit}, must be 0 or more")
        if self.workers < 1:
            raise ValueError(f"workers is {self.workers}, must be 1 or more")
        check_options(find_protocol(self.protocol), {"limit": self.limit or None})

    @property
    def frames(self) -> int:
        """Return the number of frames per set, 0 for all."""
        if self.limit is None:
            return USUAL_LIMIT if find_protocol(self.protocol).is_open else 0
        return self.limit


def evaluate_models(
    models: Mapping[str, Estimator], root: Path, sets: Iterable[EvaluationSet], options: EvaluationOptions
) -> Evaluation:
    """Score models on sets. Sets and frames that cannot be scored are left out and reported.

    Args:
        models: estimators by their names in the tables.
        root: the folder that contains the sets.
        sets: the sets.
        options: how models are scored.

    Raises:
        DataError: no set is left.
    """
    protocol = find_protocol(options.protocol)
    scored = [_scored_model(name, estimator) for name, estimator in models.items()]
    if options.baselines:
        scored += [ScoredModel(name, predict, "inverse_depth", is_baseline=True) for name, predict in BASELINES.items()]
    results, refused, gallery = [], [], Gallery()
    for declared in sets:
        try:
            rules = protocol.rules(declared.name)
            suitable = _suitable(scored, rules, refused)
            results.extend(_evaluate_set(declared, root, suitable, rules, options, gallery))
        except (DataError, OSError, ImportError) as error:  # other sets can still be scored
            refused.append(f"{declared.name}: {error}")
    refused = list(dict.fromkeys(refused))
    if not results:
        raise DataError("; ".join(refused) or "there is no set to score")
    for text in refused:
        options.warn(f"left out: {text}")
    return Evaluation(results, protocol, models, refused, gallery)


def _suitable(models: Sequence[ScoredModel], rules: SetRules, refused: list[str]) -> list[ScoredModel]:
    """Return the models that the rules can score; the reason for each other model goes to ``refused``."""
    reasons = [unsuitable(model, rules) for model in models]
    suitable = [model for model, reason in zip(models, reasons, strict=True) if reason is None]
    texts = [reason for model, reason in zip(models, reasons, strict=True) if reason and not model.is_baseline]
    if all(model.is_baseline for model in suitable) and texts:
        raise DataError("; ".join(texts))
    refused.extend(texts)
    return suitable


def _scored_model(name: str, estimator: Estimator) -> ScoredModel:
    """Return the estimator as a `ScoredModel`. Its meters are corrected for the lens of each image."""
    record = estimator.record

    def gain(frame: LabeledImage) -> float | None:
        if frame.camera is None:
            return None
        return focal_gain(frame.camera, estimator.input_size_for(*frame.image.shape[:2]), record.reference_focal)

    corrects = record.reference_focal is not None
    return ScoredModel(
        name, estimator.estimate, record.output, is_metric=record.is_metric, gain=gain if corrects else None
    )


def _evaluate_set(
    declared: EvaluationSet,
    root: Path,
    models: Sequence[ScoredModel],
    rules: SetRules,
    options: EvaluationOptions,
    gallery: Gallery,
) -> list[SetResult]:
    """Score the models on one set, and draw its first frame if requested. Raises `DataError` if no frame is left."""
    names, unpaired = declared.frame_names(root), declared.unpaired(root)
    missing = declared.missing(root, names)
    _warn_left_out(missing, options.warn)
    chosen = evenly_spaced(names, options.frames)
    first, refused = FirstFrame(), []

    def on_prediction(frame: LabeledImage, model: ScoredModel, depth: np.ndarray, mask: np.ndarray) -> None:
        first.add(frame, model, depth, mask)
        if options.gallery:
            gallery.add(declared.name, frame, model, depth, mask)

    frames = _frames(declared, root, options.progress(chosen, declared.name), refused)
    try:
        variants = _score(models, frames, rules, on_prediction, refused.append, options)
    except ValueError as error:
        if len(refused) < len(chosen):
            raise
        raise DataError(f"none of {len(chosen)} frames can be scored, see above") from error
    finally:
        _warn_left_out(refused, options.warn)
    for rows in variants.values():
        _warn_uncorrected(rows, declared.name, options.warn)
    if options.pictures and first.is_known:
        _, encoded = cv2.imencode(".png", first.picture())
        atomic_write(options.pictures / f"{declared.name}.png", encoded.tobytes())
    scored, left_out = len(chosen) - len(refused), [*missing, *unpaired, *refused]
    return [
        SetResult(declared.name, declared.terms, scored, len(names), rows, () if number else left_out, variant)
        for number, (variant, rows) in enumerate(variants.items())
    ]


def _score(
    models: Sequence[ScoredModel],
    frames: Iterable[LabeledImage],
    rules: SetRules,
    on_prediction: OnPrediction,
    on_left_out: OnLeftOut,
    options: EvaluationOptions,
) -> dict[str, list[Row]]:
    """Return the rows of a set by variant, "" if there is one. Raises `ValueError` if no frame is left."""
    task = find_protocol(options.protocol).task
    if task == "pairs":
        return {"": score_pairs(models, frames, rules, on_left_out)}
    if task == "video":
        return {"": score_video(models, frames, rules, on_prediction, on_left_out, options.robot)}
    if task == "completion":
        return score_completion(models, frames, rules, on_prediction, on_left_out, options.workers)
    rows = score_models(models, frames, rules, on_prediction, on_left_out, options.workers, options.robot)
    return {"": rows}


def _warn_uncorrected(rows: Sequence[Row], set_name: str, warn: Callable[[str], None]) -> None:
    for row in rows:
        if row.uncorrected:
            warn(
                f"{row.model} on {set_name}: {len(row.uncorrected)} of {len(row.images)} images have an unknown focal "
                "length; their meters are uncorrected"
            )


def _frames(declared: EvaluationSet, root: Path, names: Iterable[str], refused: list[str]) -> Iterator[LabeledImage]:
    """Yield the readable frames; append the reason for each unreadable one to ``refused``."""
    for name in names:
        try:
            frame = declared.read(root, name)
        except (ImportError, MemoryError):
            raise
        except Exception as error:  # libraries raise errors of any kind, and the next frame may be intact
            refused.append(skip_reason(f"{declared.name}/{name}", error))
        else:
            yield frame


def _warn_left_out(refused: Sequence[str], warn: Callable[[str], None]) -> None:
    for text in refused[: NameSummary.MAX_NAMED]:
        warn(f"left out: {text}")
    if len(refused) > NameSummary.MAX_NAMED:
        warn(f"left out: {len(refused) - NameSummary.MAX_NAMED} more, listed in the JSON report")
