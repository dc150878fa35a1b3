"""Packing a set into shards with several processes and a progress bar, and what to say where that stops."""

from __future__ import annotations

import os
import signal
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from depth_anything_ros.child_process import end_with_parent
from depth_anything_ros.commands import CommandError
from depth_anything_ros.commands.progress import progress
from depth_anything_ros.data.image_set import ImageSet
from depth_anything_ros.extras import require
from depth_anything_ros.signal_handlers import answering

NAMED = 20
"""So many images that were left out are named; the manifest names all."""


def pack_set(
    declared: ImageSet, root: Path, output: Path, per_shard: int, processes: int, limit: int = 0
) -> dict[str, Any]:
    """Packs the set under ``root`` into shards in ``output``, prints what was left out, and returns the manifest.

    Raises `CommandError` for numbers below 1, for a process that died and for a disk that takes no more; what is
    finished then stays, and the next run goes on from there.
    """
    from depth_anything_ros.data.shards import pack, read_manifest

    require("webdataset")
    if per_shard < 1 or processes < 1:
        raise CommandError("--shard and --processes must be at least 1")
    refused, count = [], 0
    children = {"mp_context": get_context("spawn"), "initializer": end_with_parent, "initargs": (os.getpid(),)}
    # SIGTERM ends it as Ctrl-C would, which takes the other processes along.
    handlers = {signal.SIGTERM: signal.default_int_handler}
    with answering(handlers), ProcessPoolExecutor(processes, **children) as pool:
        try:
            shards = pack(declared, root, output, per_shard, pool, limit, in_flight=4 * processes)
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
        except BaseException as error:
            pool.shutdown(cancel_futures=True)
            if not isinstance(error, OSError):
                raise
            raise CommandError(
                f"packing into {output} stopped: {error}; shards that are finished are kept, the next run goes on "
                "from there"
            ) from error
    manifest = read_manifest(output)
    for text in refused:
        print(f"left out: {text}")
    if count > len(refused):
        print(f"left out: {count - len(refused)} more, see {output / 'manifest.json'}")
    if not manifest["samples"]:
        raise CommandError(f"not one image of {root} could be packed, see above")
    print(f"{output}: {manifest['samples']} samples in {len(manifest['shards'])} shards")
    return manifest
