"""Scores of models in one call."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Union

from depth_anything_ros.api.estimator import Estimator
from depth_anything_ros.api.segmentation_model import open_segmentation
from depth_anything_ros.data.rgbd_declaration import Declaration, located
from depth_anything_ros.evaluation.bag_recording import BagTruth
from depth_anything_ros.evaluation.obstacles import ObstacleOptions
from depth_anything_ros.evaluation.options import EvaluationOptions
from depth_anything_ros.evaluation.protocol_files import check_options, find_protocol
from depth_anything_ros.evaluation.run import Evaluation, evaluate_models
from depth_anything_ros.evaluation.scored_sets import bag_sets, find_sets, is_bags
from depth_anything_ros.runtime.estimator import Estimator as AnyEstimator
from depth_anything_ros.zoo.peers import record_of_peer

ModelLike = Union[AnyEstimator, str, "os.PathLike[str]"]
"""An `Estimator`, or its model: a name or path; FILE.onnx:RECORD.json for an ONNX without a record."""


def evaluate(
    models: ModelLike | Sequence[ModelLike],
    data: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
    sets: str | Sequence[str] | None = None,
    *,
    limit: int | None = None,
    protocol: str = "full",
    baselines: bool = True,
    pictures: str | os.PathLike[str] | None = None,
    backend: str = "auto",
    precision: str = "fp32",
    threads: int | None = None,
    workers: int = 1,
    robot: ObstacleOptions | bool = False,
    resume: str | os.PathLike[str] | None = None,
    truth: BagTruth | None = None,
    **own: Any,
) -> Evaluation:
    """Score models on images with known depth, along with baselines that ignore the image.

    Every prediction is aligned to the truth by least squares in inverse depth. A metric model is also scored without
    alignment.

    Args:
        models: estimators, or names and paths; one or several. Paths of networks of stage segment with protocol
            "segmentation".
        data: the folder with the sets, each in a folder of its name; or a ROS bag, or several.
        sets: their names, or "rgbd" for your own images and depth in ``data`` itself; default: all that exist.
        limit: frames per set, evenly spaced; 0 for all. Default: 10 with the protocols "full" and "published". Other
            protocols score all frames of their split.
        protocol: "full" scores every pixel of known depth, "published" the pixels that papers score. "paper", "moge",
            "metric" and others fix sets, frames and alignment; see docs/evaluation.md.
        baselines: whether to score a constant and a vertical gradient too.
        pictures: a folder for SET.png: image, truth, prediction and error of a set's first frame.
        backend: of models given by name or path.
        precision: of models given by name or path; "fp32" by default, so that scores are the same on every machine.
        threads: of a CPU backend, for models given by name or path.
        workers: threads that score; the result is the same for any number.
        robot: whether to report obstacles, error by range and region, drift, flicker and latency too; or what an
            obstacle is.
        resume: a folder that keeps the scores of each frame, so that an interrupted evaluation goes on.
        truth: the topics of the bags, and where their sensor is; default: by type and TF. See `BagTruth` and
            docs/bags.md.
        own: the format of your own images and depth, such as ``depth_scale=0.001`` and
            ``camera=(615, 615, 320, 240)``; see `Declaration` and docs/data.md.

    Returns:
        The scores. ``print`` shows tables, ``means["tiny"].abs_rel`` is a number. Frames and sets that cannot be scored
        are listed in ``left_out`` and in the log.

    Raises:
        ValueError: a set is unknown, missing or unusable, or an argument is invalid or contradicts the protocol.
        ModelError: a model is missing or damaged.
    """
    picture_folder = None if pictures is None else Path(pictures)
    obstacles = (ObstacleOptions() if robot else None) if isinstance(robot, bool) else robot
    options = EvaluationOptions(
        limit,
        protocol,
        baselines,
        picture_folder,
        workers=workers,
        robot=obstacles,
        resume=None if resume is None else Path(resume),
    )
    chosen = find_protocol(protocol)
    check_options(chosen, own)
    given_data = [Path(data)] if isinstance(data, (str, os.PathLike)) else [Path(one) for one in data]
    if is_bags(given_data):
        if sets is not None or own or not chosen.is_open:
            raise ValueError("a bag has no sets and no format, and goes with open protocols alone: leave them out")
        root, chosen_sets = Path(), bag_sets(given_data, truth or BagTruth())
    elif len(given_data) != 1 or truth is not None:
        raise ValueError("data must be one folder with sets, without truth, or bags")
    else:
        (root,) = given_data
        files = {name: located(os.fspath(value)) for name, value in own.items() if _is_file_option(name, value)}
        chosen_sets = find_sets(root, [sets] if isinstance(sets, str) else sets, Declaration(**own | files), chosen)
    given = [models] if isinstance(models, (AnyEstimator, str, os.PathLike)) else models
    backends = {"backend": backend, "precision": precision, "threads": threads}
    opened = open_segmentation(given) if chosen.task == "segmentation" else open_models(given, **backends)
    if picture_folder is not None:
        picture_folder.mkdir(parents=True, exist_ok=True)
    return evaluate_models(opened, root, chosen_sets, options)


def _is_file_option(name: str, value: Any) -> bool:
    return name in ("pairs", "camera") and isinstance(value, (str, os.PathLike))


def open_models(models: Iterable[ModelLike], **options: Any) -> dict[str, AnyEstimator]:
    """Open models, by their name in reports: their record's, or the given one if several share that.

    Args:
        models: estimators, names or paths; a model that is given twice is opened once.
        options: of `Estimator`, for models given by name or path.
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
