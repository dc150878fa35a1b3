"""What an .onnx file says about itself, read without any library that would run it.

A graph must be described before a backend is chosen, and an engine built from it keeps none of its metadata. Only the
few fields of ONNX's protobuf messages that are needed are decoded; weights are skipped, not read.
"""

from __future__ import annotations

import hashlib
import json
import mmap
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from depth_anything_ros.runtime.errors import ModelError
from depth_anything_ros.zoo.cache import DamagedModelError, sha256_once
from depth_anything_ros.zoo.record import leads_inside
from depth_anything_ros.zoo.seal import check_seal

WEIGHTS_KEY = "depth_anything_ros.weights"
"""Key of the metadata under which one of our graphs holds the SHA-256 of each file beside it, by name, as JSON."""

Size = tuple[int, int]
Message = memoryview

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5
"""Protobuf's wire types that are in use."""

ELEMENT_TYPES = {1: "float32", 2: "uint8", 10: "float16", 11: "float64"}
"""Names of ONNX's element types that an input may have, right or wrong."""


@dataclass(frozen=True)
class Graph:
    """A network's graph on disk.

    ``layout`` is how it wants its batch: "uint8_nhwc" (N, H, W, 3) or "float_nchw" (N, 3, H, W), as in a record's
    ``input``. ``input_size`` is the (height, width) that it takes, None where it claims to take any. ``metadata`` is
    what the file says about itself. ``weights`` are the files beside it that hold weights of its. ``batch`` is how
    many images it takes at once, None where it claims to take any number. ``outputs`` are their names in order. A
    file of bare weights is described in the same words: the network made of it takes bytes of any size, any number of
    images at once, and its one output has no name.
    """

    path: Path
    layout: str = "uint8_nhwc"
    input_size: Size | None = None
    metadata: dict[str, str] = field(default_factory=dict)
    weights: tuple[Path, ...] = ()
    batch: int | None = None
    outputs: tuple[str, ...] = ()

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
    metadata = dict(_pair(entry) for entry in _all(model, 14))
    graphs = list(_all(model, 7))
    if not graphs:
        raise ValueError("it holds no graph")
    initializers, external, inputs, outputs = set(), set(), [], []
    for number, value in _fields(graphs[0]):
        if number == 5:
            initializers.add(_text(value, 8))
            external.update(file for key, file in map(_pair, _all(value, 13)) if key == "location")
        elif number == 11:
            inputs.append(value)
        elif number == 12:
            outputs.append(_text(value, 1))
    inputs = [value for value in inputs if _text(value, 1) not in initializers]
    if len(inputs) != 1:
        raise ModelError(f"{path}: has {len(inputs)} inputs, a monocular depth network has one")
    element_type, sides = _type_and_shape(inputs[0])
    layout, size = layout_and_size(element_type, sides, path)
    weights = _weights_beside(path, external, metadata.get(WEIGHTS_KEY, "{}"))
    return Graph(path, layout, size, metadata, weights, sides[0], tuple(outputs))


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


def _type_and_shape(value_info: Message) -> tuple[str, list[int | None]]:
    """The element type of an input and its sides, None for one that is free; no sides where the rank is unknown."""
    for value_type in _all(value_info, 2):
        for tensor in _all(value_type, 1):
            element = next((value for number, value in _fields(tensor) if number == 1), 0)
            sides = [
                next((value for number, value in _fields(dimension) if number == 1 and value > 0), None)
                for shape in _all(tensor, 2)
                for dimension in _all(shape, 1)
            ]
            return ELEMENT_TYPES.get(element, f"of ONNX type {element}"), sides
    raise ValueError("its input is no tensor")


def layout_and_size(element_type: str, shape: list[int | None], path: Path) -> tuple[str, Size | None]:
    """The layout and fixed (height, width), if any, that an input asks for.

    Args:
        element_type: NumPy's name of it.
        shape: its sides; None for one that is free.
        path: for the error.

    Raises:
        ModelError: no image can be fed to such an input.
    """
    for layout, wanted, channel_axis, sides in (
        ("uint8_nhwc", "uint8", 3, slice(1, 3)),
        ("float_nchw", "float32", 1, slice(2, 4)),
    ):
        if element_type != wanted or len(shape) != 4 or shape[channel_axis] not in (3, None):
            continue
        height, width = shape[sides]
        return layout, None if height is None or width is None else (height, width)
    raise ModelError(
        f"{path}: its input is {element_type} {shape}; "
        "needed is uint8 [N, H, W, 3] or float32 [N, 3, H, W] (half-precision graphs must keep a float32 input)"
    )


def _pair(entry: Message) -> tuple[str, str]:
    """A StringStringEntryProto."""
    return _text(entry, 1), _text(entry, 2)


def _text(message: Message, number: int) -> str:
    return next((bytes(value).decode() for value in _all(message, number)), "")


def _all(message: Message, number: int) -> Iterator[Message]:
    """The sub-messages, or strings, of one field."""
    for found, value in _fields(message):
        if found == number:
            if isinstance(value, int):
                raise ValueError(f"its field {number} is of another type")
            yield value


def _fields(message: Message) -> Iterator[tuple[int, int | Message]]:
    """The numbers and values of a message's fields. Raises ValueError or IndexError where it is cut short."""
    position = 0
    while position < len(message):
        key, position = _varint(message, position)
        number, wire_type = key >> 3, key & 7
        if number == 0:
            raise ValueError("it has a field of number 0")
        if wire_type == VARINT:
            value, position = _varint(message, position)
            yield number, value
            continue
        if wire_type == BYTES:
            length, position = _varint(message, position)
        elif wire_type in (FIXED32, FIXED64):
            length = 4 if wire_type == FIXED32 else 8
        else:
            raise ValueError(f"it has a field of wire type {wire_type}")
        if position + length > len(message):
            raise ValueError("it ends in the middle of a field")
        yield number, message[position : position + length]
        position += length


def _varint(message: Message, position: int) -> tuple[int, int]:
    """An integer in 7-bit groups, least significant first, and the position behind it."""
    value = shift = 0
    while True:
        byte = message[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, position
        shift += 7
        if shift > 63:
            raise ValueError("it has a number of more than 64 bits")
