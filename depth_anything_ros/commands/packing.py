"""Packing of a set into shards with several processes and a progress bar."""

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
from depth_anything_ros.data.image_set import ImageSet
from depth_anything_ros.system.atomic_file import describe_error, is_left_behind
from depth_anything_ros.system.child_process import end_with_parent
from depth_anything_ros.system.extras import require
from depth_anything_ros.system.progress import progress_bar
from depth_anything_ros.system.signals import signal_handlers

MAX_NAMED = 20
"""Number of skipped images that are printed; the manifest lists all of them."""


def pack_set(
    declared: ImageSet,
    roots: Sequence[Path],
    output: Path,
    per_shard: int,
    processes: int,
    limit: int = 0,
    prune: bool = False,
) -> dict[str, Any]:
    """Pack a set into shards, print which images were skipped, and return the manifest.

    Finished shards stay when packing stops, and the next run continues from there.

    Args:
        declared: the set.
        roots: the folders of the set.
        output: the folder for the shards.
        per_shard: images per shard.
        processes: the number of worker processes.
        limit: pack only the first images; 0 for all, see `pack`.
        prune: remove samples whose images are gone, see `pack`.

    Returns:
        The content of manifest.json.

    Raises:
        CommandError: a number is below 1, a process died, or the disk accepts no more data.
        KeyboardInterrupt: Ctrl-C or SIGTERM.
    """
    from depth_anything_ros.data.shards import pack, read_manifest

    require("webdataset")
    if per_shard < 1 or processes < 1:
        raise CommandError("--shard and --processes must be at least 1")
    refused, count = [], 0
    earlier_children = active_children()
    # SIGTERM acts like Ctrl-C, which also ends the workers.
    with signal_handlers({signal.SIGTERM: signal.default_int_handler}), _Workers(processes) as pool:
        try:
            shards = pack(declared, roots, output, per_shard, pool, limit, 4 * processes, prune)
            with progress_bar("packing", "images", limit or None) as bar:
                for shard in shards:
                    count += len(shard.refused)
                    refused += shard.refused[: MAX_NAMED - len(refused)]
                    bar.set_postfix_str(f"{count} left out")
                    bar.update(shard.samples + len(shard.refused))
        except BrokenProcessPool as error:
            raise CommandError(
                f"one of {processes} processes was killed, most likely because memory ran out: give fewer --processes. "
                "Finished shards are kept; the next run continues from there"
            ) from error
        except KeyboardInterrupt:
            with signal_handlers({signal.SIGINT: signal.SIG_IGN, signal.SIGTERM: signal.SIG_IGN}):  # already ending
                print(
                    "interrupted; finished shards are kept, the next run continues from there",
                    file=sys.stderr,
                    flush=True,
                )
                _end_at_once(pool, [child for child in active_children() if child not in earlier_children], output)
            raise
        except BaseException as error:
            pool.shutdown(cancel_futures=True)
            if not isinstance(error, OSError):
                raise
            raise CommandError(
                f"packing into {output} stopped: {describe_error(error)}. Finished shards are kept; the next run "
                "continues from there"
            ) from error
    manifest = read_manifest(output)
    for text in refused:
        print(f"left out: {text}")
    if count > len(refused):
        print(f"left out: {count - len(refused)} more, see {output / 'manifest.json'}")
    if not manifest["samples"]:
        raise CommandError(f"no image of {', '.join(map(str, roots))} could be packed, see above")
    print(f"{output}: {manifest['samples']} samples in {len(manifest['shards'])} shards")
    return manifest


class _Workers(ProcessPoolExecutor):
    """Processes that end with this one and ignore Ctrl-C, which a terminal sends to all of them."""

    def __init__(self, processes: int) -> None:
        super().__init__(processes, get_context("spawn"), _begin_worker, (os.getpid(),))
        resource_tracker.ensure_running()  # else `submit` starts it and unblocks SIGINT

    def submit(self, *call: Any, **options: Any) -> Future:
        """Submit a call, see `Executor`. New processes ignore Ctrl-C from their start."""
        mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        try:
            return super().submit(*call, **options)
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)


def _begin_worker(parent: int) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    end_with_parent(parent)
    cv2.setNumThreads(1)  # the processes already share the cores


def _end_at_once(pool: ProcessPoolExecutor, workers: Iterable[BaseProcess], output: Path) -> None:
    """End the workers without waiting for their shards, and remove their partial files."""
    for worker in workers:
        worker.terminate()
    pool.shutdown(cancel_futures=True)
    for partial in output.glob(".*.partial"):
        if is_left_behind(partial):
            partial.unlink(missing_ok=True)
