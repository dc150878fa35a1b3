"""Read the description in an .onnx file, without a library that would run it.

A graph must be described before a backend is chosen, and an engine built from it has none of its metadata. Only the
required fields of ONNX's protobuf messages are decoded; weights are skipped.
"""

from __future__ import annotations

import hashlib
import json
import mmap
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from depth_anything_ros.runtime.errors import ModelError
from depth_anything_ros.runtime.graph_ports import (
    ACCEPTED,
    Size,
    check_takes_one,
    layout_and_size,
    map_names,
    read_port,
)
from depth_anything_ros.runtime.protobuf import Message, messages, text
from depth_anything_ros.zoo.cache import DamagedModelError, sha256_once
from depth_anything_ros.zoo.record import leads_inside
from depth_anything_ros.zoo.seal import check_seal

WEIGHTS_KEY = "depth_anything_ros.weights"
"""Metadata key of this package's graphs: the SHA-256 of each external weight file, by name, as JSON."""


@dataclass(frozen=True)
class Graph:
    """A network's graph on disk.

    A file of bare weights has the same description: its network takes bytes of any size, any number of images at once,
    and its only output has no name.

    Attributes:
        path: of the file.
        layout: of the input batch: "uint8_nhwc" (N, H, W, 3) or "float_nchw" (N, 3, H, W), like a record's ``input``.
        input_size: (height, width) of the input, None if it claims to take any.
        metadata: of the file.
        weights: external weight files in its folder.
        batch: 1 if it takes one image at once, None if it claims to take any number.
        outputs: names in order.
        maps: names of the outputs that can be a depth map by their type and shape.
    """

    path: Path
    layout: str = "uint8_nhwc"
    input_size: Size | None = None
    metadata: dict[str, str] = field(default_factory=dict)
    weights: tuple[Path, ...] = ()
    batch: int | None = None
    outputs: tuple[str, ...] = ()
    maps: tuple[str, ...] = ()

    def batch_shape(self, size: Size, count: int = 1) -> tuple[int, int, int, int]:
        """Return the shape of a batch.

        Args:
            size: (height, width) of the images.
            count: number of images.
        """
        return (count, *size, 3) if self.layout == "uint8_nhwc" else (count, 3, *size)

    @cached_property
    def sha256(self) -> str:
        """The hash of the file itself."""
        return sha256_once(self.path)

    @cached_property
    def weights_sha256(self) -> str:
        """The hash of all external weights; the hash of nothing if there are none."""
        digest = hashlib.sha256()
        for path in self.weights:
            digest.update(sha256_once(path).encode())
        return digest.hexdigest()


def read_graph(path: Path) -> Graph:
    """Read the description of an .onnx file.

    Raises:
        ModelError: the file is missing, truncated, damaged or not ONNX; or its external weights are missing or differ
            from those of the export; or its input cannot take an image.
    """
    if not path.is_file():
        raise ModelError(f"{path}: no such file")
    try:
        check_seal(path)
        with path.open("rb") as file:
            content = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        return _describe(memoryview(content), path)
    except DamagedModelError as error:
        raise ModelError(str(error)) from None
    except (ValueError, IndexError, UnicodeDecodeError) as error:
        raise ModelError(f"{path}: not a readable ONNX file, truncated or damaged: {error}") from None


def _describe(model: Message, path: Path) -> Graph:
    """Describe a ModelProto. Field numbers here and below are those of onnx.proto."""
    metadata = dict(_pair(entry) for entry in messages(model, 14))
    graphs = list(messages(model, 7))
    if not graphs:
        raise ValueError("it has no graph")
    initializers: set[str] = set()
    external: set[str] = set()
    for tensor in messages(graphs[0], 5):
        initializers.add(text(tensor, 8))
        external.update(file for key, file in map(_pair, messages(tensor, 13)) if key == "location")
    inputs = [port for port in map(read_port, messages(graphs[0], 11)) if port.name not in initializers]
    outputs = [read_port(value) for value in messages(graphs[0], 12)]
    if len(inputs) != 1:
        listed = ", ".join(f"{port.name} ({port})" for port in inputs) or "none"
        raise ModelError(f"{path}: has {len(inputs)} inputs: {listed}; {ACCEPTED}")
    layout, size = layout_and_size(inputs[0], path)
    check_takes_one(inputs[0], path)
    maps = map_names(outputs, size, path)
    weights = _external_weights(path, external, metadata.get(WEIGHTS_KEY, "{}"))
    names = tuple(port.name for port in outputs)
    batch = inputs[0].sides[0] if inputs[0].sides else None
    return Graph(path, layout, size, metadata, weights, batch, names, maps)


def _external_weights(path: Path, names: set[str], declared: str) -> tuple[Path, ...]:
    """Return the external weight files, after checking that they exist and match the hashes, if declared."""
    sha256 = json.loads(declared)
    if not isinstance(sha256, dict):
        raise ValueError(f"its metadata {WEIGHTS_KEY} is not a JSON object")
    for name in sorted(names):
        if not leads_inside(name):
            raise ModelError(
                f"{path}: its weights are in {name!r}, outside its own folder, which is not allowed; move them into it"
            )
        if not (path.parent / name).is_file():
            raise ModelError(f"{path}: its weights are in {name}, which is missing in its folder; copy it there")
        if sha256_once(path.parent / name) != sha256.get(name, sha256_once(path.parent / name)):
            raise ModelError(
                f"{path.parent / name} is damaged, or not the file that {path.name} was exported with: its SHA-256 is "
                f"not {sha256[name]}; copy or export both again"
            )
    return tuple(path.parent / name for name in sorted(names))


def _pair(entry: Message) -> tuple[str, str]:
    """Return key and value of a StringStringEntryProto."""
    return text(entry, 1), text(entry, 2)
