"""Write a shard of labels and its note, part by part, atomically."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from typing import Any

from depth_anything_ros.data.frame import DataError
from depth_anything_ros.data.manifest import Shard
from depth_anything_ros.data.shard_files import writing_samples
from depth_anything_ros.pseudo_labels.chunks import PREDICTION, Label, Part, Problem, Rejection
from depth_anything_ros.pseudo_labels.folder import PROBLEM, Labeling, LabelingError
from depth_anything_ros.pseudo_labels.statistics import Statistics
from depth_anything_ros.system.atomic_file import atomic_path, atomic_write
from depth_anything_ros.zoo.cache import sha256_of

MIN_TO_JUDGE = 10
"""Images of a shard without any finite prediction from which on the network is at fault, not the images."""


class _ShardError(Exception):
    """A shard cannot be labeled: nothing of it is kept."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem.text)
        self.problem = problem


def write_shard(labeling: Labeling, shard: str, parts: Iterable[Part | Problem]) -> Problem | None:
    """Write a shard of labels, part by part as they come, and its note.

    Args:
        labeling: the job.
        shard: the shard's name.
        parts: its labeled chunks in order, or a problem.

    Returns:
        The problem, if the shard cannot be labeled; it is in the note.

    Raises:
        OSError: the labels cannot be written, for example on a full disk.
        LabelingError: the network gives no finite depth.
    """
    path, rejected, statistics = labeling.output / shard, [], Statistics()
    try:
        with atomic_path(path) as partial:
            with partial.open("wb") as file, writing_samples(file) as writer:
                for part in parts:
                    if isinstance(part, Problem):
                        raise _ShardError(part)
                    for label in part.labels:
                        writer.write(_sample(label))
                        statistics.add(label.key, label.described)
                    rejected += part.refused
            if problem := _check_not_empty(labeling, shard, statistics.labels, rejected):
                raise _ShardError(problem)  # `return` would keep a shard without labels
            size, sha256 = partial.stat().st_size, sha256_of(partial)
    except _ShardError as error:
        return _record_problem(labeling, error.problem)
    except DataError as error:
        return _record_problem(labeling, Problem(shard, str(error)))
    made = Shard(shard, statistics.labels, size, sha256, tuple(rejection.text for rejection in rejected))
    statistics.count_refused(rejection.kind for rejection in rejected)
    write_note(labeling, shard, {**asdict(made), "statistics": statistics.to_dictionary()})
    return None


def _record_problem(labeling: Labeling, problem: Problem) -> Problem:
    values = {"name": problem.shard, PROBLEM: problem.text, "lasts": problem.is_permanent}
    write_note(labeling, problem.shard, values)
    (labeling.output / problem.shard).unlink(missing_ok=True)
    return problem


def write_note(labeling: Labeling, shard: str, values: dict[str, Any]) -> None:
    """Write a shard's note.

    Args:
        labeling: the job.
        shard: the shard's name.
        values: its manifest entry and statistics, or its problem.
    """
    precision = labeling.teacher.precision(labeling.device)
    computed = {"device": labeling.device, "precision": precision, "batch": labeling.batch}
    values = {**values, "made_of": labeling.fingerprint(shard), "computed": computed}
    atomic_write(labeling.note(shard), (json.dumps(values, indent=2) + "\n").encode())


def _check_not_empty(labeling: Labeling, shard: str, labels: int, rejected: Sequence[Rejection]) -> Problem | None:
    """Return a problem if no image of a shard has a label. Raise `LabelingError` if that is the network's fault."""
    if labels or not rejected:
        return None
    not_finite = sum(rejection.kind == PREDICTION for rejection in rejected)
    if not_finite >= MIN_TO_JUDGE:
        raise LabelingError(
            f"{labeling.teacher.identity['name']} gives no finite depth for any of the {not_finite} images of {shard}: "
            "its weights are damaged, or overflow in this precision; check them with `predict`"
        )
    text = (
        f"{labeling.images / shard}: none of its {len(rejected)} images can be labeled, the first: {rejected[0].text}"
    )
    return Problem(shard, text, is_permanent=True)


def _sample(label: Label) -> dict[str, Any]:
    return {
        "__key__": label.key,
        "depth.png": label.png,
        "json": json.dumps(label.described, sort_keys=True).encode(),
    }
