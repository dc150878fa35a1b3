"""Scores that are kept in a folder, so that an interrupted evaluation goes on.

A file has the scores of one unit: a frame, or a whole video, which has one scale. Its name is a hash of all that they
depend on: the protocol's rules, the unit's files, and the models. A model is known by what it predicts for the first
frame, so that new weights, another backend or precision never find old scores, and the reader by the first frame
itself. Units with frames that could not be scored are tried again.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import groupby, islice
from pathlib import Path
from typing import Any

import numpy as np

from depth_anything_ros.data.frame import LabeledImage
from depth_anything_ros.evaluation.metrics import BoundaryScores, Scores
from depth_anything_ros.evaluation.predictions import ScoredModel, predict
from depth_anything_ros.evaluation.protocol import SetRules
from depth_anything_ros.evaluation.results import Row
from depth_anything_ros.evaluation.scoring import OnLeftOut
from depth_anything_ros.system.atomic_file import atomic_write

VERSION = 2
"""Changes when scores of the same input, or their files, change."""
CHUNK = 16
"""Frames after which scores are written; an interruption loses no more. Videos are written one by one."""
Unit = tuple[str, ...]
"""The names of the frames that are scored together."""
Read = Callable[[Sequence[str]], Iterable[LabeledImage]]
"""Yields the readable ones of the named frames."""
Score = Callable[[Iterable[LabeledImage], OnLeftOut], "dict[str, list[Row]]"]
"""Scores frames; returns the rows by variant. It raises `ValueError` if no frame is left."""


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

    def read(self, unit: Unit) -> list[dict[str, Any]] | None:
        """Return the scores of a unit, one entry for each row; None if there are none, or the file is damaged."""
        try:
            content = json.loads(self._path(unit).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return None
        return content if isinstance(content, list) else None

    def write(self, unit: Unit, entries: list[dict[str, Any]]) -> None:
        """Write the scores of a unit.

        Args:
            unit: its frames.
            entries: one for each row.

        Raises:
            OSError: the folder cannot be written.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        atomic_write(self._path(unit), json.dumps(entries).encode())

    def _path(self, unit: Unit) -> Path:
        text = json.dumps([VERSION, self.fingerprint, unit, [self.stamp(name) for name in unit]])
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


def units_of(names: Iterable[str], is_video: bool) -> Iterator[list[Unit]]:
    """Yield the units that are scored and written together: single frames, or one video.

    Args:
        names: the frames in their order.
        is_video: whether the frames of one folder are a video.
    """
    if is_video:
        for _, group in groupby(names, lambda name: name.rpartition("/")[0]):
            yield [tuple(group)]
        return
    upcoming = iter(names)
    while chunk := [(name,) for name in islice(upcoming, CHUNK)]:
        yield chunk


def score_resumable(
    chunks: Iterable[list[Unit]],
    read: Read,
    score: Score,
    store: ScoreStore,
    on_left_out: OnLeftOut,
    is_bounded: bool = False,
) -> dict[str, list[Row]]:
    """Score frames, but take known scores from a store and add new ones to it.

    Args:
        chunks: from `units_of`.
        read: reads frames.
        score: scores frames.
        store: the scores.
        on_left_out: called for each frame that cannot be scored.
        is_bounded: whether edges are scored too.

    Returns:
        The rows by variant.

    Raises:
        ValueError: no frame is left.
    """
    kind = BoundaryScores if is_bounded else Scores
    rows: dict[tuple[str, str, bool], Row] = {}
    for chunk in chunks:
        known = {unit: store.read(unit) for unit in chunk}
        known.update(_scored([unit for unit in chunk if known[unit] is None], read, score, store, on_left_out))
        for entry in (entry for unit in chunk for entry in known[unit] or ()):
            key = entry["variant"], entry["model"], entry["aligned"]
            row = rows.setdefault(key, Row(entry["model"], entry["aligned"], entry["is_baseline"]))
            for image in entry["images"]:
                row.add(image["frame"], kind(**image["scores"]), image["seconds"], image["uncorrected"])
            row.sequences.update(entry["sequences"])
    if not rows:
        raise ValueError("there is nothing to evaluate: no frames or no models")
    variants: dict[str, list[Row]] = {}
    for (variant, *_), row in rows.items():
        variants.setdefault(variant, []).append(row)
    return variants


def _scored(
    units: Sequence[Unit], read: Read, score: Score, store: ScoreStore, on_left_out: OnLeftOut
) -> Iterator[tuple[Unit, list[dict[str, Any]]]]:
    """Yield the units of which a frame can be scored, one entry for each row, and store those that are complete."""
    frame_of: dict[str, str] = {}
    left_out: list[str] = []

    def frames() -> Iterator[LabeledImage]:
        for name in (name for unit in units for name in unit):
            for frame in read([name]):
                frame_of[name] = frame.name
                yield frame

    try:
        variants = score(frames(), left_out.append) if units else {}
    except ValueError:
        if len(left_out) < len(frame_of):
            raise
        variants = {}
    for text in left_out:
        on_left_out(text)
    rows = [(variant, row) for variant, of_one in variants.items() for row in of_one]
    for unit in units:
        scored = [frame_of[name] for name in unit if name in frame_of and rows and frame_of[name] in rows[0][1].images]
        entries = [_entry(variant, row, scored) for variant, row in rows]
        if len(scored) == len(unit):
            store.write(unit, entries)
        if scored:
            yield unit, entries


def _entry(variant: str, row: Row, frames: Sequence[str]) -> dict[str, Any]:
    """Return the part of a row that belongs to frames, as plain values."""
    number_of = {frame: number for number, frame in enumerate(row.images)}
    videos = {frame.rpartition("/")[0] for frame in frames}
    return {
        "variant": variant,
        "model": row.model,
        "aligned": row.aligned,
        "is_baseline": row.is_baseline,
        "images": [
            {
                "frame": frame,
                "scores": asdict(row.images[frame]),
                "seconds": row.seconds[number_of[frame]],
                "uncorrected": frame in row.uncorrected,
            }
            for frame in frames
        ],
        "sequences": {name: values for name, values in row.sequences.items() if name in videos},
    }
