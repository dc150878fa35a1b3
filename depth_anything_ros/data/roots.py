"""The roots of a folder of shards: known, new and moved ones."""

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
"""Number of evenly spaced samples that are compared to recognize a moved root."""


@dataclass(frozen=True)
class Root:
    """A root of a set. ``label`` identifies its images, "" for a single root."""

    label: str
    path: Path


def settle_roots(
    declared: ImageSet, given: Sequence[Path], folder: OutputFolder, packed: PackedNames
) -> tuple[list[Root], dict[str, str]]:
    """Assign labels to the roots.

    A new root joins the recorded ones if all are given. Otherwise it replaces a recorded root that is not given, if it
    contains the same images: the root has moved.

    Args:
        declared: the set.
        given: the roots of this run.
        folder: the folder of shards.
        packed: its content.

    Returns:
        The roots with their labels, and the origins of all roots of the folder by label.

    Raises:
        FolderError: a new root has other images than the recorded ones.
        DataError: a root is given twice.
    """
    origins = {declared.origin(path): path for path in given}
    if len(origins) < len(given):
        raise DataError(f"a root is given twice: {', '.join(map(str, given))}")
    sources = _noted(folder, packed)
    for origin in origins.keys() - set(sources.values()):
        not_given = sorted(label for label, noted in sources.items() if noted not in origins)
        moved = next((one for one in not_given if _is_same(declared, origins[origin], folder.path, packed, one)), None)
        if moved is not None:
            if sources[moved]:
                _log.warning("%s: the images of %s have moved to %s", folder.path, sources[moved], origin)
            sources[moved] = origin
        elif not_given:
            recorded = ", ".join(sources[label] or "an unknown root" for label in not_given)
            raise FolderError(
                f"{folder.path} contains {folder.made.holds} made from {recorded}, but {origin} has other images: "
                "choose another folder, or give all roots together to pack them as one set"
            )
    new = [origin for origin in origins if origin not in sources.values()]
    sources |= dict(zip(_labels(new, sources), new, strict=True))
    label_of = {origin: label for label, origin in sources.items()}
    return [Root(label_of[origin], path) for origin, path in origins.items()], sources


def _noted(folder: OutputFolder, packed: PackedNames) -> dict[str, str]:
    """Return the recorded origins of the folder by label; "" for unknown ones."""
    noted = folder.previous.sources if folder.previous is not None else {}
    return {label: noted.get(label, "") for label in sorted({*noted, *packed.labels.values()})} if packed.labels else {}


def _is_same(declared: ImageSet, root: Path, output: Path, packed: PackedNames, label: str) -> bool:
    """Return whether some samples show that a root has the images of the shards with this label."""
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
    """Return whether packing an image now gives the sample of the shard, byte by byte."""
    key = key_of(name, label)
    try:
        sample = make_sample(declared, root, name, label)
        del sample["__key__"]
        return all(read_member(shard, f"{key}.{ending}") == content for ending, content in sample.items())
    except (ImportError, MemoryError):
        raise
    except Exception as error:  # any error means that there is no such image
        reraise_disk_error(error)
        return False


def _labels(origins: Sequence[str], taken: Collection[str]) -> list[str]:
    """Return labels for new roots: "" for a single one, else the shortest unique end of each path."""
    if not taken and len(origins) == 1:
        return [""]
    parts = [PurePath(origin).parts for origin in origins]
    for length in range(1, max(map(len, parts), default=0) + 1):
        labels = ["/".join(part[-length:]) for part in parts]
        if len({*labels, *taken}) == len(labels) + len(taken):
            return labels
    return [f"root_{len(taken) + number}" for number in range(len(origins))]
