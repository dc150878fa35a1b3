"""Chunks of a shard, and their steps: decode, run the network, encode.

One process and a cluster call these three functions on the same chunks. A batch never extends beyond its chunk, so all
get the same bytes.
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
"""Kinds of images without a label: the file cannot be read, or the network's depth is not finite."""
PERCENTILES = (2.0, 98.0)
SAMPLED_SIDE = 128
"""Percentiles use about this number of rows and columns."""


class Rejection(NamedTuple):
    """An image without a label. ``kind``: `IMAGE` or `PREDICTION`."""

    key: str
    kind: str
    text: str


@dataclass(frozen=True)
class Chunk:
    """Consecutive samples of the shard of images at ``path``; ``number`` counts the shard's chunks."""

    shard: str
    number: int
    path: Path
    keys: tuple[str, ...]


@dataclass(frozen=True)
class Problem:
    """A shard that cannot be labeled, and the reason; it replaces the results of the shard's chunks.

    ``is_permanent``: whether the reason is the shard's content, so that a new attempt fails again.
    """

    shard: str
    text: str
    is_permanent: bool = False


@dataclass(frozen=True)
class Decoded:
    """A chunk's images, RGB uint8 (h, w, 3) in the network's size; ``sizes``: stored (height, width)."""

    shard: str
    number: int
    keys: list[str] = field(default_factory=list)
    sizes: list[tuple[int, int]] = field(default_factory=list)
    images: list[np.ndarray] = field(default_factory=list)
    refused: list[Rejection] = field(default_factory=list)


@dataclass(frozen=True)
class Predicted:
    """Inverse depth of a chunk's images, float32 (h, w), None if all is NaN; other fields as in `Decoded`."""

    shard: str
    number: int
    keys: list[str]
    sizes: list[tuple[int, int]]
    maps: list[np.ndarray | None]
    refused: list[Rejection]


class Label(NamedTuple):
    """An image's entry in a shard of labels: the PNG of its codes, and the JSON that describes them."""

    key: str
    png: bytes
    described: dict[str, Any]


@dataclass(frozen=True)
class Part:
    """A chunk's labels."""

    shard: str
    number: int
    labels: list[Label] = field(default_factory=list)
    refused: list[Rejection] = field(default_factory=list)

    @property
    def images(self) -> int:
        """Number of images of the chunk."""
        return len(self.labels) + len(self.refused)


def decode(chunk: Chunk, sizes: NetworkSizes) -> Decoded | Problem:
    """Read a chunk's images and resize each to its network size; damaged images are left out.

    An unreadable shard is a problem, since its images may be intact.

    Args:
        chunk: the chunk.
        sizes: the network's input sizes.
    """
    decoded = Decoded(chunk.shard, chunk.number)
    for key in chunk.keys:
        try:
            image = with_retries(shard_image, chunk.path, key)
        except ArchiveError as error:
            return Problem(chunk.shard, str(error))
        except DataError as error:
            decoded.refused.append(Rejection(key, IMAGE, str(error)))
            continue
        size = image.shape[:2]
        pixels = np.empty((*sizes.of(*size), 3), np.uint8)
        resize_image(image, pixels)
        decoded.keys.append(key)
        decoded.sizes.append(size)
        decoded.images.append(pixels)
    return decoded


def predict(decoded: Decoded, teacher: OpenTeacher, batch: int) -> Predicted:
    """Run the network on a chunk.

    Args:
        decoded: the chunk's images.
        teacher: the network.
        batch: most images of one size in a batch.
    """
    groups: dict[tuple[int, ...], list[int]] = {}
    for index, image in enumerate(decoded.images):
        groups.setdefault(image.shape, []).append(index)
    maps: list[np.ndarray | None] = [None] * len(decoded.images)
    for group in groups.values():
        for start in range(0, len(group), batch):
            indices = group[start : start + batch]
            predictions = teacher.predict(np.stack([decoded.images[index] for index in indices]))
            for index, values in zip(indices, predictions, strict=True):
                maps[index] = values
    return Predicted(decoded.shard, decoded.number, decoded.keys, decoded.sizes, maps, decoded.refused)


def encode(predicted: Predicted, at_image_size: bool) -> Part:
    """Encode a chunk's labels; images with NaN or infinite depth are left out.

    Args:
        predicted: the chunk's inverse depth.
        at_image_size: whether to resize labels to the image's size.
    """
    part = Part(predicted.shard, predicted.number, refused=list(predicted.refused))
    for key, size, values in zip(predicted.keys, predicted.sizes, predicted.maps, strict=True):
        if values is None or not np.isfinite(values).all():
            part.refused.append(Rejection(key, PREDICTION, f"{predicted.shard}: depth of {key} is not finite"))
        else:
            part.labels.append(make_label(key, resize_map(values, size) if at_image_size else values))
    return part


def make_label(key: str, inverse_depth: np.ndarray) -> Label:
    """Encode the label of one image.

    Args:
        key: of the image.
        inverse_depth: float32 (H, W), finite.
    """
    codes, code_range = encode_inverse_depth(inverse_depth)
    return Label(key, to_png(codes), describe(codes, code_range))


def describe(codes: np.ndarray, code_range: CodeRange) -> dict[str, Any]:
    """Return a label's JSON.

    Its key "used" is the fraction of the codes between the 2nd and 98th percentile. It is near 0 if a few pixels take
    the whole range and the rest is flat. "saturated" is the fraction of pixels at one end of the range.

    Args:
        codes: uint16 (H, W).
        code_range: inverse depth at both ends of the codes.
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
    """Serialize a part: a line of JSON, then its pictures."""
    head = {
        **{"shard": part.shard, "number": part.number, "refused": part.refused},
        "labels": [(label.key, len(label.png), label.described) for label in part.labels],
    }
    return b"".join([json.dumps(head).encode(), b"\n", *(label.png for label in part.labels)])


def part_from_bytes(content: bytes) -> Part:
    """Deserialize a part from `part_to_bytes`."""
    line, _, pictures = content.partition(b"\n")
    head, labels, start = json.loads(line), [], 0
    for key, length, described in head["labels"]:
        labels.append(Label(key, pictures[start : start + length], described))
        start += length
    return Part(head["shard"], head["number"], labels, [Rejection(*rejection) for rejection in head["refused"]])


def split(shard: str, path: Path, keys: Sequence[str], size: int) -> list[Chunk]:
    """Split a shard's samples into chunks; an empty shard has one empty chunk, so that it is processed too.

    Args:
        shard: its name.
        path: its file.
        keys: of its samples.
        size: samples in a chunk.
    """
    starts = range(0, max(1, len(keys)), size)
    return [Chunk(shard, number, path, tuple(keys[start : start + size])) for number, start in enumerate(starts)]
