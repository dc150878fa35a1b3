"""Scores that are kept in a folder, so that an interrupted evaluation goes on.

A file has the scores of one frame. Its name is a hash of all that they depend on: the protocol's rules, the frame's
files, and the models. A model is known by what it predicts for the first frame, so that new weights, another backend or
precision never find old scores, and the reader by the first frame itself. Frames that could not be scored are tried
again.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from depth_anything_ros.data.frame import LabeledImage
from depth_anything_ros.evaluation.metrics import BoundaryScores, Scores
from depth_anything_ros.evaluation.predictions import ScoredModel, predict
from depth_anything_ros.evaluation.protocol import SetRules
from depth_anything_ros.evaluation.results import Row
from depth_anything_ros.evaluation.scoring import OnLeftOut, empty_rows, score_models
from depth_anything_ros.system.atomic_file import atomic_write

VERSION = 1
"""Changes when scores of the same input change."""
CHUNK = 16
"""Frames after which scores are written; an interruption loses no more."""
Read = Callable[[Sequence[str]], Iterable[LabeledImage]]
"""Yields the readable ones of the named frames."""


@dataclass(frozen=True)
class ScoreStore:
    """A folder of scores.

    Attributes:
        folder: the folder; it is created.
        fingerprint: of models and rules, see `fingerprint_of`.
        stamp: returns a text for a frame that changes when its files change.
    """

    folder: Path
    fingerprint: str
    stamp: Callable[[str], str]

    def read(self, name: str) -> list[dict[str, Any]] | None:
        """Return the scores of a frame, one entry for each row; None if there are none, or the file is damaged."""
        try:
            content = json.loads(self._path(name).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return None
        return content if isinstance(content, list) else None

    def write(self, name: str, entries: list[dict[str, Any]]) -> None:
        """Write the scores of a frame.

        Args:
            name: the frame.
            entries: one for each row.

        Raises:
            OSError: the folder cannot be written.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        atomic_write(self._path(name), json.dumps(entries).encode())

    def _path(self, name: str) -> Path:
        text = json.dumps([VERSION, self.fingerprint, name, self.stamp(name)])
        return self.folder / f"{hashlib.sha256(text.encode()).hexdigest()[:32]}.json"


def fingerprint_of(models: Sequence[ScoredModel], frame: LabeledImage, rules: SetRules) -> str:
    """Return a hash of the rules, of how frames are read, and of the models by their predictions for a frame.

    The first frame stands for the others: its truth changes with the topic of a bag, the scale of depth and the like.
    Raises `DataError` as `predict`.

    Args:
        models: the models.
        frame: the first frame of the set.
        rules: the rules of the set.
    """
    digest = hashlib.sha256(json.dumps(asdict(rules), sort_keys=True).encode())
    for part in (frame.image, frame.depth):
        digest.update(repr((frame.name, part.shape, part.dtype.str)).encode())
        digest.update(np.ascontiguousarray(part).tobytes())
    digest.update(repr(frame.camera).encode())
    for model in models:
        prediction = predict(model, rules.input_of(frame), rules.flip)
        kind = [model.name, model.output, model.is_metric, prediction.gain, prediction.values.shape]
        digest.update(json.dumps(kind).encode())
        digest.update(prediction.values.tobytes())
    return digest.hexdigest()


def score_resumable(
    models: Sequence[ScoredModel],
    names: Iterable[str],
    read: Read,
    rules: SetRules,
    store: ScoreStore,
    on_left_out: OnLeftOut,
    workers: int = 1,
) -> list[Row]:
    """Do as `score_models`, but take known scores from a store and add new ones to it.

    Args:
        models: models and baselines.
        names: the frames in their order.
        read: reads frames.
        rules: the rules of the set.
        store: the scores.
        on_left_out: called for each frame that cannot be scored.
        workers: threads that score.

    Raises:
        ValueError: no frame is left.
    """
    rows, kind = empty_rows(models, rules), BoundaryScores if rules.boundary else Scores
    upcoming = iter(names)
    while chunk := list(islice(upcoming, CHUNK)):
        known = {name: store.read(name) for name in chunk}
        missing = [name for name in chunk if known[name] is None]
        for name, entries in _scored(models, missing, read, rules, on_left_out, workers):
            store.write(name, entries)
            known[name] = entries
        for entries in (known[name] for name in chunk if known[name] is not None):
            for row, entry in zip(rows, entries, strict=True):
                row.add(entry["frame"], kind(**entry["scores"]), entry["seconds"], entry["uncorrected"])
    if not rows or not rows[0].images:
        raise ValueError("there is nothing to evaluate: no frames or no models")
    return rows


def _scored(
    models: Sequence[ScoredModel],
    names: Sequence[str],
    read: Read,
    rules: SetRules,
    on_left_out: OnLeftOut,
    workers: int,
) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """Yield the scores of the frames that can be scored, one entry for each row."""
    name_of: dict[str, str] = {}
    left_out: list[str] = []

    def frames() -> Iterator[LabeledImage]:
        for name in names:
            for frame in read([name]):
                name_of[frame.name] = name
                yield frame

    try:
        rows = score_models(models, frames(), rules, None, left_out.append, workers)
    except ValueError:
        if len(left_out) < len(name_of):
            raise
        rows = []
    for text in left_out:
        on_left_out(text)
    for number, frame in enumerate(rows[0].images if rows else ()):
        entries = [
            {
                "frame": frame,
                "scores": asdict(row.images[frame]),
                "seconds": row.seconds[number],
                "uncorrected": frame in row.uncorrected,
            }
            for row in rows
        ]
        yield name_of[frame], entries
