"""The manifest of a folder of shards: which there are, of what size and SHA-256, and what could not be packed."""

from __future__ import annotations

import hashlib
import json
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
"""Version of what lies in a shard."""
_NAME = re.compile(r"(?!(manifest|labels|report)\.tar$)[^./\0][^/\0]*\.tar")
"""Names of shards: none leads out of the folder, and none has a note that is another file's."""


@dataclass(frozen=True)
class Shard:
    """One shard: its file's name, how many samples it has, its size and SHA-256, and what could not be packed."""

    name: str
    samples: int
    size: int
    sha256: str
    refused: tuple[str, ...] = ()


def shard_name(index: int) -> str:
    """The file name of a shard."""
    return f"shard-{index:06d}.tar"


def write_manifest(output: Path, described: Mapping[str, Any], entries: Sequence[Mapping[str, Any]]) -> None:
    """Writes the manifest of shards that are all there; one that says the same stays as it is."""
    path, content = output / MANIFEST, json.dumps(as_manifest(described, entries), indent=2).encode()
    if not path.exists() or path.read_bytes() != content:
        atomic_write(path, content)


def as_manifest(described: Mapping[str, Any], entries: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The content of a manifest: what is said of the whole, and the shards, as `Shard` has them."""
    hashes = "\n".join(f"{entry['name']} {entry['sha256']}" for entry in entries)
    return {
        "format": FORMAT,
        **described,
        "version": hashlib.sha256(hashes.encode()).hexdigest(),
        "samples": sum(entry["samples"] for entry in entries),
        "refused": sum(len(entry["refused"]) for entry in entries),
        "shards": list(entries),
    }


def read_manifest(folder: Path, made_by: str = "data pack") -> dict[str, Any]:
    """The manifest of a folder of shards.

    Raises `DataError`, naming the command that makes it, where there is none, and where it is damaged or names a shard
    that would lie outside of the folder.
    """
    path = folder / MANIFEST
    try:
        manifest = json.loads(path.read_text())
        version = manifest.get("format")
    except FileNotFoundError as error:
        scenes = " (of rendered scenes, with `scenes --pack`)" if made_by == "data pack" else ""
        raise DataError(f"{folder} holds no {MANIFEST}; make it with `depth_anything_ros {made_by}`{scenes}") from error
    except (OSError, ValueError, AttributeError) as error:  # AttributeError: JSON, but no object
        raise DataError(f"{path} cannot be read: {error}; pack the set anew") from error
    if version != FORMAT:
        raise DataError(f"{path} is of format {version}, must be {FORMAT}; pack the set anew")
    try:
        _check(manifest)
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(f"{path} is damaged: {error}; pack the set anew") from error
    return manifest


def _check(manifest: Mapping[str, Any]) -> None:
    """Raises `ValueError`, `KeyError` or `TypeError` for what no manifest of ours holds."""
    if not isinstance(manifest["set"], str) or not isinstance(manifest["version"], str):
        raise ValueError("its set and its version must be text")
    seen: set[str] = set()
    for entry in manifest["shards"]:
        name, samples = entry["name"], entry["samples"]
        if not isinstance(name, str) or not _NAME.fullmatch(name):
            raise ValueError(f"{name!r} cannot be a shard's name: it must end with .tar, and lie in the folder itself")
        if name in seen:
            raise ValueError(f"it names {name} twice")
        if type(samples) is not int or samples < 0 or type(entry["size"]) is not int:
            raise ValueError(f"samples and size of {name} must be whole numbers")
        if not isinstance(entry["sha256"], str):
            raise ValueError(f"the SHA-256 of {name} must be text")
        seen.add(name)


def verify_shards(folder: Path) -> Iterator[tuple[str, str]]:
    """Each shard's name, and what is wrong with it, "" for nothing; those of the manifest, then what lies beside."""
    shards = read_manifest(folder)["shards"]
    for shard in shards:
        path = folder / shard["name"]
        if not path.exists():
            yield shard["name"], "is absent"
        elif path.stat().st_size != shard["size"]:
            yield shard["name"], f"has {path.stat().st_size} bytes, must have {shard['size']}"
        else:
            yield shard["name"], "" if sha256_of(path) == shard["sha256"] else "has another SHA-256"
    for name in sorted({path.name for path in folder.glob("shard-*.tar")} - {shard["name"] for shard in shards}):
        yield name, "is not in the manifest"
