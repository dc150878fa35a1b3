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
    """A folder of packed shards, optionally with a folder of pseudo-labels for them.

    Shards without labels, or with labels of earlier images, are skipped. ``shards`` is the number of shards with
    labels. ``all_shards`` and ``all_images`` count the folder.

    Args:
        folder: the shards.
        labels: the pseudo-labels, or None.

    Raises:
        DataError: a manifest or shard is missing, there is no sample, or the labels belong to other shards.
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
                    f"{labels} contains labels of version {made_for.get('labels_of')}, but {folder} is "
                    f"{self.version}: run label again"
                )
            self.version = f"{self.version}, labels {made_for['version']}"
        self.shards = len(shards)
        self._shards = Names(shard["name"] for shard in shards)
        self.blocks = [shard["samples"] for shard in shards]
        if not sum(self.blocks):
            raise DataError(f"{labels or folder} contains no sample")
        for one in (folder, labels) if labels is not None else (folder,):
            _check_complete(one, [shard["name"] for shard in shards])
        self.is_metric, self.annotation = self._first_is_metric_and_annotation()

    def _first_is_metric_and_annotation(self) -> tuple[bool, str]:
        """Return whether depth is metric, and the annotation, according to the first sample."""
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
        """Read one sample. A pseudo-label replaces its depth.

        Args:
            block: the shard.
            index: the sample in the shard.
            least_side: see `Source.read`.

        Raises:
            DataError: a shard is damaged.
            OSError: the disk of a shard is gone.
        """
        path, key = self._path_and_key(block, index)
        if self.labels is None:
            return read_sample(path, key, least_side)
        return read_labeled(path, self.labels / path.name, key)

    def _path_and_key(self, block: int, index: int) -> tuple[Path, str]:
        path = self.folder / self._shards[block]
        try:
            keys = keys_of(path)
        except ArchiveError as error:
            if isinstance(error.__cause__, FileNotFoundError):  # it existed: the disk is gone, and may come back
                raise OSError(errno.ESTALE, f"{path} is gone") from error
            raise
        if index >= len(keys):
            raise DataError(
                f"{path} has {len(keys)} samples, but its manifest lists {self.blocks[block]}: fetch it again"
            )
        return path, keys[index]

    def sample_name(self, block: int, index: int) -> str:
        """Return the names of folder, shard and sample.

        Args:
            block: the shard.
            index: the sample in the shard.
        """
        path, key = self._path_and_key(block, index)
        return f"{self.folder.name}/{path.name}/{key}"

    def image_file(self, block: int, index: int) -> bytes:
        """Return the image file as stored in the shard.

        Args:
            block: the shard.
            index: the sample in the shard.

        Raises:
            DataError: the sample has no image.
        """
        return image_file(*self._path_and_key(block, index))[0]

    def image_sizes(self, run: Map = map) -> Iterable[np.ndarray]:
        """Yield the sizes shard by shard, from the tar headers. ``run`` is a replacement for `map`."""
        return run(_sizes_in_shard, (self.folder / name for name in self._shards))


def _labeled(shards: Sequence[dict[str, Any]], labels: dict[str, Any], version: str) -> list[dict[str, Any]]:
    """Return the shards whose current images have labels.

    ``version`` is that of all images; a manifest of the first release has no version per shard.
    """
    of_all = {} if labels.get("labels_of") != version else {shard["name"]: shard["sha256"] for shard in shards}
    made_of = {entry["name"]: entry.get("labels_of", of_all.get(entry["name"])) for entry in labels["shards"]}
    return [shard for shard in shards if made_of.get(shard["name"]) == shard["sha256"]]


def _sizes_in_shard(path: Path) -> np.ndarray:
    """Return the size of each image in bytes, int64 (N,); empty for a damaged shard, which reading reports."""
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


def _check_complete(folder: Path, shards: Sequence[str]) -> None:
    """Raise `DataError` if a shard of the manifest is missing; the message names it."""
    # One call: checking 60 000 files one by one takes a minute on a network disk.
    present = set(with_retries(os.listdir, folder))
    if missing := [name for name in shards if name not in present]:
        raise DataError(
            f"{folder / missing[0]} is missing ({len(missing)} of {len(shards)} shards are): fetch them, or create the "
            "folder again"
        )
