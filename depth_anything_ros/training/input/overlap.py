"""Images that are scored are not trained on: they are found by what their files hold, wherever else they lie.

Sizes of files are compared first, which needs no image to be read; where two agree, SHA-256. So a picture is known
again in a folder, in shards or in an archive, under any name; one that was encoded anew is not.
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

NAMED = 5
"""So many images that are in two places are named."""
MANY_BLOCKS = 64
"""A source of more blocks is gone through by several processes, and what was found is kept in the cache."""

Sources = dict[str, list[Source]]
"""Opened sources by kind: "labeled", "unlabeled", "validation", "evaluation"."""


class Kept(NamedTuple):
    """One image that is kept apart, and for what: "held out" or "evaluation"."""

    role: str
    name: str


class Shared(NamedTuple):
    """One image of a source that is kept apart elsewhere."""

    block: int
    index: int
    kept: Kept


class KeptApart:
    """Images that nothing may be learned from, told by their files.

    ``described``: tells these from any others, by versions of their sources.
    """

    def __init__(self) -> None:
        self.described: list[str] = []
        # Without names, of which there may be millions.
        self._places: dict[int, list[tuple[str, Source, int, int]]] = defaultdict(list)
        self._digests: dict[int, dict[bytes, Kept]] = {}

    def add(self, role: str, source: Source, places: Iterable[tuple[int, int]] | None = None) -> None:
        """Adds images of a source, by block and index; all, where ``places`` is None."""
        if places is None:
            self.described.append(f"{role}: {name_and_version(source)}")
            for block, sizes in enumerate(source.image_sizes()):
                for index, size in enumerate(sizes):
                    self._add(role, source, block, index, int(size))
            return
        places = list(places)
        self.described.append(f"{role}: {places} of {name_and_version(source)}")
        for block, index in places:
            self._add(role, source, block, index, len(_content(source, block, index) or b""))

    def _add(self, role: str, source: Source, block: int, index: int, size: int) -> None:
        if size:
            self._places[size].append((role, source, block, index))

    @property
    def sizes(self) -> np.ndarray:
        """Bytes of the files, int64 (N,)."""
        return np.fromiter(self._places, np.int64, len(self._places))

    def find(self, content: bytes) -> Kept | None:
        """The image whose file holds this."""
        if len(content) not in self._digests:
            self._digests[len(content)] = dict(self._digests_of(len(content)))
        return self._digests[len(content)].get(hashlib.sha256(content).digest())

    def _digests_of(self, size: int) -> Iterator[tuple[bytes, Kept]]:
        for role, source, block, index in self._places.get(size, ()):
            if (content := _content(source, block, index)) is not None:
                yield hashlib.sha256(content).digest(), Kept(role, source.sample_name(block, index))


class Rest:
    """A source without some of its samples; ``taken`` counts them. Raises `DataError` where none is left."""

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
                f"nothing of {source.name} is left to train on: all of its images are kept apart, such as "
                f"{source.sample_name(first.block, first.index)} ({first.kept.role}: {first.kept.name}): give other "
                "images, or train on these too with data.overlap=allow"
            )

    def _index(self, block: int, index: int) -> int:
        return self._left[block][index] if block in self._left else index

    def read(self, block: int, index: int, least_side: int = 0) -> Sample:
        """As the source reads it."""
        return self._source.read(block, self._index(block, index), least_side)

    def sample_name(self, block: int, index: int) -> str:
        """The source's."""
        return self._source.sample_name(block, self._index(block, index))

    def image_file(self, block: int, index: int) -> bytes:
        """The source's."""
        return self._source.image_file(block, self._index(block, index))

    def image_sizes(self, run: Map = map) -> Iterator[np.ndarray]:
        """The source's, of what is left."""
        for block, sizes in enumerate(self._source.image_sizes(run)):
            yield sizes[self._left[block]] if block in self._left and len(sizes) else sizes


def keep_apart(configuration: StageConfiguration, sources: Sources) -> Sources:
    """The sources of which nothing that is held out, or scored afterwards, is trained on; see ``data.overlap``.

    Raises `DataError`, which names images and counts them, where some are and that is not allowed.
    """
    settings = configuration.data
    if settings.overlap == "allow":
        return sources
    apart = KeptApart()
    for source in sources["evaluation"]:
        apart.add("evaluation", source)
    validation = _cleared(sources, ("validation",), apart, configuration)
    for which, places in choose(validation["validation"], settings.validation_images).items():
        source = validation["validation"][which]
        apart.add("held out", source, (block_and_index(source, number) for number in places))
    return _cleared(validation, ("labeled", "unlabeled"), apart, configuration)


def _cleared(sources: Sources, kinds: Sequence[str], apart: KeptApart, configuration: StageConfiguration) -> Sources:
    """The sources, those of these kinds without what is kept apart."""
    cleared, found = dict(sources), []
    for kind in kinds if len(apart.sizes) else ():
        cleared[kind] = []
        for source in sources[kind]:
            shared = shared_with(source, apart, configuration.data.workers)
            if shared and configuration.data.overlap == "take_out":
                source = Rest(source, shared)
            elif shared:
                found.append(_in_words(kind, source, shared))
            cleared[kind].append(source)
    if found:
        raise DataError(
            f"{'; '.join(found)}: give other images (docs/data.md has the splits of sets), or train on the rest alone "
            "with data.overlap=take_out"
        )
    return cleared


def _in_words(kind: str, source: Source, shared: Sequence[Shared]) -> str:
    count = sum(source.blocks)
    names = [f"{source.sample_name(one.block, one.index)} ({one.kept.role}: {one.kept.name})" for one in shared[:NAMED]]
    more = f" and {len(shared) - NAMED} more" if len(shared) > NAMED else ""
    roles = " or ".join(sorted({one.kept.role for one in shared}))
    return f"{len(shared)} of {count} images of {source.name} ({kind}) are {roles} too: {', '.join(names)}{more}"


def shared_with(source: Source, apart: KeptApart, workers: int) -> list[Shared]:
    """The images of a source that are kept apart elsewhere."""
    if len(source.blocks) <= MANY_BLOCKS:
        return _compare(source, apart, map)
    described = json.dumps([name_and_version(source), sorted(apart.described)])
    path = cache_directory() / "overlap" / f"{hashlib.sha256(described.encode()).hexdigest()}.json"
    with _locked(path):  # the other processes of a run wait for the first to have compared
        if path.exists():
            return [Shared(block, index, Kept(*kept)) for block, index, kept in json.loads(path.read_text())]
        with _processes(min(workers, usable_cores())) as run:
            found = _compare(source, apart, run)
        with suppress(OSError):  # it is compared again the next time then
            atomic_write(path, json.dumps(found).encode())
        return found


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Keeps other processes out; where files cannot be locked or written, all of them do the same work."""
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
        pool.shutdown(cancel_futures=True)  # which who was asked to stop does not wait for


def _compare(source: Source, apart: KeptApart, run: Map) -> list[Shared]:
    found, requested, is_known = [], apart.sizes, False
    blocks = track(source.image_sizes(run), f"comparing {source.name}", "blocks", len(source.blocks), delay=10)
    for block, sizes in enumerate(blocks):
        is_known |= bool(sizes.any())
        for index in np.flatnonzero(np.isin(sizes, requested)).tolist():
            content = _content(source, block, index) if index < source.blocks[block] else None
            if content is not None and (kept := apart.find(content)) is not None:
                found.append(Shared(block, index, kept))
    if not is_known:
        log.warning("%s: its images are no files, and were not compared with what is held out", source.name)
    return found


def _content(source: Source, block: int, index: int) -> bytes | None:
    """An image's file; None where it is damaged, which whoever reads it will name. Raises `OSError` of a lost disk."""
    try:
        return with_retries(source.image_file, block, index)
    except DataError as error:
        reraise_disk_error(error)
        return None
