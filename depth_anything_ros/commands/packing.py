"""Packing a set into shards with several processes and a progress bar, and what to say where that stops."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterable, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import active_children, get_context, resource_tracker
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import cv2

from depth_anything_ros.commands import CommandError
from depth_anything_ros.commands.progress import progress
from depth_anything_ros.data.image_set import ImageSet
from depth_anything_ros.system.atomic_file import describe_error, is_left_behind
from depth_anything_ros.system.child_process import end_with_parent
from depth_anything_ros.system.extras import require
from depth_anything_ros.system.signals import signal_handlers

NAMED = 20
"""So many images that were left out are named; the manifest names all."""


def pack_set(
    declared: ImageSet,
    roots: Sequence[Path],
    output: Path,
    per_shard: int,
    processes: int,
    limit: int = 0,
    prune: bool = False,
) -> dict[str, Any]:
    """Packs the set under its roots into shards in ``output``, prints what was left out, and returns the manifest.

    ``limit`` and ``prune`` as `pack` has them. Raises `CommandError` for numbers below 1, for a process that died and
    for a disk that takes no more, and
    `KeyboardInterrupt` at Ctrl-C and SIGTERM; what is finished then stays, and the next run goes on from there.
    """
    from depth_anything_ros.data.shards import pack, read_manifest

    require("webdataset")
    if per_shard < 1 or processes < 1:
        raise CommandError("--shard and --processes must be at least 1")
    refused, count = [], 0
    others = active_children()
    # SIGTERM ends it as Ctrl-C would, which takes the other processes along.
    with signal_handlers({signal.SIGTERM: signal.default_int_handler}), _Workers(processes) as pool:
        try:
            shards = pack(declared, roots, output, per_shard, pool, limit, 4 * processes, prune)
            with progress("packing", "images", limit or None) as bar:
                for shard in shards:
                    count += len(shard.refused)
                    refused += shard.refused[: NAMED - len(refused)]
                    bar.set_postfix_str(f"{count} left out")
                    bar.update(shard.samples + len(shard.refused))
        except BrokenProcessPool as error:
            raise CommandError(
                f"one of {processes} processes died: it was killed, most likely because memory ran out (then give "
                "fewer --processes); shards that are finished are kept, the next run goes on from there"
            ) from error
        except KeyboardInterrupt:
            with signal_handlers({signal.SIGINT: signal.SIG_IGN, signal.SIGTERM: signal.SIG_IGN}):  # it ends already
                print(
                    "interrupted: ending; shards that are finished are kept, the next run goes on from there",
                    file=sys.stderr,
                    flush=True,
                )
                _end_at_once(pool, [child for child in active_children() if child not in others], output)
            raise
        except BaseException as error:
            pool.shutdown(cancel_futures=True)
            if not isinstance(error, OSError):
                raise
            raise CommandError(
                f"packing into {output} stopped: {describe_error(error)}; shards that are finished are kept, the next "
                "run goes on from there"
            ) from error
    manifest = read_manifest(output)
    for text in refused:
        print(f"left out: {text}")
    if count > len(refused):
        print(f"left out: {count - len(refused)} more, see {output / 'manifest.json'}")
    if not manifest["samples"]:
        raise CommandError(f"not one image of {', '.join(map(str, roots))} could be packed, see above")
    print(f"{output}: {manifest['samples']} samples in {len(manifest['shards'])} shards")
    return manifest


class _Workers(ProcessPoolExecutor):
    """Processes that end with this one, and leave Ctrl-C, which a terminal sends to all, to this one."""

    def __init__(self, processes: int) -> None:
        super().__init__(processes, get_context("spawn"), _begin_worker, (os.getpid(),))
        resource_tracker.ensure_running()  # else `submit` starts it, which unblocks SIGINT

    def submit(self, *call: Any, **options: Any) -> Future:
        """See `Executor`; a process that it starts is deaf to Ctrl-C from its first moment."""
        mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        try:
            return super().submit(*call, **options)
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)


def _begin_worker(parent: int) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    end_with_parent(parent)
    cv2.setNumThreads(1)  # the processes share the cores already


def _end_at_once(pool: ProcessPoolExecutor, workers: Iterable[BaseProcess], output: Path) -> None:
    """Ends the workers in the midst of their shards, and removes what they have half-written."""
    for worker in workers:
        worker.terminate()
    pool.shutdown(cancel_futures=True)
    for partial in output.glob(".*.partial"):
        if is_left_behind(partial):
            partial.unlink(missing_ok=True)
