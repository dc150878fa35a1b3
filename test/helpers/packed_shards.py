"""Shards that tests pack, and their content."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import webdataset

from depth_anything_ros.data.image_set import ImageSet
from depth_anything_ros.data.manifest import Shard
from depth_anything_ros.data.shards import pack


def packed(
    declared: ImageSet, root: Path, output: Path, per_shard: int = 2, threads: int = 2, limit: int = 0
) -> list[Shard]:
    """Pack with threads instead of processes, which gives the same shards."""
    with ThreadPoolExecutor(threads) as executor:
        return list(pack(declared, root, output, per_shard, executor, limit))


def contents(folder: Path) -> dict[str, bytes]:
    """All files but the notes, which contain times and paths."""
    files = [path for path in shown(folder) if not (path.name.startswith("shard-") and path.suffix == ".json")]
    return {path.name: path.read_bytes() for path in files}


def shown(folder: Path) -> list[Path]:
    """The visible files in a folder, in order."""
    return [path for path in sorted(folder.iterdir()) if not path.name.startswith(".")]


def samples_of(folder: Path) -> Iterator[dict[str, Any]]:
    """The samples that webdataset reads from the shards, in order."""
    shards = sorted(str(path) for path in folder.glob("*.tar"))
    yield from webdataset.WebDataset(shards, shardshuffle=False)


def remove(path: Path) -> None:
    path.unlink()


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:700])


def alter(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[600] ^= 1
    path.write_bytes(content)
