"""The manifest of a folder of shards: names, sizes, SHA-256, and images that could not be packed."""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from depth_anything_ros.data.frame import DataError
from depth_anything_ros.system.atomic_file import atomic_write
from depth_anything_ros.zoo.cache import sha256_of

MANIFEST = "manifest.json"
FORMAT = 1
"""Version of the content of a shard."""
_NAME = re.compile(r"(?!(manifest|labels|report)\.tar$)[^./\0][^/\0]*\.tar")
"""Names of shards. They stay inside the folder, and their notes replace no other file."""


@dataclass(frozen=True)
class Shard:
    """One shard.

    Attributes:
        name: the file name.
        samples: the number of samples.
        size: bytes.
        sha256: the SHA-256 of the file.
        refused: images that could not be packed, each with the reason.
    """

    name: str
    samples: int
    size: int
    sha256: str
    refused: tuple[str, ...] = ()


def shard_name(index: int) -> str:
    """Return the file name of a shard."""
    return f"shard-{index:06d}.tar"


def write_manifest(output: Path, described: Mapping[str, Any], entries: Sequence[Mapping[str, Any]]) -> None:
    """Write the manifest of complete shards. An identical manifest is not written again.

    Args:
        output: the folder.
        described: name, title and terms of the set.
        entries: the shards, as `Shard` dictionaries.
    """
    path, content = output / MANIFEST, json.dumps(as_manifest(described, entries), indent=2).encode()
    if not path.exists() or path.read_bytes() != content:
        atomic_write(path, content)


def as_manifest(described: Mapping[str, Any], entries: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return the content of a manifest.

    Args:
        described: name, title and terms of the set.
        entries: the shards, as `Shard` dictionaries.
    """
    hashes = "\n".join(f"{entry['name']} {entry['sha256']}" for entry in entries)
    return {
        "format": FORMAT,
        **described,
        "version": hashlib.sha256(hashes.encode()).hexdigest(),
        "samples": sum(entry["samples"] for entry in entries),
        "refused": sum(len(entry["refused"]) for entry in entries),
        "shards": list(entries),
    }


def check_manifest(folder: Path, made_by: str = "data pack") -> None:
    """Check that a folder has a manifest, without reading a large one. Arguments and errors are `read_manifest`'s."""
    if not os.path.exists(folder / MANIFEST):  # also for errors of the disk, which it reports
        read_manifest(folder, made_by)


def read_manifest(folder: Path, made_by: str = "data pack") -> dict[str, Any]:
    """Read the manifest of a folder of shards.

    Args:
        folder: the folder.
        made_by: the command that creates the folder, for messages.

    Raises:
        DataError: the manifest is missing or damaged, or has a shard outside the folder.
    """
    path = folder / MANIFEST
    try:
        manifest = json.loads(path.read_text())
        version = manifest.get("format")
    except FileNotFoundError as error:
        scenes = " (of rendered scenes, with `scenes --pack`)" if made_by == "data pack" else ""
        raise DataError(f"{folder} has no {MANIFEST}; create it with `depth_anything_ros {made_by}`{scenes}") from error
    except (OSError, ValueError, AttributeError) as error:  # AttributeError: JSON that is not an object
        raise DataError(f"{path} cannot be read: {error}; pack the set again") from error
    if version != FORMAT:
        raise DataError(f"{path} has format {version}, must be {FORMAT}; pack the set again")
    try:
        _check(manifest)
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(f"{path} is damaged: {error}; pack the set again") from error
    return manifest


def _check(manifest: Mapping[str, Any]) -> None:
    """Raise `ValueError`, `KeyError` or `TypeError` if the manifest is invalid."""
    if not isinstance(manifest["set"], str) or not isinstance(manifest["version"], str):
        raise ValueError("its set and its version must be text")
    seen: set[str] = set()
    for entry in manifest["shards"]:
        name, samples = entry["name"], entry["samples"]
        if not isinstance(name, str) or not _NAME.fullmatch(name):
            raise ValueError(f"{name!r} is not a valid shard name: it must end with .tar, and be in the folder itself")
        if name in seen:
            raise ValueError(f"it lists {name} twice")
        if type(samples) is not int or samples < 0 or type(entry["size"]) is not int:
            raise ValueError(f"samples and size of {name} must be whole numbers")
        if not isinstance(entry["sha256"], str):
            raise ValueError(f"the SHA-256 of {name} must be text")
        seen.add(name)


def verify_shards(folder: Path) -> Iterator[tuple[str, str]]:
    """Yield each shard's name and problem, "" for none. Shards missing from the manifest come last."""
    shards = read_manifest(folder)["shards"]
    for shard in shards:
        path = folder / shard["name"]
        if not path.exists():
            yield shard["name"], "is missing"
        elif path.stat().st_size != shard["size"]:
            yield shard["name"], f"has {path.stat().st_size} bytes, must have {shard['size']}"
        else:
            yield shard["name"], "" if sha256_of(path) == shard["sha256"] else "has another SHA-256"
    for name in sorted({path.name for path in folder.glob("shard-*.tar")} - {shard["name"] for shard in shards}):
        yield name, "is not in the manifest"
