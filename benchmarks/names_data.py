"""Sets of millions of images that need little disk: every name is real, and many names link to one picture."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path

import cv2
import numpy as np

from depth_anything_ros.data.manifest import Shard, read_manifest, shard_name, write_manifest
from depth_anything_ros.data.sets import find_set
from depth_anything_ros.data.shard_files import made_of_files
from depth_anything_ros.data.shards import pack
from depth_anything_ros.system.output_folder import SHARDS, Made, claimed

PER_FOLDER = 1000
_LINKS = 50_000
"""Maximum names per file; ext4 allows 65 000."""


def names_in(count: int, start: int = 0) -> Iterator[str]:
    """Yield names like those of ImageNet-21k, in folders of 1000.

    Args:
        count: number of names.
        start: number of the first.
    """
    for number in range(start, start + count):
        folder = f"n{number // PER_FOLDER:08d}"
        yield f"{folder}/{folder}_{number * 7919 % 10**6:06d}.JPEG"


def make_tree(folder: Path, count: int, start: int = 0) -> None:
    """Create names in folders of 1000.

    Args:
        folder: Folder of the tree.
        count: number of names.
        start: number of the first.
    """
    pictures = _pictures(folder.with_name(f"{folder.name} pictures {start}"), -(-count // _LINKS))
    last = None
    for number, name in enumerate(names_in(count, start)):
        path = f"{folder}/{name}"
        if number % PER_FOLDER == 0:
            last = os.path.dirname(path)
            os.makedirs(last)
        os.link(pictures[number // _LINKS], path)


def make_flat(folder: Path, count: int) -> None:
    """Create names in one folder.

    Args:
        folder: new folder.
        count: number of names.
    """
    pictures = _pictures(folder.with_name(f"{folder.name} pictures"), -(-count // _LINKS))
    folder.mkdir()
    for number in range(count):
        os.link(pictures[number // _LINKS], f"{folder}/{number * 7919 % 10**9:09d}.jpg")


def make_list(path: Path, tree: str, count: int) -> None:
    """Write a list of the names of a tree.

    Args:
        path: Path of the list.
        tree: folder next to the list.
        count: number of names.
    """
    with path.open("w") as file:
        file.writelines(f"{tree}/{name}\n" for name in names_in(count))


def make_shards(folder: Path, tree: Path, count: int) -> None:
    """Create shards of a tree: sidecars and manifest as of `data pack`; all tars link to that of the first 1000.

    Args:
        folder: Folder of the shards.
        tree: folder of the names.
        count: number of names.
    """
    declared = find_set("folder")
    with ThreadPoolExecutor(1) as executor:
        first = next(
            iter(pack(declared, tree, folder.with_name(f"{folder.name} first"), PER_FOLDER, executor, PER_FOLDER))
        )
    tar, shards, names = folder.with_name(f"{folder.name} first") / first.name, [], names_in(count)
    folder.mkdir()
    for number in range(count // PER_FOLDER):
        shard = Shard(shard_name(number), PER_FOLDER, first.size, first.sha256)
        os.link(tar, folder / shard.name)
        of_shard = sorted(next(names) for _ in range(PER_FOLDER))
        note = {**asdict(shard), "set": "folder", "made_of": made_of_files(declared, tree, of_shard)}
        note |= {"root": "", "names": of_shard, "refused_names": []}
        (folder / shard.name).with_suffix(".json").write_text(json.dumps(note, indent=2))
        shards.append(asdict(shard))
    described = {"set": declared.name, "title": declared.title, "terms": declared.terms}
    write_manifest(folder, described, shards)
    with claimed(folder, Made(SHARDS, f"shards of {declared.name}", "data pack")) as claim:
        claim.note({"": declared.origin(tree)}, ["manifest.json"])
    read_manifest(folder)


def _pictures(folder: Path, count: int) -> list[str]:
    """Write small JPEGs with different content, and return their paths."""
    folder.mkdir(parents=True)
    generator, paths = np.random.default_rng(abs(hash(folder.name)) % 2**32), []
    for number in range(count):
        paths.append(str(folder / f"{number}.jpg"))
        cv2.imwrite(paths[-1], generator.integers(0, 256, (32, 32, 3), np.uint8))
    return paths
