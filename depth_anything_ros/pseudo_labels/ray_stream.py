"""Labeling by a cluster: Ray Data streams chunks from decoding tasks to teachers on accelerators to encoding tasks.

A labeled chunk is a file in a folder that all machines see; when a shard's are all there, they are put together into
the same shard that one process would have written. A task that dies is run again, a run that dies goes on from the
chunks that are there.
"""

from __future__ import annotations

import logging
import os
import pickle
import shutil
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any

import cv2
import ray
import ray.data
from ray.exceptions import RayError, RayTaskError

from depth_anything_ros.pseudo_labels.chunks import (
    Chunk,
    Part,
    Trouble,
    decode,
    encode,
    part_from_bytes,
    part_to_bytes,
    predict,
)
from depth_anything_ros.pseudo_labels.folder import PARTS, Labeling, LabelingError
from depth_anything_ros.system.atomic_file import atomic_write

log = logging.getLogger(__name__)

Row = dict[str, Any]
"""``shard``, how many ``chunks`` it has, the ``number`` of one, and in ``content``, pickled, what has become of it."""
MAX_ASSEMBLING = 16


@dataclass(frozen=True)
class Failure:
    """Why nothing more can be labeled; takes the place of a chunk."""

    text: str


@contextmanager
def connected(address: str | None) -> Iterator[None]:
    """Joins a cluster, or starts Ray on this machine, for the time of a block."""
    started_before = ray.is_initialized()
    if not started_before:
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # tells its makers nothing
        local = {} if address else {"include_dashboard": False}
        ray.init(address=address, logging_level="ERROR", log_to_driver=False, **local)
    logging.getLogger("ray.data").setLevel(logging.ERROR)
    try:
        yield
    finally:
        if not started_before:
            ray.shutdown()


def label(
    labeling: Labeling, shards: list[str], report: Callable[[int], None], may_grow: bool = False
) -> list[Trouble]:
    """Labels shards and returns those that could not be; see `local.label`. Ray must be connected.

    Images and labels must lie under the same paths on all machines, and this package be installed there. Every
    accelerator gets a teacher; for ``--device cpu``, half of the processors do. ``may_grow``: whether machines
    may join Ray's cluster meanwhile; they get teachers too.
    """
    if not shards:
        return []
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    context.execution_options.preserve_order = False
    troubles, assembling, shared = [], [], ray.put(labeling)
    report(0)
    try:
        for shard, chunks in finished(_rows(labeling, shards, may_grow).iter_rows(), shards, report):
            assembling.append(_assemble.remote(shared, shard, chunks))
            if len(assembling) >= MAX_ASSEMBLING:
                done, assembling = ray.wait(assembling)
                troubles += ray.get(done)
        troubles += ray.get(assembling)
    except RayTaskError as error:
        if isinstance(error.cause, (OSError, LabelingError)):
            raise error.cause from error
        raise LabelingError(f"a task of Ray's failed: {error}") from error
    except RayError as error:
        raise LabelingError(f"Ray failed: {error}") from error
    shutil.rmtree(labeling.output / PARTS, ignore_errors=True)
    return [trouble for trouble in troubles if trouble is not None]


def finished(
    rows: Iterable[Row], shards: Sequence[str], report: Callable[[int], None]
) -> Iterator[tuple[str, int | Trouble]]:
    """Each shard whose chunks are all there, with their number, as soon as it is so; or with what is the matter.

    A task that is run again may tell of a chunk twice; of shards that are under way, and no others, it is known which
    are there. Raises `LabelingError` where a row says that nothing more can be labeled.
    """
    left, there = set(shards), defaultdict[str, set[int]](set)
    for row in rows:
        shard = row["shard"]
        if row["failure"]:
            raise LabelingError(row["failure"])
        if shard not in left:
            continue
        if not row["trouble"]:
            if row["number"] not in there[shard]:
                report(row["images"])
                there[shard].add(row["number"])
            if len(there[shard]) < row["chunks"]:
                continue
        left.remove(shard)
        there.pop(shard, None)
        yield shard, Trouble(shard, row["trouble"]) if row["trouble"] else row["chunks"]


def _rows(labeling: Labeling, shards: list[str], may_grow: bool) -> ray.data.Dataset:
    """The stream: a row for each chunk that has been seen to."""
    resources, on_accelerators = ray.cluster_resources(), labeling.device == "cuda"
    processors = int(resources.get("CPU", 0))
    # Where processors are few, decoding must leave room for encoding, or neither would go on.
    share = 1 if processors >= 8 else 0.5
    rows = ray.data.from_items([{"shard": shard} for shard in shards], override_num_blocks=len(shards))
    rows = rows.flat_map(partial(_decoded, labeling=labeling), num_cpus=share)
    rows = rows.map(
        _TeacherActor,
        fn_constructor_kwargs={"labeling": labeling},
        compute=ray.data.ActorPoolStrategy(min_size=1, max_size=most_teachers(resources, on_accelerators, may_grow)),
        num_cpus=0 if on_accelerators else 1,
        num_gpus=int(on_accelerators),
    )
    return rows.map(partial(_written, labeling=labeling), num_cpus=share)


def most_teachers(resources: Mapping[str, float], on_accelerators: bool, may_grow: bool) -> int | None:
    """How many teachers a cluster may have at most; None for as many as find an accelerator or a processor.

    ``may_grow``: whether machines may join. Such a cluster may have nothing yet, which the log tells. Raises
    `LabelingError` where there is too little and no more can come.
    """
    processors, accelerators = (int(resources.get(kind, 0)) for kind in ("CPU", "GPU"))
    absent = []
    if on_accelerators and not accelerators:
        absent.append("no GPU: start it on machines with GPUs, or give --device cpu")
    if processors < 2:
        absent.append(f"{processors} processors and must have 2: one for a teacher, one to decode and encode")
    if absent and not may_grow:
        raise LabelingError(f"Ray has {'; '.join(absent)}")
    for text in absent:
        log.warning("Ray's cluster has %s; labeling waits for machines that join", text)
    if may_grow:
        return None
    return accelerators if on_accelerators else processors // 2


def _decoded(row: Row, labeling: Labeling) -> Iterator[Row]:
    """A shard's chunks, decoded one after the other; of one that is labeled already, nothing but that."""
    cv2.setNumThreads(1)
    shard = row["shard"]
    chunks = labeling.split(shard)
    if isinstance(chunks, Trouble):
        yield _row(shard, chunks)
        return
    for chunk in chunks:
        done = labeling.part(shard, chunk.number).exists()
        found = chunk if done else decode(chunk, labeling.teacher.sizes)
        yield _row(shard, found, len(chunks), chunk.number)


class _TeacherActor:
    """A teacher on an accelerator of its own; opened with the first chunk, so that what is amiss can be said."""

    def __init__(self, labeling: Labeling) -> None:
        self._labeling = labeling

    @cached_property
    def _teacher(self) -> Any:
        import torch

        from depth_anything_ros.pseudo_labels.open_teacher import OpenTeacher

        torch.set_num_threads(1)
        return OpenTeacher(self._labeling.teacher, self._labeling.device)

    def __call__(self, row: Row) -> Row:
        found = pickle.loads(row["content"])
        if isinstance(found, (Trouble, Chunk)):
            return row
        try:
            found = predict(found, self._teacher, self._labeling.batch)
        except (OSError, ValueError, RuntimeError, AssertionError) as error:  # the last two are PyTorch's for anything
            found = Failure(f"{self._labeling.teacher.identity['name']} failed: {error}")
        return {**row, "content": pickle.dumps(found)}


def _written(row: Row, labeling: Labeling) -> Row:
    """Writes a labeled chunk; what is left of it is a row that the driver counts."""
    cv2.setNumThreads(1)
    found = pickle.loads(row["content"])
    told = {name: row[name] for name in ("shard", "chunks", "number")} | {"images": 0, "trouble": "", "failure": ""}
    if isinstance(found, Trouble):
        return {**told, "trouble": found.text}
    if isinstance(found, Failure):
        return {**told, "failure": found.text}
    if isinstance(found, Chunk):
        return {**told, "images": len(found.keys)}
    part = encode(found, labeling.at_image_size)
    path = labeling.part(part.shard, part.number)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        atomic_write(path, part_to_bytes(part))
    except OSError as error:
        return {**told, "failure": f"labels cannot be written into {labeling.output}: {error}"}
    return {**told, "images": part.images}


def _row(shard: str, content: object, chunks: int = 0, number: int = 0) -> Row:
    return {"shard": shard, "chunks": chunks, "number": number, "content": pickle.dumps(content)}


@ray.remote(num_cpus=0)
def _assemble(labeling: Labeling, shard: str, chunks: int | Trouble) -> Trouble | None:
    """Puts a shard together from its labeled chunks, and removes these.

    Ray runs this again where a machine is lost meanwhile: the shard may be whole by then, and its chunks gone.
    """
    if isinstance(chunks, Trouble):
        trouble = labeling.write(shard, [chunks])
    else:
        is_whole = labeling.is_done(shard)
        trouble = None if is_whole else labeling.write(shard, _parts(labeling, shard, chunks))
    for folder in labeling.parts(shard).parent.glob(f"{labeling.note(shard).stem}.*"):
        shutil.rmtree(folder, ignore_errors=True)
    return trouble


def _parts(labeling: Labeling, shard: str, chunks: int) -> Iterator[Part]:
    for number in range(chunks):
        yield part_from_bytes(labeling.part(shard, number).read_bytes())
