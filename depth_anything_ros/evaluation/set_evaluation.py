"""The evaluation of models on one set: its frames, scores, pictures, and what was left out."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np

from depth_anything_ros.data.check import evenly_spaced
from depth_anything_ros.data.frame import DataError, LabeledImage, skip_reason
from depth_anything_ros.data.name_summary import NameSummary
from depth_anything_ros.evaluation.bag_set import BagDepthSet
from depth_anything_ros.evaluation.classes import score_classes
from depth_anything_ros.evaluation.completion import score_completion
from depth_anything_ros.evaluation.options import EvaluationOptions
from depth_anything_ros.evaluation.page import Gallery
from depth_anything_ros.evaluation.pairs import score_pairs
from depth_anything_ros.evaluation.panels import FirstFrame
from depth_anything_ros.evaluation.predictions import ScoredModel
from depth_anything_ros.evaluation.protocol import SetRules
from depth_anything_ros.evaluation.protocol_files import find_protocol
from depth_anything_ros.evaluation.results import Row, SetResult
from depth_anything_ros.evaluation.resume import ScoreStore, fingerprint_of, score_resumable, units_of
from depth_anything_ros.evaluation.scored_sets import EvaluationSet
from depth_anything_ros.evaluation.scoring import OnLeftOut, OnPrediction, score_models
from depth_anything_ros.evaluation.stated_sigma import stated_depth
from depth_anything_ros.evaluation.video import score_video
from depth_anything_ros.system.atomic_file import atomic_write


def evaluate_set(
    declared: EvaluationSet,
    root: Path,
    models: Sequence[ScoredModel],
    rules: SetRules,
    options: EvaluationOptions,
    gallery: Gallery,
) -> list[SetResult]:
    """Score the models on one set, and draw its first frame if requested.

    Args:
        declared: the set.
        root: the folder that contains it.
        models: models and baselines, all suitable.
        rules: the rules of the set.
        options: how models are scored.
        gallery: receives the worst and best images if requested.

    Returns:
        One result, or one for each pattern of a completion.

    Raises:
        DataError: no frame is left.
    """
    if not declared.is_metric:
        models = [replace(model, is_metric=False) for model in models]
    names, unpaired = declared.frame_names(root), declared.unpaired(root)
    missing = declared.missing(root, names)
    _warn_left_out(missing, options.warn)
    chosen = evenly_spaced(names, options.frames)
    first, refused = FirstFrame(), []

    def on_prediction(frame: LabeledImage, model: ScoredModel, depth: np.ndarray, mask: np.ndarray) -> None:
        first.add(frame, model, depth, mask)
        if options.gallery:
            gallery.add(declared.name, frame, model, depth, mask)

    try:
        if options.resume is not None:
            variants = _resumed(declared, root, chosen, models, rules, refused, options)
        else:
            frames = _frames(declared, root, options.progress(chosen, declared.name), refused)
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
    stated = None
    if isinstance(declared.source, BagDepthSet):
        stated = stated_depth(declared.source, declared.folder(root), chosen, rules)
    scored, left_out = len(chosen) - len(refused), [*missing, *unpaired, *refused]
    return [
        SetResult(declared.name, declared.terms, scored, len(names), rows, () if number else left_out, variant, stated)
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
    if task == "segmentation":
        return {"": score_classes(models, frames, on_left_out)}
    if task == "completion":
        return score_completion(models, frames, rules, on_prediction, on_left_out, options.workers)
    rows = score_models(models, frames, rules, on_prediction, on_left_out, options.workers, options.robot)
    return {"": rows}


def _resumed(
    declared: EvaluationSet,
    root: Path,
    names: Sequence[str],
    models: Sequence[ScoredModel],
    rules: SetRules,
    refused: list[str],
    options: EvaluationOptions,
) -> dict[str, list[Row]]:
    """Return the rows by variant, with the scores that the folder has. Raises `ValueError` if no frame is left."""
    first = next(_frames(declared, root, names, []), None)
    if first is None:
        list(_frames(declared, root, names, refused))  # for the reasons
        raise ValueError("there is no readable frame")
    folder = declared.folder(root)
    fingerprint = fingerprint_of(models, first, rules)
    store = ScoreStore(options.resume, fingerprint, lambda name: declared.source.stamp(folder, name))

    def read(chosen: Sequence[str]) -> Iterator[LabeledImage]:
        return _frames(declared, root, chosen, refused)

    def score(frames: Iterable[LabeledImage], on_left_out: OnLeftOut) -> dict[str, list[Row]]:
        return _score(models, frames, rules, lambda *_: None, on_left_out, options)

    units = units_of(options.progress(names, declared.name), find_protocol(options.protocol).task == "video")
    return score_resumable(units, read, score, store, refused.append, rules.boundary)


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
