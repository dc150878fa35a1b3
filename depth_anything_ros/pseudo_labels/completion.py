"""The end of labeling: which shards are unfinished, and the manifest of all labels."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from depth_anything_ros.data.manifest import write_manifest
from depth_anything_ros.pseudo_labels.chunks import Problem
from depth_anything_ros.pseudo_labels.folder import PROBLEM, Labeling

Stamp = tuple[int, int]
"""Inode and modification time of a note, which differ for the one that replaces it."""


def recorded_problems(labeling: Labeling) -> dict[str, Stamp]:
    """Return the shards with a recorded problem, and the stamp of its note; an argument of `unfinished`."""
    has_problem = (shard for shard in labeling.shards if PROBLEM in (labeling.read_note(shard) or {}))
    return {shard: _stamp(labeling.note(shard)) for shard in has_problem}


def unfinished(labeling: Labeling, earlier: Mapping[str, Stamp]) -> list[str]:
    """Return the shards that are neither labeled nor known to be damaged.

    Args:
        labeling: the job.
        earlier: the `recorded_problems` at the start of this process. Such a note may be from an earlier run, and
            another process may be about to label the shard, which is intact now. So the shard is checked again. A
            note written since then is from this run, and counts.
    """
    return [shard for shard in labeling.shards if not _is_finished(labeling, shard, earlier)]


def _is_finished(labeling: Labeling, shard: str, earlier: Mapping[str, Stamp]) -> bool:
    note = labeling.read_note(shard)
    if note is None or PROBLEM not in note:
        return note is not None
    is_new = shard not in earlier or _stamp(labeling.note(shard)) != earlier[shard]
    return is_new or note.get("lasts", False) or isinstance(labeling.split(shard), Problem)


def finish(labeling: Labeling) -> Iterator[dict[str, Any]]:
    """Write the manifest, and return the notes that it is made from; no shard may be unfinished.

    The manifest keeps shards beyond the limit. Notes are read one by one: together they may be gigabytes.
    """
    shards, damaged = [], []
    for note in _notes(labeling):
        if PROBLEM in note:
            damaged.append({"shard": note["name"], PROBLEM: note[PROBLEM]})
        else:
            shards.append(_entry(labeling, note))
    described = {
        **{name: labeling.manifest[name] for name in ("set", "title", "terms")},
        "labels_of": labeling.manifest["version"],
        **{name: labeling.settings[name] for name in ("teacher", "resolution")},
        "damaged": damaged,
    }
    write_manifest(labeling.output, described, shards)
    return _notes(labeling)


def _notes(labeling: Labeling) -> Iterator[dict[str, Any]]:
    return (note for note in map(labeling.read_note, labeling.all_shards) if note is not None)


def _entry(labeling: Labeling, note: dict[str, Any]) -> dict[str, Any]:
    """Return a shard's entry in the manifest, with the SHA-256 of the shard of images that it labels."""
    entry = {name: note[name] for name in ("name", "samples", "size", "sha256", "refused")}
    return {**entry, "labels_of": labeling.all_shards[note["name"]]["sha256"]}


def _stamp(note: Path) -> Stamp:
    try:
        status = note.stat()
    except FileNotFoundError:
        return 0, 0
    return status.st_ino, status.st_mtime_ns
