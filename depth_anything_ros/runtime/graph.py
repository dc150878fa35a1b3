"""What an .onnx file says about itself, read without any library that would run it.

A graph must be described before a backend is chosen, and an engine built from it keeps none of its metadata. Only the
few fields of ONNX's protobuf messages that are needed are decoded; weights are skipped, not read.
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
"""Key of the metadata under which one of our graphs holds the SHA-256 of each file beside it, by name, as JSON."""


@dataclass(frozen=True)
class Graph:
    """A network's graph on disk.

    ``layout`` is how it wants its batch: "uint8_nhwc" (N, H, W, 3) or "float_nchw" (N, 3, H, W), as in a record's
    ``input``. ``input_size`` is the (height, width) that it takes, None where it claims to take any. ``metadata`` is
    what the file says about itself. ``weights`` are the files beside it that hold weights of its. ``batch`` is 1 where
    it takes one image at once, None where it claims to take any number. ``outputs`` are their names in order, ``maps``
    of those that can be a map of depth by their type and shape. A file of bare weights is described in the same words:
    the network made of it takes bytes of any size, any number of images at once, and its one output has no name.
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
        """The shape of a batch of so many images of (height, width)."""
        return (count, *size, 3) if self.layout == "uint8_nhwc" else (count, 3, *size)

    @cached_property
    def sha256(self) -> str:
        """The hash of the file itself."""
        return sha256_once(self.path)

    @cached_property
    def weights_sha256(self) -> str:
        """The hash of all weights beside the file, that of nothing where it holds its own."""
        digest = hashlib.sha256()
        for path in self.weights:
            digest.update(sha256_once(path).encode())
        return digest.hexdigest()


def read_graph(path: Path) -> Graph:
    """Describes an .onnx file.

    Raises:
        ModelError: the file is absent, truncated, damaged or no ONNX, its weights are not beside it or others than it
            was exported with, or no image can be fed to its input.
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
    """Field numbers here and below are those of onnx.proto."""
    metadata = dict(_pair(entry) for entry in messages(model, 14))
    graphs = list(messages(model, 7))
    if not graphs:
        raise ValueError("it holds no graph")
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
    weights = _weights_beside(path, external, metadata.get(WEIGHTS_KEY, "{}"))
    names = tuple(port.name for port in outputs)
    batch = inputs[0].sides[0] if inputs[0].sides else None
    return Graph(path, layout, size, metadata, weights, batch, names, maps)


def _weights_beside(path: Path, names: set[str], told: str) -> tuple[Path, ...]:
    """The files of weights, each of which is there, and the one that the graph was exported with if it tells."""
    sha256 = json.loads(told)
    if not isinstance(sha256, dict):
        raise ValueError(f"its metadata {WEIGHTS_KEY} is no JSON object")
    for name in sorted(names):
        if not leads_inside(name):
            raise ModelError(
                f"{path}: its weights lie in {name!r}, outside of its own folder: refused; put them beside it"
            )
        if not (path.parent / name).is_file():
            raise ModelError(f"{path}: its weights lie in {name}, which is not beside it")
        if sha256_once(path.parent / name) != sha256.get(name, sha256_once(path.parent / name)):
            raise ModelError(
                f"{path.parent / name} is damaged, or not the file that {path.name} was exported with: its SHA-256 is "
                f"not {sha256[name]}; copy or export both again"
            )
    return tuple(path.parent / name for name in sorted(names))


def _pair(entry: Message) -> tuple[str, str]:
    """A StringStringEntryProto."""
    return text(entry, 1), text(entry, 2)
