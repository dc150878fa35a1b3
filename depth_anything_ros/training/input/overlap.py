"""Keep scored images out of training. Images are compared by the content of their files, wherever these are.

Sizes of files are compared first, without reading an image; where two agree, SHA-256. So an image is recognized in a
folder, in shards or in an archive, under any name. An image that was encoded again is not recognized.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from multiprocessing import get_context
from pathlib import Path
from typing import NamedTuple

import numpy as np

from depth_anything_ros.data.frame import DataError, reraise_disk_error
from depth_anything_ros.data.retry import with_retries
from depth_anything_ros.data.sources import Map, Sample, Source, block_and_index, name_and_version
from depth_anything_ros.system.atomic_file import atomic_write
from depth_anything_ros.system.cpu_cores import usable_cores
from depth_anything_ros.system.file_lock import locked
from depth_anything_ros.system.progress import track
from depth_anything_ros.system.signals import ignore_stop_signals
from depth_anything_ros.training.configuration import StageConfiguration
from depth_anything_ros.training.validation.choice import choose
from depth_anything_ros.zoo.cache import cache_directory

log = logging.getLogger(__name__)

MAX_NAMED = 5
"""Shared images that a message names."""
MANY_BLOCKS = 64
"""A source with more blocks is compared by several processes, and the result is cached."""
VALIDATION = "held out"
"""Role of validation images. Cached comparisons of earlier releases use this name."""
ROLE_NAMES = {VALIDATION: "validation", "evaluation": "evaluation"}
"""Names of roles in messages."""

Sources = dict[str, list[Source]]
"""Opened sources by kind: "labeled", "unlabeled", "validation", "evaluation"."""


class Kept(NamedTuple):
    """One image that is kept out of training. ``role``: `VALIDATION` or "evaluation"."""

    role: str
    name: str


class Shared(NamedTuple):
    """One image of a source that is also among the images that are kept apart."""

    block: int
    index: int
    kept: Kept


class KeptApart:
    """Images that must not be trained on, identified by the content of their files.

    ``described``: identifies this set of images, by the versions of their sources.
    """

    def __init__(self) -> None:
        self.described: list[str] = []
        # Without file names, since there may be millions.
        self._indices: dict[int, list[tuple[str, Source, int, int]]] = defaultdict(list)
        self._digests: dict[int, dict[bytes, Kept]] = {}

    def add(self, role: str, source: Source, indices: Iterable[tuple[int, int]] | None = None) -> None:
        """Add images of a source.

        Args:
            role: `VALIDATION` or "evaluation".
            source: the source.
            indices: (block, index) of the images; None for all.
        """
        if indices is None:
            self.described.append(f"{role}: {name_and_version(source)}")
            for block, sizes in enumerate(source.image_sizes()):
                for index, size in enumerate(sizes):
                    self._add(role, source, block, index, int(size))
            return
        indices = list(indices)
        self.described.append(f"{role}: {indices} of {name_and_version(source)}")
        for block, index in indices:
            self._add(role, source, block, index, len(_content(source, block, index) or b""))

    def _add(self, role: str, source: Source, block: int, index: int, size: int) -> None:
        if size:
            self._indices[size].append((role, source, block, index))

    @property
    def sizes(self) -> np.ndarray:
        """Sizes of the files in bytes, int64 (N,)."""
        return np.fromiter(self._indices, np.int64, len(self._indices))

    def find(self, content: bytes) -> Kept | None:
        """Return the image with this file content, or None."""
        if len(content) not in self._digests:
            self._digests[len(content)] = dict(self._digests_of(len(content)))
        return self._digests[len(content)].get(hashlib.sha256(content).digest())

    def _digests_of(self, size: int) -> Iterator[tuple[bytes, Kept]]:
        for role, source, block, index in self._indices.get(size, ()):
            if (content := _content(source, block, index)) is not None:
                yield hashlib.sha256(content).digest(), Kept(role, source.sample_name(block, index))


class Remainder:
    """A source without some of its samples; ``taken`` is their number.

    Args:
        source: the whole source.
        shared: the samples to leave out.

    Raises:
        DataError: no sample is left.
    """

    def __init__(self, source: Source, shared: Sequence[Shared]) -> None:
        taken = defaultdict(set)
        for one in shared:
            taken[one.block].add(one.index)
        self._source, self.taken = source, sum(map(len, taken.values()))
        self._left = {block: sorted(set(range(source.blocks[block])) - gone) for block, gone in taken.items()}
        self.blocks = [len(self._left.get(block, range(count))) for block, count in enumerate(source.blocks)]
        self.name, self.is_metric, self.annotation = source.name, source.is_metric, source.annotation
        digest = hashlib.sha256(repr(sorted((block, sorted(gone)) for block, gone in taken.items())).encode())
        self.version = f"{source.version}, without {self.taken} of its images ({digest.hexdigest()})"
        if not any(self.blocks):
            first = shared[0]
            raise DataError(
                f"no image of {source.name} is left to train on: all of them are kept apart, such as "
                f"{source.sample_name(first.block, first.index)} ({ROLE_NAMES[first.kept.role]}: {first.kept.name}): "
                "give other images, or train on these too with data.overlap=allow"
            )

    def _index(self, block: int, index: int) -> int:
        return self._left[block][index] if block in self._left else index

    def read(self, block: int, index: int, least_side: int = 0) -> Sample:
        """Read a sample; see `Source.read`."""
        return self._source.read(block, self._index(block, index), least_side)

    def sample_name(self, block: int, index: int) -> str:
        """Return a sample's name; see `Source.sample_name`."""
        return self._source.sample_name(block, self._index(block, index))

    def image_file(self, block: int, index: int) -> bytes:
        """Return the content of an image's file; see `Source.image_file`."""
        return self._source.image_file(block, self._index(block, index))

    def image_sizes(self, run: Map = map) -> Iterator[np.ndarray]:
        """Yield the remaining file sizes of each block; see `Source.image_sizes`."""
        for block, sizes in enumerate(self._source.image_sizes(run)):
            yield sizes[self._left[block]] if block in self._left and len(sizes) else sizes


def keep_apart(configuration: StageConfiguration, sources: Sources) -> Sources:
    """Return the sources without training images that are also for validation or evaluation; see ``data.overlap``.

    Args:
        configuration: the stage's settings.
        sources: the opened sources by kind.

    Raises:
        DataError: there are such images and ``data.overlap`` is "refuse"; the message names and counts them.
    """
    settings = configuration.data
    if settings.overlap == "allow":
        return sources
    apart = KeptApart()
    for source in sources["evaluation"]:
        apart.add("evaluation", source)
    validation = _without_shared(sources, ("validation",), apart, configuration)
    for number, samples in choose(validation["validation"], settings.validation_images).items():
        source = validation["validation"][number]
        apart.add(VALIDATION, source, (block_and_index(source, sample) for sample in samples))
    return _without_shared(validation, ("labeled", "unlabeled"), apart, configuration)


def _without_shared(
    sources: Sources, kinds: Sequence[str], apart: KeptApart, configuration: StageConfiguration
) -> Sources:
    """Return the sources; those of these kinds without the images that are kept apart."""
    result, problems = dict(sources), []
    for kind in kinds if len(apart.sizes) else ():
        result[kind] = []
        for source in sources[kind]:
            shared = shared_with(source, apart, configuration.data.workers)
            if shared and configuration.data.overlap == "take_out":
                source = Remainder(source, shared)
            elif shared:
                problems.append(_overlap_text(kind, source, shared))
            result[kind].append(source)
    if problems:
        raise DataError(
            f"{'; '.join(problems)}: give other images (docs/data.md has the splits of datasets), or train on the "
            "others only, with data.overlap=take_out"
        )
    return result


def _overlap_text(kind: str, source: Source, shared: Sequence[Shared]) -> str:
    count = sum(source.blocks)
    names = [
        f"{source.sample_name(one.block, one.index)} ({ROLE_NAMES[one.kept.role]}: {one.kept.name})"
        for one in shared[:MAX_NAMED]
    ]
    more = f" and {len(shared) - MAX_NAMED} more" if len(shared) > MAX_NAMED else ""
    roles = " or ".join(sorted({ROLE_NAMES[one.kept.role] for one in shared}))
    return f"{len(shared)} of {count} images of {source.name} ({kind}) are {roles} images too: {', '.join(names)}{more}"


def shared_with(source: Source, apart: KeptApart, workers: int) -> list[Shared]:
    """Return the images of a source that are kept apart.

    Args:
        source: the source.
        apart: the images that are kept apart.
        workers: most processes that compare; a source with many blocks uses them, and its result is cached.
    """
    if len(source.blocks) <= MANY_BLOCKS:
        return _compare(source, apart, map)
    described = json.dumps([name_and_version(source), sorted(apart.described)])
    path = cache_directory() / "overlap" / f"{hashlib.sha256(described.encode()).hexdigest()}.json"
    with _locked(path):  # other processes of the run wait for the first one's result
        if path.exists():
            return [Shared(block, index, Kept(*kept)) for block, index, kept in json.loads(path.read_text())]
        with _processes(min(workers, usable_cores())) as run:
            shared = _compare(source, apart, run)
        with suppress(OSError):  # without a cache the next run compares again
            atomic_write(path, json.dumps(shared).encode())
        return shared


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Lock the file against other processes; without locks, or on a read-only disk, each does the same work."""
    with ExitStack() as stack:
        with suppress(OSError):
            stack.enter_context(locked(path))
        yield


@contextmanager
def _processes(count: int) -> Iterator[Map]:
    if count < 2:
        yield map
        return
    pool = ProcessPoolExecutor(count, get_context("fork"), ignore_stop_signals)
    try:
        yield pool.map
    finally:
        pool.shutdown(cancel_futures=True)  # a stopped run does not wait for the rest


def _compare(source: Source, apart: KeptApart, run: Map) -> list[Shared]:
    shared, requested, has_files = [], apart.sizes, False
    blocks = track(source.image_sizes(run), f"comparing {source.name}", "blocks", len(source.blocks), delay=10)
    for block, sizes in enumerate(blocks):
        has_files |= bool(sizes.any())
        for index in np.flatnonzero(np.isin(sizes, requested)).tolist():
            content = _content(source, block, index) if index < source.blocks[block] else None
            if content is not None and (kept := apart.find(content)) is not None:
                shared.append(Shared(block, index, kept))
    if not has_files:
        log.warning("%s: its images are not files, so they were not compared with the validation images", source.name)
    return shared


def _content(source: Source, block: int, index: int) -> bytes | None:
    """Return an image's file; None if it is damaged, which reading reports later. Raise `OSError` of a lost disk."""
    try:
        return with_retries(source.image_file, block, index)
    except DataError as error:
        reraise_disk_error(error)
        return None
