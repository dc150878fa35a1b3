"""Reading of single samples from a shard by key."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from depth_anything_ros.data.depth_codes import CodeRange, decode_inverse_depth, from_png
from depth_anything_ros.data.frame import PICTURE_ENDINGS, DataError, decode_image, decode_picture
from depth_anything_ros.data.names import Names
from depth_anything_ros.data.sources import Sample
from depth_anything_ros.data.tar_members import read_member, tar_members
from depth_anything_ros.images.resizing import resize_map


def read_sample(shard: Path, key: str, least_side: int = 0) -> Sample:
    """Read one sample of a shard, as packed by `make_sample`.

    Args:
        shard: the shard.
        key: the key of the sample.
        least_side: see `Source.read`.

    Raises:
        DataError: the sample is missing or damaged.
    """
    name, members = f"{shard.name}/{key}", tar_members(shard)
    depth = focal = None
    if f"{key}.depth.png" in members:
        described = description_of(shard, key)
        depth = _inverse_depth(shard, key, described)
        focal = tuple(described["camera"][:2]) if "camera" in described else None
    has_labels = f"{key}.label.png" in members
    labels = decode_picture(read_member(shard, f"{key}.label.png"), name) if has_labels else None
    return Sample(name, shard_image(shard, key, least_side), depth, labels, focal)


def read_labeled(shard: Path, labels: Path, key: str) -> Sample:
    """Read one image of a shard with its pseudo-label.

    Args:
        shard: the shard of the image.
        labels: the shard of the pseudo-label.
        key: the key of both.

    Raises:
        DataError: one of them is missing or damaged.
    """
    image, label = shard_image(shard, key), _inverse_depth(labels, key)
    if label.shape != image.shape[:2]:  # stored at the network's output size
        label = resize_map(label, image.shape[:2])
    return Sample(f"{shard.name}/{key}", image, label)


def shard_image(shard: Path, key: str, least_side: int = 0) -> np.ndarray:
    """Read the image of one sample.

    The image is upright according to its file. If it has depth or classes, it stays as stored, because they match the
    stored pixels. Then ``least_side`` has no effect.

    Args:
        shard: the shard.
        key: the key of the sample.
        least_side: minimum side of a reduced image, see `decode_image`.

    Returns:
        RGB uint8 (H, W, 3).

    Raises:
        DataError: the image is damaged; the message names it.
    """
    members = tar_members(shard)
    as_stored = f"{key}.depth.png" in members or f"{key}.label.png" in members
    return decode_image(*image_file(shard, key), as_stored, 0 if as_stored else least_side)


@lru_cache(maxsize=64)
def keys_of(shard: Path) -> Sequence[str]:
    """Return the keys of a shard's samples in order. Raises `DataError` if the shard is damaged."""
    return Names(dict.fromkeys(name.partition(".")[0] for name in tar_members(shard)))


def image_file(shard: Path, key: str) -> tuple[bytes, str]:
    """Return the image file of a sample and its name in messages.

    Args:
        shard: the shard.
        key: the key of the sample.

    Raises:
        DataError: the sample has no image.
    """
    for ending in PICTURE_ENDINGS:
        name = f"{key}.{ending}"
        if name in tar_members(shard):
            return read_member(shard, name), f"{shard}: {name}"
    raise DataError(f"{shard} has no image of {key}")


def _inverse_depth(shard: Path, key: str, described: Mapping[str, Any] | None = None) -> np.ndarray:
    """Decode a sample's depth. Raises `DataError` if it is missing or invalid."""
    codes = read_member(shard, f"{key}.depth.png")
    described = description_of(shard, key) if described is None else described
    try:
        return decode_inverse_depth(from_png(codes), CodeRange.from_dictionary(described["depth"]))
    except (KeyError, ValueError) as error:
        raise DataError(f"{shard}: depth of {key}: {error}") from error


def description_of(shard: Path, key: str) -> dict[str, Any]:
    """Return the JSON of a sample.

    Args:
        shard: the shard.
        key: the key of the sample.

    Raises:
        DataError: the JSON is missing or damaged.
    """
    content = read_member(shard, f"{key}.json")
    try:
        return dict(json.loads(content))
    except (TypeError, ValueError) as error:
        raise DataError(f"{shard}: {key}.json is damaged: {error}") from error
