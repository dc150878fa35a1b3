"""Samples by number, from shards or from a set as it lies on disk: what training and labeling read."""

from __future__ import annotations

import errno
import json
import logging
import os
from bisect import bisect_right
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import accumulate, islice
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from depth_anything_ros.data.depth_codes import CodeRange, decode_inverse_depth, from_png
from depth_anything_ros.data.frame import (
    PICTURE_ENDINGS,
    DataError,
    LabeledImage,
    decode_image,
    decode_picture,
    raise_what_may_pass,
)
from depth_anything_ros.data.image_set import DepthSet, ImageSet, Named, SegmentationSet, readable_names
from depth_anything_ros.data.manifest import read_manifest
from depth_anything_ros.data.names import Names, once
from depth_anything_ros.data.patience import patiently
from depth_anything_ros.data.set_version import set_version
from depth_anything_ros.data.tar_members import ArchiveError, read_member, tar_members
from depth_anything_ros.images.resizing import resize_map

_log = logging.getLogger(__name__)
Map = Callable[..., Iterable[Any]]

NAMES_PER_BLOCK = 1000
"""Of a set that is not packed: images that are drawn together, like those of a shard."""
METERS, RELATIVE, CLASSES = "depth in meters", "depth up to a factor", "classes"
"""What is known of a source's images."""


@dataclass(frozen=True)
class Sample:
    """One image, RGB uint8 (H, W, 3), and what is known of its pixels.

    ``inverse_depth``: float32 (H, W), 1/m or up to a factor (of a pseudo-label: up to scale and shift), NaN where
    unknown, 0 for the sky; None where there is none. ``labels``: classes, uint8 (H, W), `IGNORED` for none; or None.
    ``focal``: fx and fy in pixels of the image, None where the source does not tell.
    """

    name: str
    image: np.ndarray
    inverse_depth: np.ndarray | None = None
    labels: np.ndarray | None = None
    focal: tuple[float, float] | None = None

    def __post_init__(self) -> None:
        """Checks that all are of one size. Raises `DataError`, naming the sample."""
        for pixels in (self.inverse_depth, self.labels):
            if pixels is not None and pixels.shape != self.image.shape[:2]:
                raise DataError(f"{self.name}: image is {self.image.shape[:2]}, what is known of it {pixels.shape}")


class EmptySetError(DataError):
    """A set has no image where it should lie."""


class Source(Protocol):
    """Samples in blocks; those of one block lie together, so that reading them one after the other is cheap."""

    name: str
    version: str
    """Tells one state of the data from another, for a run's record."""
    blocks: Sequence[int]
    """How many samples each block has."""
    is_metric: bool
    """Whether depth, where there is any, is in meters."""
    known: str
    """What is known of the images, in words; "" for nothing."""

    def read(self, block: int, index: int, least_side: int = 0) -> Sample:
        """One sample. Raises `DataError`, naming what is damaged, and `OSError` where its disk is gone.

        ``least_side``: as `decode_image` has it, of an image of which nothing is known.
        """

    def sample_name(self, block: int, index: int) -> str:
        """What messages call a sample; reads no image."""

    def image_file(self, block: int, index: int) -> bytes:
        """The content of a sample's image file. Raises `DataError` where it cannot be read."""

    def image_sizes(self, run: Map = map) -> Iterable[np.ndarray]:
        """Bytes of the image files, a block at a time: int64 (N,), 0 where that is not known without reading them.

        ``run``: another `map`, such as that of a pool of processes.
        """


def name_and_version(source: Source) -> str:
    """What tells a source, in this state of it, from any other."""
    return f"{source.name} ({source.version})"


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
        self.is_metric, self.known = self._first_is_metric_and_known()

    def _first_is_metric_and_known(self) -> tuple[bool, str]:
        """As the first sample has it."""
        if self.labels is not None:
            return False, f"labels for {self.shards} of {self.all_shards} shards"
        path = self.folder / self._shards[next(block for block, samples in enumerate(self.blocks) if samples)]
        key = keys_of(path)[0]
        if f"{key}.label.png" in tar_members(path):
            return False, CLASSES
        if f"{key}.depth.png" not in tar_members(path):
            return False, ""
        is_metric = bool(_described(path, key).get("is_metric"))
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
        return _image(*self._place(block, index))[0]

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


class SetSource:
    """A set as its owners publish it, under its folder.

    ``limit``: its first images alone; 0 for all. ``shared``: a file in which processes share what they find, see
    `once`.
    """

    def __init__(self, declared: ImageSet, root: Path, limit: int = 0, shared: Path | None = None) -> None:
        self.name = declared.name
        self.is_metric = isinstance(declared, DepthSet) and declared.is_metric
        self.fields = dict(declared.chosen)
        if isinstance(declared, DepthSet):
            self.known = METERS if self.is_metric else RELATIVE
        else:
            self.known = CLASSES if isinstance(declared, SegmentationSet) else ""
        self._declared, self._root = declared, root
        self._names, self.version = once(lambda: _look_through(declared, root, limit), shared)
        count = len(self._names)
        self.blocks = [min(NAMES_PER_BLOCK, count - start) for start in range(0, count, NAMES_PER_BLOCK)]

    def read(self, block: int, index: int, least_side: int = 0) -> Sample:
        """One sample; its image is decoded whole."""
        name = self._names[block * NAMES_PER_BLOCK + index]
        if isinstance(self._declared, DepthSet):
            frame = self._declared.read(self._root, name)
            focal = None if frame.camera is None else (frame.camera.fx, frame.camera.fy)
            return Sample(frame.name, frame.image, inverse_depth_of(frame), focal=focal)
        if isinstance(self._declared, SegmentationSet):
            image, labels = self._declared.read(self._root, name)
            return Sample(f"{self.name}/{name}", image, labels=labels)
        return Sample(f"{self.name}/{name}", self._declared.read_image(self._root, name))

    def sample_name(self, block: int, index: int) -> str:
        """The set's and the file's."""
        return f"{self.name}/{self._names[block * NAMES_PER_BLOCK + index]}"

    def image_file(self, block: int, index: int) -> bytes:
        """As `pack` would pack it."""
        return self._declared.read_file(self._root, self._names[block * NAMES_PER_BLOCK + index])[1]

    def image_sizes(self, run: Map = map) -> Iterable[np.ndarray]:
        """Of the files; by this process, for names would take longer to send to another than files to look at."""
        names = iter(self._names)
        return (_sizes_of_files(self._declared, self._root, islice(names, count)) for count in self.blocks)


def _sizes_in_shard(path: Path) -> np.ndarray:
    """Bytes of each sample's image, int64 (N,); none of a shard that is damaged, which reading it will name."""
    try:
        sizes = dict.fromkeys(patiently(keys_of, path), 0)
    except DataError as error:
        raise_what_may_pass(error)
        return np.zeros(0, np.int64)
    for name, (_, size) in tar_members(path).items():
        key, _, ending = name.partition(".")
        if ending in PICTURE_ENDINGS:
            sizes[key] = size
    return np.fromiter(sizes.values(), np.int64, len(sizes))


def _sizes_of_files(declared: ImageSet, root: Path, names: Iterable[str]) -> np.ndarray:
    """Bytes of each image's file, int64 (N,), 0 where it is absent, damaged or no file."""

    def size(name: str) -> int:
        try:
            return patiently(declared.file_size, root, name) or 0
        except DataError as error:  # which reading will name
            raise_what_may_pass(error)
            return 0

    return np.array([size(name) for name in names], np.int64)


def _look_through(declared: ImageSet, root: Path, limit: int) -> tuple[Names, str]:
    """A set's names, and its version. Raises `EmptySetError` where there are none; the log tells what was left out."""
    faults = Named()
    names = Names(islice(readable_names(declared, root, faults.add), limit or None))
    if faults.count:
        _log.warning("%s: left out %d images: %s", root, faults.count, faults)
    if not names:
        raise EmptySetError(declared.why_empty(root))
    return names, set_version(declared, root, names)


def _check_all_there(folder: Path, shards: Sequence[str]) -> None:
    """Raises `DataError`, naming a shard that a manifest lists and that is absent."""
    # One call, where a look at each of 60 000 takes a minute on a network's disk.
    there = set(patiently(os.listdir, folder))
    if missing := [name for name in shards if name not in there]:
        raise DataError(
            f"{folder / missing[0]} is absent, as {len(missing)} of {len(shards)} shards are: fetch them, or make the "
            "folder anew"
        )


def place_of(source: Source, number: int) -> tuple[int, int]:
    """Block and index of the sample of that number, counted through all blocks of a source."""
    ends = list(accumulate(source.blocks))
    block = bisect_right(ends, number)
    return block, number - (ends[block] - source.blocks[block])


def read_numbered(source: Source, number: int) -> Sample:
    """The sample of that number, counted through all blocks of a source."""
    return patiently(source.read, *place_of(source, number))


def inverse_depth_of(frame: LabeledImage) -> np.ndarray:
    """1 / depth, float32 (H, W): NaN where unknown, 0 for the sky."""
    with np.errstate(divide="ignore"):
        return (1.0 / frame.depth).astype(np.float32)


def read_sample(shard: Path, key: str, least_side: int = 0) -> Sample:
    """One sample of a shard by its key, as `make_sample` packed it; ``least_side`` as `Source.read` has it."""
    name, members = f"{shard.name}/{key}", tar_members(shard)
    depth = focal = None
    if f"{key}.depth.png" in members:
        described = _described(shard, key)
        depth = _inverse_depth(shard, key, described)
        focal = tuple(described["camera"][:2]) if "camera" in described else None
    has_labels = f"{key}.label.png" in members
    labels = decode_picture(read_member(shard, f"{key}.label.png"), name) if has_labels else None
    return Sample(name, shard_image(shard, key, least_side), depth, labels, focal)


def read_labeled(shard: Path, labels: Path, key: str) -> Sample:
    """One image of a shard, with its pseudo-label from the shard of ``labels``."""
    image, label = shard_image(shard, key), _inverse_depth(labels, key)
    if label.shape != image.shape[:2]:  # stored at the size that the network gave it
        label = resize_map(label, image.shape[:2])
    return Sample(f"{shard.name}/{key}", image, label)


def shard_image(shard: Path, key: str, least_side: int = 0) -> np.ndarray:
    """The image of one sample of a shard, RGB uint8 (H, W, 3). Raises `DataError`, naming it, where it is damaged.

    Upright, as its file says, unless depth or classes lie on the stored pixels; where they do not, smaller if
    ``least_side`` allows it, as `decode_image` has it.
    """
    members = tar_members(shard)
    as_stored = f"{key}.depth.png" in members or f"{key}.label.png" in members
    return decode_image(*_image(shard, key), as_stored, 0 if as_stored else least_side)


@lru_cache(maxsize=64)
def keys_of(shard: Path) -> Sequence[str]:
    """The keys of a shard's samples in order. Raises `DataError` where the shard is damaged."""
    return Names(dict.fromkeys(name.partition(".")[0] for name in tar_members(shard)))


def _image(shard: Path, key: str) -> tuple[bytes, str]:
    """The image's file and what to call it."""
    for ending in PICTURE_ENDINGS:
        name = f"{key}.{ending}"
        if name in tar_members(shard):
            return read_member(shard, name), f"{shard}: {name}"
    raise DataError(f"{shard} has no image of {key}")


def _inverse_depth(shard: Path, key: str, described: Mapping[str, Any] | None = None) -> np.ndarray:
    """Decodes a sample's depth. Raises `DataError` where it is absent or no depth of ours."""
    codes = read_member(shard, f"{key}.depth.png")
    described = _described(shard, key) if described is None else described
    try:
        return decode_inverse_depth(from_png(codes), CodeRange.from_dictionary(described["depth"]))
    except (KeyError, ValueError) as error:
        raise DataError(f"{shard}: depth of {key}: {error}") from error


def _described(shard: Path, key: str) -> dict[str, Any]:
    """A sample's JSON. Raises `DataError` where it is absent or damaged."""
    content = read_member(shard, f"{key}.json")
    try:
        return dict(json.loads(content))
    except (TypeError, ValueError) as error:
        raise DataError(f"{shard}: {key}.json is damaged: {error}") from error
