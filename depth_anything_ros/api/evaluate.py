"""Scores of models in one call."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Union

from depth_anything_ros.api.estimator import Estimator
from depth_anything_ros.data.rgbd_declaration import Declaration
from depth_anything_ros.evaluation.peers import record_of_peer
from depth_anything_ros.evaluation.run import Evaluation, EvaluationOptions, evaluate_models
from depth_anything_ros.evaluation.scored_sets import find_sets
from depth_anything_ros.runtime.estimator import Estimator as AnyEstimator

ModelLike = Union[AnyEstimator, str, "os.PathLike[str]"]
"""An `Estimator`, or what one is made of: a name or path; FILE.onnx:RECORD.json for an ONNX without a record."""


def evaluate(
    models: ModelLike | Sequence[ModelLike],
    data: str | os.PathLike[str],
    sets: str | Sequence[str] | None = None,
    *,
    limit: int = 10,
    protocol: str = "full",
    baselines: bool = True,
    pictures: str | os.PathLike[str] | None = None,
    backend: str = "auto",
    precision: str = "fp32",
    threads: int | None = None,
    **own: Any,
) -> Evaluation:
    """Scores models on images with known depth, beside guesses that never look at the image.

    Every prediction is aligned to the truth by least squares in inverse depth; a metric model is also scored as it is.

    Args:
        models: estimators, or names and paths; one or several.
        data: the folder that holds the sets, each in a folder of its name.
        sets: their names, or "rgbd" for images and depth of your own in ``data`` itself; default: all that are there.
        limit: frames of each set, evenly spaced; 0 for all.
        protocol: "full" scores every pixel of known depth, "published" those that papers score.
        baselines: whether a constant and a vertical gradient are scored too.
        pictures: a folder for SET.png: image, truth, prediction and error of a set's first frame.
        backend: of models that are named; as are the next two.
        precision: "fp32" unless told otherwise, so that scores are the same on every machine.
        threads: of a processor's backend.
        own: what is known of images and depth of your own, such as ``depth_scale=0.001`` and
            ``camera=(615, 615, 320, 240)``; see `Declaration` and docs/data.md.

    Returns:
        The scores. ``print`` shows tables, ``means["tiny"].abs_rel`` is a number. Frames and sets that cannot be scored
        are named in ``left_out`` and in the log.

    Raises:
        ValueError: a set is unknown or absent, nothing of it can be scored, or an argument cannot be.
        ModelError: a model is absent or damaged.
    """
    root, picture_folder = Path(data), None if pictures is None else Path(pictures)
    options = EvaluationOptions(limit, protocol, baselines, picture_folder)
    found = find_sets(root, [sets] if isinstance(sets, str) else sets, Declaration(**own))
    given = [models] if isinstance(models, (AnyEstimator, str, os.PathLike)) else models
    opened = open_models(given, backend=backend, precision=precision, threads=threads)
    if picture_folder is not None:
        picture_folder.mkdir(parents=True, exist_ok=True)
    return evaluate_models(opened, root, found, options)


def open_models(models: Iterable[ModelLike], **options: Any) -> dict[str, AnyEstimator]:
    """Estimators by the name that reports call them: their record's, or what was given where several share that.

    ``options`` are of `Estimator`, for those that are named. A model that is given twice is there once.
    """
    opened: dict[str, AnyEstimator] = {}
    for model in models:
        if not isinstance(model, AnyEstimator):
            given = os.fspath(model)
            if given not in opened:
                opened[given] = _open(given, **options)
        elif not any(model is other for other in opened.values()):
            given = f"{model.record.name} on {model.backend_name} {model.precision}"
            count = sum(name.startswith(given) for name in opened)
            opened[f"{given} ({count + 1})" if count else given] = model
    names = [estimator.record.name for estimator in opened.values()]
    return {
        name if names.count(name) == 1 else given: estimator
        for name, (given, estimator) in zip(names, opened.items(), strict=True)
    }


def _open(model: str, **options: Any) -> Estimator:
    path, separator, record_file = model.rpartition(":")
    if separator and record_file.endswith(".json"):
        return Estimator(path, record=record_file, **options)
    return Estimator(model, record=record_of_peer(Path(model)), **options)
