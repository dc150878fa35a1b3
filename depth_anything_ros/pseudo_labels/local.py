"""Labeling by one process, or by several that share the shards: decoding, network and encoding at once."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, ThreadPoolExecutor
from functools import partial
from itertools import groupby
from typing import TypeVar

from depth_anything_ros.pseudo_labels.chunks import Chunk, Part, Trouble, decode, encode, predict
from depth_anything_ros.pseudo_labels.folder import Labeling
from depth_anything_ros.pseudo_labels.open_teacher import OpenTeacher, one_thread_each

Item = TypeVar("Item")
Result = TypeVar("Result")

SHARDS_AHEAD = 1
"""Shards that are hashed while another is labeled."""


def label(labeling: Labeling, shards: list[str], workers: int, report: Callable[[int], None]) -> list[Trouble]:
    """Labels shards one after the other and returns those that could not be.

    ``workers``: threads that decode and encode; OpenCV lets others run meanwhile. ``report`` is told how many images
    have been seen to, from this thread; 0 at first, when the teacher is loaded. Memory holds a few chunks for each
    worker, whatever the size of a shard. Raises `OSError` where labels cannot be written, `LabelingError` and
    `ModelError` where the teacher fails; shards that are finished are kept.
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
            troubles = [
                labeling.write(shard, _reported(of_shard, report))
                for shard, of_shard in groupby(parts, key=lambda part: part.shard)
            ]
        finally:
            teacher.stop()
            for executor in (pool, network):
                executor.shutdown(cancel_futures=True)
    return [trouble for trouble in troubles if trouble is not None]


def _chunks(labeling: Labeling, shards: list[str], pool: Executor) -> Iterator[Chunk | Trouble]:
    for found in in_order(pool, labeling.split, shards, SHARDS_AHEAD):
        if isinstance(found, Trouble):
            yield found
        else:
            yield from found


def _reported(parts: Iterable[Part | Trouble], report: Callable[[int], None]) -> Iterator[Part | Trouble]:
    for part in parts:
        if isinstance(part, Part):
            report(part.images)
        yield part


def in_order(
    executor: Executor, function: Callable[[Item], Result], items: Iterable[Item | Trouble], ahead: int
) -> Iterator[Result | Trouble]:
    """What a function makes of each item, in their order, computed up to ``ahead`` items ahead; a trouble passes by."""
    running: deque = deque()
    for item in items:
        running.append(item if isinstance(item, Trouble) else executor.submit(function, item))
        if len(running) > ahead:
            yield _result(running.popleft())
    while running:
        yield _result(running.popleft())


def _result(running: object) -> object:
    return running if isinstance(running, Trouble) else running.result()
