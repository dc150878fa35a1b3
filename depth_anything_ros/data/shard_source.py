"""A folder of packed shards as a source of samples."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from depth_anything_ros.data.frame import PICTURE_ENDINGS, DataError, reraise_disk_error
from depth_anything_ros.data.manifest import read_manifest
from depth_anything_ros.data.names import Names
from depth_anything_ros.data.retry import with_retries
from depth_anything_ros.data.shard_samples import description_of, image_file, keys_of, read_labeled, read_sample
from depth_anything_ros.data.sources import CLASSES, METERS, RELATIVE, Map, Sample
from depth_anything_ros.data.tar_members import ArchiveError, tar_members


class ShardSource:
    """A folder of packed shards, and optionally one of pseudo-labels that were made for them.

    Shards that have no labels yet, or those of images that have changed since, are left out then: there are labels for
    ``shards`` of ``all_shards``, which hold ``all_images``. Raises `DataError` where a manifest or a shard is absent,
    there is no sample, or labels were made for other shards.
    """

    def __init__(self, folder: Path, labels: Path | None = None) -> None:
        manifest = read_manifest(folder)
        self.name = manifest["set"]
        self.version = manifest["version"]
        shards = manifest["shards"]
        self.folder, self.labels = folder, labels
        self.fields: dict[str, str] = manifest.get("fields", {})
        self.all_shards, self.all_images = len(shards), sum(shard["samples"] for shard in shards)
        if labels is not None:
            made_for = read_manifest(labels, made_by="label")
            shards = _labeled(shards, made_for, manifest["version"])
            if not shards:
                raise DataError(
                    f"{labels} holds labels of version {made_for.get('labels_of')}, {folder} is {self.version}: "
                    "label it anew"
                )
            self.version = f"{self.version}, labels {made_for['version']}"
        self.shards = len(shards)
        self._shards = Names(shard["name"] for shard in shards)
        self.blocks = [shard["samples"] for shard in shards]
        if not sum(self.blocks):
            raise DataError(f"{labels or folder} holds no sample")
        for place in (folder, labels) if labels is not None else (folder,):
            _check_all_there(place, [shard["name"] for shard in shards])
        self.is_metric, self.annotation = self._first_is_metric_and_annotation()

    def _first_is_metric_and_annotation(self) -> tuple[bool, str]:
        """As the first sample has it."""
        if self.labels is not None:
            return False, f"labels for {self.shards} of {self.all_shards} shards"
        path = self.folder / self._shards[next(block for block, samples in enumerate(self.blocks) if samples)]
        key = keys_of(path)[0]
        if f"{key}.label.png" in tar_members(path):
            return False, CLASSES
        if f"{key}.depth.png" not in tar_members(path):
            return False, ""
        is_metric = bool(description_of(path, key).get("is_metric"))
        return is_metric, METERS if is_metric else RELATIVE

    def read(self, block: int, index: int, least_side: int = 0) -> Sample:
        """One sample, with its pseudo-label in place of its depth where there are labels."""
        path, key = self._place(block, index)
        if self.labels is None:
            return read_sample(path, key, least_side)
        return read_labeled(path, self.labels / path.name, key)

    def _place(self, block: int, index: int) -> tuple[Path, str]:
        path = self.folder / self._shards[block]
        try:
            keys = keys_of(path)
        except ArchiveError as error:
            if isinstance(error.__cause__, FileNotFoundError):  # it was there: its disk is gone, and may come back
                raise OSError(errno.ESTALE, f"{path} is no longer there") from error
            raise
        if index >= len(keys):
            raise DataError(f"{path} has {len(keys)} samples, its manifest says {self.blocks[block]}: fetch it anew")
        return path, keys[index]

    def sample_name(self, block: int, index: int) -> str:
        """The folder's, the shard's and the sample's."""
        path, key = self._place(block, index)
        return f"{self.folder.name}/{path.name}/{key}"

    def image_file(self, block: int, index: int) -> bytes:
        """As it lies in the shard."""
        return image_file(*self._place(block, index))[0]

    def image_sizes(self, run: Map = map) -> Iterable[np.ndarray]:
        """Shard by shard, from their headers."""
        return run(_sizes_in_shard, (self.folder / name for name in self._shards))


def _labeled(shards: Sequence[dict[str, Any]], labels: dict[str, Any], version: str) -> list[dict[str, Any]]:
    """The shards of images that a manifest of labels has labels of: of these very images, not of earlier ones.

    ``version``: of all the images; a manifest of the first release tells of no other.
    """
    of_all = {} if labels.get("labels_of") != version else {shard["name"]: shard["sha256"] for shard in shards}
    made_of = {entry["name"]: entry.get("labels_of", of_all.get(entry["name"])) for entry in labels["shards"]}
    return [shard for shard in shards if made_of.get(shard["name"]) == shard["sha256"]]


def _sizes_in_shard(path: Path) -> np.ndarray:
    """Bytes of each sample's image, int64 (N,); none of a shard that is damaged, which reading it will name."""
    try:
        sizes = dict.fromkeys(with_retries(keys_of, path), 0)
    except DataError as error:
        reraise_disk_error(error)
        return np.zeros(0, np.int64)
    for name, (_, size) in tar_members(path).items():
        key, _, ending = name.partition(".")
        if ending in PICTURE_ENDINGS:
            sizes[key] = size
    return np.fromiter(sizes.values(), np.int64, len(sizes))


def _check_all_there(folder: Path, shards: Sequence[str]) -> None:
    """Raises `DataError`, naming a shard that a manifest lists and that is absent."""
    # One call, where a look at each of 60 000 takes a minute on a network's disk.
    there = set(with_retries(os.listdir, folder))
    if missing := [name for name in shards if name not in there]:
        raise DataError(
            f"{folder / missing[0]} is absent, as {len(missing)} of {len(shards)} shards are: fetch them, or make the "
            "folder anew"
        )
