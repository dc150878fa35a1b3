"""Packing of sets into WebDataset shards, for disks and networks that prefer large files.

A shard is a tar of about a thousand samples. A sample has these files:

- KEY.jpg (or another of `PICTURE_ENDINGS`): the original image file
- KEY.depth.png: codes, see `depth_codes`, if the set has depth
- KEY.label.png: classes, if the set has them
- KEY.json: the description

Each shard is written atomically and has the same bytes whenever it is packed. So packing can be interrupted and
continued, and data version control sees exactly what changed. manifest.json lists sizes and SHA-256 of the shards; its
``version`` is a hash of these.

A note next to each shard lists its images, all of one root. Images without a note become new shards, the other shards
stay. So labels of a shard stay valid as long as its images are unchanged.
"""

from __future__ import annotations

import json
import logging
import tempfile
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Executor, Future
from dataclasses import asdict
from heapq import merge
from itertools import chain, count, islice
from pathlib import Path
from typing import IO, Any

from depth_anything_ros.data.frame import DataError
from depth_anything_ros.data.image_set import ImageSet
from depth_anything_ros.data.manifest import MANIFEST, Shard, read_manifest, shard_name, verify_shards, write_manifest
from depth_anything_ros.data.packed_names import PackedNames
from depth_anything_ros.data.roots import Root, settle_roots
from depth_anything_ros.data.shard_files import Part, key_of, make_sample, pack_shard
from depth_anything_ros.system.atomic_file import is_abandoned, is_left_behind
from depth_anything_ros.system.output_folder import SHARDS, Made, claimed, narrowed

__all__ = ["Shard", "key_of", "make_sample", "pack", "pack_shard", "read_manifest", "shard_name", "verify_shards"]

_log = logging.getLogger(__name__)

NAMES_AT_ONCE = 10_000
"""Number of names in one lookup."""
IN_MEMORY = 1 << 26
"""Bytes of new names in memory; more go into a file."""

Found = Iterable[tuple[Root, Iterator[str]]]
"""The names of the images in each root."""


def pack(
    declared: ImageSet,
    roots: Path | Sequence[Path],
    output: Path,
    samples_per_shard: int,
    executor: Executor,
    limit: int = 0,
    in_flight: int = 64,
    prune: bool = False,
) -> Iterator[Shard]:
    """Pack a set into shards, yield each shard, and write the manifest at the end.

    An existing shard stays if its files are unchanged. Missing images become new shards. An unreadable image is skipped
    and listed in the manifest; its shard is packed again in the next run. The manifest exists only while it describes
    the shards.

    Args:
        declared: the set.
        roots: its folders.
        output: the folder of shards.
        samples_per_shard: images per new shard.
        executor: packs the shards.
        limit: pack only the first images; 0 for all.
        in_flight: number of shards given to ``executor`` at a time. Only their names are in memory, because sets have
            tens of millions.
        prune: remove samples whose images are gone.

    Raises:
        DataError: there is no image, or, without ``prune``, samples would be lost because their images are gone or
            unreadable.
        FolderError: ``output`` contains another set or other roots, or another process writes there.
        OSError: see `pack_shard`.
        ImportError: see `pack_shard`.
    """
    import webdataset  # noqa: F401 - reports a missing package before any worker starts

    given = [roots] if isinstance(roots, Path) else list(roots)
    first = _names_of(declared, given[0])
    holds = f"shards of {narrowed(declared.name, declared.selection)}"
    with claimed(output, Made(SHARDS, holds, "data pack")) as folder:
        _remove_left_behind(output)
        packed = PackedNames(output)
        settled, sources = settle_roots(declared, given, folder, packed)
        names = chain([first], (_names_of(declared, root.path) for root in settled[1:]))
        found = _limited(zip(settled, names, strict=True), limit)
        with tempfile.SpooledTemporaryFile(IN_MEMORY, "w+", dir=output) as spool:
            if packed.labels:
                found = _new_of(found, packed, spool)
            _warn_of_size(packed, samples_per_shard, output)
            old, shards = _plan(settled, packed, output, is_limited=limit > 0, prune=prune)
            folder.note(sources)
            parts = merge(old, _new_parts(found, samples_per_shard, packed), key=lambda part: part.number)
            paths = {root.label: root.path for root in settled}
            jobs = ((pack_shard, declared, paths[part.label], output, part) for part in parts)
            for shard in _in_order(executor, jobs, in_flight):
                shards.append(shard)
                yield shard
        described: dict[str, Any] = {"set": declared.name, "title": declared.title, "terms": declared.terms}
        if declared.selection:
            described["fields"] = dict(declared.selection)
        write_manifest(output, described, [asdict(shard) for shard in sorted(shards, key=lambda shard: shard.name)])
        folder.note(sources, [MANIFEST])


def _names_of(declared: ImageSet, root: Path) -> Iterator[str]:
    """Return the images of a root. Raises `DataError` at once if there are none."""
    names = declared.names(root)
    first = next(names, None)
    if first is None:
        raise DataError(declared.empty_message(root))
    return chain([first], names)


def _remove_left_behind(output: Path) -> None:
    for partial in output.glob(".*.partial"):  # of a killed process; without locks another process may be writing
        if is_left_behind(partial) or is_abandoned(partial):
            partial.unlink(missing_ok=True)


def _warn_of_size(packed: PackedNames, samples_per_shard: int, output: Path) -> None:
    largest = max((shard.samples for shard in packed.shards.values()), default=0)
    if largest > samples_per_shard:
        _log.warning(
            "%s: existing shards keep up to %d images; only new ones have %d", output, largest, samples_per_shard
        )


def _limited(found: Found, limit: int) -> Found:
    """Return the first images over all roots; all for 0."""
    left = limit
    for root, names in found:
        if limit and not left:
            return
        taken = islice(names, left) if limit else names
        counted = _Counted(taken)
        yield root, counted
        left -= counted.count


class _Counted(Iterator[str]):
    """An iterator that counts its items."""

    def __init__(self, names: Iterator[str]) -> None:
        self._names, self.count = names, 0

    def __next__(self) -> str:
        name = next(self._names)
        self.count += 1
        return name


def _new_of(found: Found, packed: PackedNames, spool: IO[str]) -> Found:
    """Look up all images, and return the new ones by root. Many names go through a file."""
    roots: list[tuple[Root, int]] = []
    for root, names in found:
        batches = 0
        while batch := list(islice(names, NAMES_AT_ONCE)):
            if new := packed.new_among(root.label, batch):
                spool.write(json.dumps(new) + "\n")
                batches += 1
        roots.append((root, batches))
    spool.seek(0)
    return ((root, chain.from_iterable(map(json.loads, islice(spool, batches)))) for root, batches in roots)


def _plan(
    settled: Sequence[Root], packed: PackedNames, output: Path, is_limited: bool, prune: bool
) -> tuple[Iterator[Part], list[Shard]]:
    """Return the shards to check again, and the shards of other roots, which stay. Remove shards without images."""
    labels = {root.label for root in settled}
    ours = {number for number, label in packed.labels.items() if label in labels}
    gone: set[int] = set()
    if is_limited:  # images beyond the limit are unknown
        ours &= packed.seen()
    else:
        gone = packed.unseen() & ours
        _check_losses(settled, packed, gone, output, prune)
    kept = [packed.shards.get(number) for number in packed.labels if number not in ours]
    if not is_limited and None in kept:
        missing = next(number for number in packed.labels if number not in ours and number not in packed.shards)
        root = packed.labels[missing] or "that was packed first"
        raise DataError(
            f"{output / shard_name(missing)} is missing, and its root {root} is not given: give this root too"
        )
    emptied = gone - packed.seen()
    for number in emptied:
        _remove(output, number)
    parts = (
        Part(number, packed.labels[number], gone=packed.names_unseen(number) if number in gone else (), prune=prune)
        for number in sorted(ours - emptied)
    )
    return parts, [shard for shard in kept if shard is not None]


def _check_losses(settled: Sequence[Root], packed: PackedNames, gone: set[int], output: Path, prune: bool) -> None:
    """Raise `DataError`, or warn with ``prune``, if samples belong to images that no longer exist."""
    lost = packed.samples_unseen(gone)
    if not lost:
        return
    paths = {root.label: root.path for root in settled}
    number = next(number for number in sorted(gone) if packed.samples_unseen([number]))
    example = f"{packed.names_unseen(number)[0]} of {paths[packed.labels[number]]}"
    if prune:
        _log.warning("%s: removing %d samples whose images are gone, such as %s", output, lost, example)
        return
    total = sum(shard.samples for number, shard in packed.shards.items() if packed.labels[number] in paths)
    raise DataError(
        f"{output} has {total} samples, but {lost} of their images are gone, such as {example}. Is a disk not mounted? "
        "Nothing was changed. To remove these samples, give --prune"
    )


def _remove(output: Path, number: int) -> None:
    path = output / shard_name(number)
    (output / MANIFEST).unlink(missing_ok=True)  # it is no longer true
    path.unlink(missing_ok=True)
    path.with_suffix(".json").unlink(missing_ok=True)


def _new_parts(found: Found, samples_per_shard: int, packed: PackedNames) -> Iterator[Part]:
    """Yield new shards, each of one root, with the free numbers."""
    free = (number for number in count() if number not in packed.labels)
    for root, names in found:
        while chunk := list(islice(names, samples_per_shard)):
            yield Part(next(free), root.label, chunk)


def _in_order(executor: Executor, jobs: Iterable[tuple], in_flight: int) -> Iterator[Shard]:
    """Yield the results of the jobs in order, with at most ``in_flight`` at a time."""
    running: deque[Future[Shard]] = deque()
    for job in jobs:
        running.append(executor.submit(*job))
        while len(running) >= in_flight:
            yield running.popleft().result()
    while running:
        yield running.popleft().result()
