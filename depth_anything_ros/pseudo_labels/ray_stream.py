"""Labeling by a cluster: Ray Data streams chunks from decoding tasks to teachers on accelerators to encoding tasks.

A labeled chunk is a file in a folder that all machines see. When all chunks of a shard exist, they are joined into the
same shard that one process would have written. Ray runs a failed task again, and a restarted run continues from the
existing chunks.
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
    Problem,
    decode,
    encode,
    part_from_bytes,
    part_to_bytes,
    predict,
)
from depth_anything_ros.pseudo_labels.folder import PARTS, Labeling, LabelingError
from depth_anything_ros.pseudo_labels.shard_writer import write_shard
from depth_anything_ros.system.atomic_file import atomic_write

log = logging.getLogger(__name__)

Row = dict[str, Any]
"""``shard``, its number of ``chunks``, the ``number`` of one, and in ``content`` that one's pickled result."""
MAX_ASSEMBLING = 16


@dataclass(frozen=True)
class Failure:
    """The reason why labeling cannot go on; it replaces a chunk's result."""

    text: str


@contextmanager
def connected(address: str | None) -> Iterator[None]:
    """Connect to a cluster, or start Ray on this machine, while the block runs."""
    started_before = ray.is_initialized()
    if not started_before:
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # no usage reports to Ray's makers
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
) -> list[Problem]:
    """Label shards on a connected cluster; see `local.label`.

    Images and labels must have the same paths on all machines, and this package must be installed there. Every
    accelerator gets a teacher; with ``--device cpu``, half of the processors do.

    Args:
        labeling: the job.
        shards: names of the shards.
        report: called with the number of newly processed images.
        may_grow: whether machines may join the cluster later; they get teachers too.

    Returns:
        The problems of shards that cannot be labeled.

    Raises:
        OSError: labels cannot be written.
        LabelingError: the teacher or Ray fails.
    """
    if not shards:
        return []
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    context.execution_options.preserve_order = False
    problems, assembling, shared = [], [], ray.put(labeling)
    report(0)
    try:
        for shard, chunks in finished(_rows(labeling, shards, may_grow).iter_rows(), shards, report):
            assembling.append(_assemble.remote(shared, shard, chunks))
            if len(assembling) >= MAX_ASSEMBLING:
                done, assembling = ray.wait(assembling)
                problems += ray.get(done)
        problems += ray.get(assembling)
    except RayTaskError as error:
        if isinstance(error.cause, (OSError, LabelingError)):
            raise error.cause from error
        raise LabelingError(f"a task of Ray failed: {error}") from error
    except RayError as error:
        raise LabelingError(f"Ray failed: {error}") from error
    shutil.rmtree(labeling.output / PARTS, ignore_errors=True)
    return [problem for problem in problems if problem is not None]


def finished(
    rows: Iterable[Row], shards: Sequence[str], report: Callable[[int], None]
) -> Iterator[tuple[str, int | Problem]]:
    """Yield each shard as soon as all its chunks are labeled, with their number, or with its problem.

    A task that runs again may report a chunk twice, so the chunks of unfinished shards are remembered.

    Args:
        rows: from the stream.
        shards: names of the shards.
        report: called with the number of newly processed images.

    Raises:
        LabelingError: a row reports that labeling cannot go on.
    """
    left, there = set(shards), defaultdict[str, set[int]](set)
    for row in rows:
        shard = row["shard"]
        if row["failure"]:
            raise LabelingError(row["failure"])
        if shard not in left:
            continue
        if not row["problem"]:
            if row["number"] not in there[shard]:
                report(row["images"])
                there[shard].add(row["number"])
            if len(there[shard]) < row["chunks"]:
                continue
        left.remove(shard)
        there.pop(shard, None)
        yield shard, Problem(shard, row["problem"]) if row["problem"] else row["chunks"]


def _rows(labeling: Labeling, shards: list[str], may_grow: bool) -> ray.data.Dataset:
    """Return the stream: one row for each processed chunk."""
    resources, on_accelerators = ray.cluster_resources(), labeling.device == "cuda"
    processors = int(resources.get("CPU", 0))
    # With few processors, decoding must leave room for encoding, or neither would proceed.
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
    """Return the largest number of teachers in a cluster; None for as many as find an accelerator or a processor.

    Args:
        resources: of the cluster, by kind.
        on_accelerators: whether teachers run on GPUs.
        may_grow: whether machines may join. Such a cluster may have no resources yet; the log reports it.

    Raises:
        LabelingError: there are too few resources, and no more can come.
    """
    processors, accelerators = (int(resources.get(kind, 0)) for kind in ("CPU", "GPU"))
    absent = []
    if on_accelerators and not accelerators:
        absent.append("no GPU: start it on machines with GPUs, or give --device cpu")
    if processors < 2:
        absent.append(f"{processors} processors, but needs 2: one for a teacher, one to decode and encode")
    if absent and not may_grow:
        raise LabelingError(f"Ray has {'; '.join(absent)}")
    for text in absent:
        log.warning("Ray's cluster has %s; labeling waits for machines that join", text)
    if may_grow:
        return None
    return accelerators if on_accelerators else processors // 2


def _decoded(row: Row, labeling: Labeling) -> Iterator[Row]:
    """Yield a shard's decoded chunks; a chunk that is labeled already passes without images."""
    cv2.setNumThreads(1)
    shard = row["shard"]
    chunks = labeling.split(shard)
    if isinstance(chunks, Problem):
        yield _row(shard, chunks)
        return
    for chunk in chunks:
        done = labeling.part(shard, chunk.number).exists()
        result = chunk if done else decode(chunk, labeling.teacher.sizes)
        yield _row(shard, result, len(chunks), chunk.number)


class _TeacherActor:
    """A teacher on its own accelerator, loaded with the first chunk, so that its errors reach the driver."""

    def __init__(self, labeling: Labeling) -> None:
        self._labeling = labeling

    @cached_property
    def _teacher(self) -> Any:
        import torch

        from depth_anything_ros.pseudo_labels.open_teacher import OpenTeacher

        torch.set_num_threads(1)
        return OpenTeacher(self._labeling.teacher, self._labeling.device)

    def __call__(self, row: Row) -> Row:
        content = pickle.loads(row["content"])
        if isinstance(content, (Problem, Chunk)):
            return row
        try:
            result = predict(content, self._teacher, self._labeling.batch)
        except (OSError, ValueError, RuntimeError, AssertionError) as error:  # PyTorch raises the last two for anything
            result = Failure(f"{self._labeling.teacher.identity['name']} failed: {error}")
        return {**row, "content": pickle.dumps(result)}


def _written(row: Row, labeling: Labeling) -> Row:
    """Write a labeled chunk; return a row that the driver counts."""
    cv2.setNumThreads(1)
    content = pickle.loads(row["content"])
    result = {name: row[name] for name in ("shard", "chunks", "number")} | {"images": 0, "problem": "", "failure": ""}
    if isinstance(content, Problem):
        return {**result, "problem": content.text}
    if isinstance(content, Failure):
        return {**result, "failure": content.text}
    if isinstance(content, Chunk):
        return {**result, "images": len(content.keys)}
    part = encode(content, labeling.at_image_size)
    path = labeling.part(part.shard, part.number)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        atomic_write(path, part_to_bytes(part))
    except OSError as error:
        return {**result, "failure": f"labels cannot be written into {labeling.output}: {error}"}
    return {**result, "images": part.images}


def _row(shard: str, content: object, chunks: int = 0, number: int = 0) -> Row:
    return {"shard": shard, "chunks": chunks, "number": number, "content": pickle.dumps(content)}


@ray.remote(num_cpus=0)
def _assemble(labeling: Labeling, shard: str, chunks: int | Problem) -> Problem | None:
    """Join a shard's labeled chunks, and remove them.

    Ray runs this again if a machine is lost: the shard may be complete then, and its chunks gone.
    """
    if isinstance(chunks, Problem):
        problem = write_shard(labeling, shard, [chunks])
    else:
        is_complete = labeling.is_done(shard)
        problem = None if is_complete else write_shard(labeling, shard, _parts(labeling, shard, chunks))
    for folder in labeling.parts(shard).parent.glob(f"{labeling.note(shard).stem}.*"):
        shutil.rmtree(folder, ignore_errors=True)
    return problem


def _parts(labeling: Labeling, shard: str, chunks: int) -> Iterator[Part]:
    for number in range(chunks):
        yield part_from_bytes(labeling.part(shard, number).read_bytes())
