"""Chunks of a shard, and what becomes of one: decoded, put through the network, encoded.

Everybody who labels, one process or a cluster, calls these three functions on the same chunks; since a batch never
reaches beyond its chunk, they give the same bytes to all.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from depth_anything_ros.data.depth_codes import UNKNOWN, CodeRange, encode_inverse_depth, to_png
from depth_anything_ros.data.frame import DataError
from depth_anything_ros.data.retry import with_retries
from depth_anything_ros.data.shard_samples import shard_image
from depth_anything_ros.data.tar_members import ArchiveError
from depth_anything_ros.images.resizing import resize_image, resize_map
from depth_anything_ros.training.teachers.identity import NetworkSizes

if TYPE_CHECKING:
    from depth_anything_ros.pseudo_labels.open_teacher import OpenTeacher

IMAGE, PREDICTION = "image", "prediction"
"""What is amiss with an image that is left out: its file cannot be read, or the network gives no finite depth."""
PERCENTILES = (2.0, 98.0)
SAMPLED_SIDE = 128
"""Percentiles are taken from about so many rows and columns."""


class Refusal(NamedTuple):
    """An image that has no label. ``kind``: `IMAGE` or `PREDICTION`."""

    key: str
    kind: str
    text: str


@dataclass(frozen=True)
class Chunk:
    """Consecutive samples of a shard of images at ``path``; ``number`` counts the shard's chunks."""

    shard: str
    number: int
    path: Path
    keys: tuple[str, ...]


@dataclass(frozen=True)
class Trouble:
    """A shard that cannot be labeled, and why; takes the place of what would have become of its chunks.

    ``lasts``: whether that is for what the shard holds, and will be so as long as it holds that.
    """

    shard: str
    text: str
    lasts: bool = False


@dataclass(frozen=True)
class Decoded:
    """A chunk's images, RGB uint8 (h, w, 3), each of its network size; ``sizes``: (height, width) as stored."""

    shard: str
    number: int
    keys: list[str] = field(default_factory=list)
    sizes: list[tuple[int, int]] = field(default_factory=list)
    images: list[np.ndarray] = field(default_factory=list)
    refused: list[Refusal] = field(default_factory=list)


@dataclass(frozen=True)
class Predicted:
    """Inverse depth of a chunk's images, float32 (h, w), None where there is no number; else as `Decoded`."""

    shard: str
    number: int
    keys: list[str]
    sizes: list[tuple[int, int]]
    maps: list[np.ndarray | None]
    refused: list[Refusal]


class Label(NamedTuple):
    """What a shard of labels holds of an image: the PNG of its codes, and the JSON that describes them."""

    key: str
    png: bytes
    described: dict[str, Any]


@dataclass(frozen=True)
class Part:
    """A chunk's labels."""

    shard: str
    number: int
    labels: list[Label] = field(default_factory=list)
    refused: list[Refusal] = field(default_factory=list)

    @property
    def images(self) -> int:
        """How many images it comes from."""
        return len(self.labels) + len(self.refused)


def decode(chunk: Chunk, sizes: NetworkSizes) -> Decoded | Trouble:
    """Reads a chunk's images and resizes each to its network size; one that is no picture, or damaged, is left out.

    A shard that can no longer be read says nothing of its images: they may be whole.
    """
    decoded = Decoded(chunk.shard, chunk.number)
    for key in chunk.keys:
        try:
            image = with_retries(shard_image, chunk.path, key)
        except ArchiveError as error:
            return Trouble(chunk.shard, str(error))
        except DataError as error:
            decoded.refused.append(Refusal(key, IMAGE, str(error)))
            continue
        size = image.shape[:2]
        pixels = np.empty((*sizes.of(*size), 3), np.uint8)
        resize_image(image, pixels)
        decoded.keys.append(key)
        decoded.sizes.append(size)
        decoded.images.append(pixels)
    return decoded


def predict(decoded: Decoded, teacher: OpenTeacher, batch: int) -> Predicted:
    """Puts a chunk through the network, at most ``batch`` images of one size at once."""
    groups: dict[tuple[int, ...], list[int]] = {}
    for index, image in enumerate(decoded.images):
        groups.setdefault(image.shape, []).append(index)
    maps: list[np.ndarray | None] = [None] * len(decoded.images)
    for group in groups.values():
        for start in range(0, len(group), batch):
            indices = group[start : start + batch]
            found = teacher.predict(np.stack([decoded.images[index] for index in indices]))
            for index, values in zip(indices, found, strict=True):
                maps[index] = values
    return Predicted(decoded.shard, decoded.number, decoded.keys, decoded.sizes, maps, decoded.refused)


def encode(predicted: Predicted, at_image_size: bool) -> Part:
    """Encodes a chunk's labels; an image whose depth is not finite everywhere is left out."""
    part = Part(predicted.shard, predicted.number, refused=list(predicted.refused))
    for key, size, values in zip(predicted.keys, predicted.sizes, predicted.maps, strict=True):
        if values is None or not np.isfinite(values).all():
            part.refused.append(Refusal(key, PREDICTION, f"{predicted.shard}: depth of {key} is not finite"))
        else:
            part.labels.append(make_label(key, resize_map(values, size) if at_image_size else values))
    return part


def make_label(key: str, inverse_depth: np.ndarray) -> Label:
    """The label of one image; ``inverse_depth``: float32 (H, W), finite."""
    codes, code_range = encode_inverse_depth(inverse_depth)
    return Label(key, to_png(codes), describe(codes, code_range))


def describe(codes: np.ndarray, code_range: CodeRange) -> dict[str, Any]:
    """A label's JSON.

    ``used``: the share of the codes between the 2nd and 98th percentile: near 0 where a few pixels take the whole range
    and the rest is flat. ``saturated``: the share of pixels that are at one end of it.
    """
    rows, columns = (max(1, side // SAMPLED_SIDE) for side in codes.shape)
    low, high = np.percentile(codes[::rows, ::columns], PERCENTILES)
    first, last = UNKNOWN + 1, int(codes.max())
    saturated = max(np.count_nonzero(codes == end) for end in (first, last)) / codes.size
    return {
        "depth": code_range.to_dictionary(),
        "used": round(float(high - low) / 65533, 4),
        "saturated": round(saturated, 4),
    }


def part_to_bytes(part: Part) -> bytes:
    """A part as a file: a line of JSON, then its pictures one behind the other."""
    head = {
        **{"shard": part.shard, "number": part.number, "refused": part.refused},
        "labels": [(label.key, len(label.png), label.described) for label in part.labels],
    }
    return b"".join([json.dumps(head).encode(), b"\n", *(label.png for label in part.labels)])


def part_from_bytes(content: bytes) -> Part:
    """Reads `part_to_bytes`'s."""
    line, _, pictures = content.partition(b"\n")
    head, labels, start = json.loads(line), [], 0
    for key, length, described in head["labels"]:
        labels.append(Label(key, pictures[start : start + length], described))
        start += length
    return Part(head["shard"], head["number"], labels, [Refusal(*refusal) for refusal in head["refused"]])


def split(shard: str, path: Path, keys: Sequence[str], size: int) -> list[Chunk]:
    """A shard's samples in chunks of ``size``; of an empty one a single chunk, so that it is seen to as well."""
    starts = range(0, max(1, len(keys)), size)
    return [Chunk(shard, number, path, tuple(keys[start : start + size])) for number, start in enumerate(starts)]
