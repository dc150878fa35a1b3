"""Labeling by one process, or by several that divide the shards: decoding, network and encoding run in parallel."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, ThreadPoolExecutor
from functools import partial
from itertools import groupby
from typing import TypeVar

from depth_anything_ros.pseudo_labels.chunks import Chunk, Part, Problem, decode, encode, predict
from depth_anything_ros.pseudo_labels.folder import Labeling
from depth_anything_ros.pseudo_labels.open_teacher import OpenTeacher, one_thread_each
from depth_anything_ros.pseudo_labels.shard_writer import write_shard

Item = TypeVar("Item")
Result = TypeVar("Result")

SHARDS_AHEAD = 1
"""Shards that are hashed while another one is labeled."""


def label(labeling: Labeling, shards: list[str], workers: int, report: Callable[[int], None]) -> list[Problem]:
    """Label shards one after the other.

    Memory holds a few chunks for each worker, whatever the size of a shard. After an error, finished shards stay.

    Args:
        labeling: the job.
        shards: names of the shards.
        workers: threads that decode and encode; OpenCV releases Python's lock.
        report: called in this thread with the number of newly processed images, first with 0 when the teacher is
            loaded.

    Returns:
        The problems of shards that cannot be labeled.

    Raises:
        OSError: labels cannot be written.
        LabelingError, ModelError: the teacher fails.
    """
    if not shards:
        return []
    teacher = OpenTeacher(labeling.teacher, labeling.device, workers)
    report(0)
    pool, network = ThreadPoolExecutor(workers), ThreadPoolExecutor(teacher.threads)
    with one_thread_each():
        try:
            chunks = _chunks(labeling, shards, pool)
            decoded = in_order(pool, partial(decode, sizes=labeling.teacher.sizes), chunks, workers + 1)
            run = partial(predict, teacher=teacher, batch=labeling.batch)
            predicted = in_order(network, run, decoded, teacher.threads + 1)
            parts = in_order(pool, partial(encode, at_image_size=labeling.at_image_size), predicted, workers + 1)
            problems = [
                write_shard(labeling, shard, _reported(of_shard, report))
                for shard, of_shard in groupby(parts, key=lambda part: part.shard)
            ]
        finally:
            teacher.stop()
            for executor in (pool, network):
                executor.shutdown(cancel_futures=True)
    return [problem for problem in problems if problem is not None]


def _chunks(labeling: Labeling, shards: list[str], pool: Executor) -> Iterator[Chunk | Problem]:
    for result in in_order(pool, labeling.split, shards, SHARDS_AHEAD):
        if isinstance(result, Problem):
            yield result
        else:
            yield from result


def _reported(parts: Iterable[Part | Problem], report: Callable[[int], None]) -> Iterator[Part | Problem]:
    for part in parts:
        if isinstance(part, Part):
            report(part.images)
        yield part


def in_order(
    executor: Executor, function: Callable[[Item], Result], items: Iterable[Item | Problem], ahead: int
) -> Iterator[Result | Problem]:
    """Yield a function's result for each item, in order; a problem passes through.

    Args:
        executor: runs the function.
        function: the function.
        items: its arguments, or problems.
        ahead: most items that are computed ahead.
    """
    running: deque = deque()
    for item in items:
        running.append(item if isinstance(item, Problem) else executor.submit(function, item))
        if len(running) > ahead:
            yield _result(running.popleft())
    while running:
        yield _result(running.popleft())


def _result(running: object) -> object:
    return running if isinstance(running, Problem) else running.result()
