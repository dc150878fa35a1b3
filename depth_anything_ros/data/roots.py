"""The roots that a folder of shards is made from: which are known there, which are new, which have moved."""

from __future__ import annotations

import logging
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from math import ceil
from pathlib import Path, PurePath

from depth_anything_ros.data.check import evenly_spaced
from depth_anything_ros.data.frame import DataError, reraise_disk_error
from depth_anything_ros.data.image_set import ImageSet
from depth_anything_ros.data.manifest import shard_name
from depth_anything_ros.data.packed_names import PackedNames
from depth_anything_ros.data.shard_files import key_of, make_sample, read_note
from depth_anything_ros.data.tar_members import read_member
from depth_anything_ros.system.output_folder import FolderError, OutputFolder

_log = logging.getLogger(__name__)

COMPARED = 8
"""So many samples, evenly spaced, tell whether a root holds what another did."""


@dataclass(frozen=True)
class Root:
    """One of a set's folders; ``label`` tells its images from those of the others, "" if it was the only one."""

    label: str
    path: Path


def settle_roots(
    declared: ImageSet, given: Sequence[Path], folder: OutputFolder, packed: PackedNames
) -> tuple[list[Root], dict[str, str]]:
    """The roots with their labels, and the origins of all that the folder is made from, by label.

    A root that is new to the folder joins those that are noted if they are given too. Else it takes the place of one
    that is not, if it holds the same images: it has moved. Raises `FolderError` where it does not.
    """
    origins = {declared.origin(path): path for path in given}
    if len(origins) < len(given):
        raise DataError(f"a root is named twice among {', '.join(map(str, given))}")
    sources = _noted(folder, packed)
    for origin in origins.keys() - set(sources.values()):
        absent = sorted(label for label, noted in sources.items() if noted not in origins)
        moved = next((one for one in absent if _is_same(declared, origins[origin], folder.path, packed, one)), None)
        if moved is not None:
            if sources[moved]:
                _log.warning("%s: what was in %s is in %s now", folder.path, sources[moved], origin)
            sources[moved] = origin
        elif absent:
            others = ", ".join(sources[label] or "a root that no note names" for label in absent)
            raise FolderError(
                f"{folder.path} holds {folder.made.holds} made from {others}; {origin} holds other images: give it a "
                "folder of its own, or name all roots together, which makes one set of them"
            )
    new = [origin for origin in origins if origin not in sources.values()]
    sources |= dict(zip(_labels(new, sources), new, strict=True))
    label_of = {origin: label for label, origin in sources.items()}
    return [Root(label_of[origin], path) for origin, path in origins.items()], sources


def _noted(folder: OutputFolder, packed: PackedNames) -> dict[str, str]:
    """The origins of what the folder holds, by label; "" for those that no note names."""
    noted = folder.found.sources if folder.found is not None else {}
    return {label: noted.get(label, "") for label in sorted({*noted, *packed.labels.values()})} if packed.labels else {}


def _is_same(declared: ImageSet, root: Path, output: Path, packed: PackedNames, label: str) -> bool:
    """Whether a root holds the very images that shards of a label were packed from, by some of them."""
    numbers = [number for number, shard in packed.shards.items() if packed.labels[number] == label and shard.samples]
    numbers = evenly_spaced(numbers, COMPARED)
    for number in numbers:
        note = read_note(output, number)
        names = [name for name in note.names if name not in note.refused]
        for name in evenly_spaced(names, ceil(COMPARED / len(numbers))):
            if not _is_sample(declared, root, output / shard_name(number), name, label):
                return False
    return True


def _is_sample(declared: ImageSet, root: Path, shard: Path, name: str, label: str) -> bool:
    """Whether a shard holds what would be packed of an image now, byte by byte."""
    key = key_of(name, label)
    try:
        sample = make_sample(declared, root, name, label)
        del sample["__key__"]
        return all(read_member(shard, f"{key}.{ending}") == content for ending, content in sample.items())
    except (ImportError, MemoryError):
        raise
    except Exception as error:  # whatever it is, there is no such image
        reraise_disk_error(error)
        return False


def _labels(origins: Sequence[str], taken: Collection[str]) -> list[str]:
    """What new roots are called: "" for the only one, else the end of their paths that tells them apart."""
    if not taken and len(origins) == 1:
        return [""]
    parts = [PurePath(origin).parts for origin in origins]
    for length in range(1, max(map(len, parts), default=0) + 1):
        labels = ["/".join(part[-length:]) for part in parts]
        if len({*labels, *taken}) == len(labels) + len(taken):
            return labels
    return [f"root_{len(taken) + number}" for number in range(len(origins))]
