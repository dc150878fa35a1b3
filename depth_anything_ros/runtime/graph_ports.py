"""Read the inputs and outputs of an ONNX graph, and check whether they can be an image and a map."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from depth_anything_ros.runtime.errors import ModelError
from depth_anything_ros.runtime.protobuf import Message, integer, messages, text

Size = tuple[int, int]

ELEMENT_TYPES = {
    **{1: "float32", 2: "uint8", 3: "int8", 4: "uint16", 5: "int16", 6: "int32", 7: "int64", 8: "string", 9: "bool"},
    **{10: "float16", 11: "float64", 12: "uint32", 13: "uint64", 16: "bfloat16"},
}
"""Names of ONNX's element types by their codes."""

NO_TENSOR = "no tensor"

NUMBERS = ("float16", "float32", "float64", "uint8", "uint16", "int16", "int32", "int64")
"""Element types that a depth map may have; it is converted to float32."""

ACCEPTED = (
    "an image network takes one input, uint8 [N, H, W, 3] or float32 [N, 3, H, W], with N 1 or free, H and W both "
    "fixed or both free"
)


@dataclass(frozen=True)
class Port:
    """An input or output of a graph.

    Attributes:
        name: of the port.
        element_type: a value of `ELEMENT_TYPES`, or other text.
        sides: of its shape, None for a free side; None for a shape of unknown rank.
    """

    name: str
    element_type: str
    sides: tuple[int | None, ...] | None

    def __str__(self) -> str:
        if self.element_type == NO_TENSOR:
            return NO_TENSOR
        if self.sides is None:
            return f"{self.element_type} of unknown shape"
        return f"{self.element_type} [{', '.join('?' if side is None else str(side) for side in self.sides)}]"


def read_port(value_info: Message) -> Port:
    """Read a port from onnx.proto's ValueInfoProto, with its field numbers."""
    name = text(value_info, 1)
    for value_type in messages(value_info, 2):
        for tensor in messages(value_type, 1):
            code = integer(tensor, 1) or 0
            shape = next(messages(tensor, 2), None)
            sides = None if shape is None else tuple(_side(dimension) for dimension in messages(shape, 1))
            return Port(name, ELEMENT_TYPES.get(code, f"of ONNX type {code}"), sides)
    return Port(name, NO_TENSOR, None)


def _side(dimension: Message) -> int | None:
    """Return a side's length, None for a free one, for which exporters also write -1."""
    value = integer(dimension, 1)
    return None if value is None or value < 0 else value


def layout_and_size(port: Port, path: Path) -> tuple[str, Size | None]:
    """Return the layout and the fixed (height, width), if any, of an image input.

    Args:
        port: the input.
        path: of the graph, for the message.

    Raises:
        ModelError: it cannot take an image.
    """
    sides = port.sides or ()
    for layout, requested, channel_axis, image_axes in (
        ("uint8_nhwc", "uint8", 3, (1, 2)),
        ("float_nchw", "float32", 1, (2, 3)),
    ):
        if port.element_type != requested or len(sides) != 4 or sides[channel_axis] not in (3, None) or 0 in sides:
            continue
        height, width = (sides[axis] for axis in image_axes)
        if (height is None) == (width is None):
            return layout, None if height is None or width is None else (height, width)
    raise ModelError(f"{path}: its input is {port}; {ACCEPTED}{_hint(port)}")


def check_takes_one(port: Port, path: Path) -> None:
    """Check that an image input can take one image.

    Args:
        port: the input.
        path: of the graph, for the message.

    Raises:
        ModelError: it takes only another number of images.
    """
    if port.sides and port.sides[0] not in (1, None):
        raise ModelError(
            f"{path}: it takes exactly {port.sides[0]} images at once (its input is {port}); export it for one image, "
            "or with a free first axis"
        )


def _hint(port: Port) -> str:
    if port.element_type == "float16":
        return ". Half-precision graphs must keep a float32 input (keep_io_types)"
    return ""


def map_names(outputs: Sequence[Port], size: Size | None, path: Path) -> tuple[str, ...]:
    """Return the names of the outputs that can be a map with one number per pixel, in order.

    Args:
        outputs: of the graph.
        size: (height, width) of the input, if fixed.
        path: of the graph, for the message.

    Raises:
        ModelError: there is none.
    """
    names = tuple(port.name for port in outputs if _can_be_map(port, size))
    if not names:
        listed = ", ".join(f"{port.name} ({port})" for port in outputs) or "there are none"
        raise ModelError(
            f"{path}: none of its outputs can be a depth map: {listed}; it must return [N, H, W] or [N, 1, H, W] "
            "numbers, with N, H and W of the input"
        )
    return names


def _can_be_map(port: Port, size: Size | None) -> bool:
    """Return whether a port's known type and shape allow a map."""
    if port.element_type not in NUMBERS:
        return False
    if port.sides is None:
        return True
    shapes: list[tuple[int | None, ...]] = [port.sides] if len(port.sides) == 3 else []
    if len(port.sides) == 4:
        shapes = [port.sides[:axis] + port.sides[axis + 1 :] for axis in (1, 3) if port.sides[axis] in (1, None)]
    return any(_fits(shape, size) for shape in shapes)


def _fits(shape: tuple[int | None, ...], size: Size | None) -> bool:
    """Return whether (N, h, w) can be the map of one image of that size."""
    requested = (1, *size) if size else (1, None, None)
    return all(None in (side, expected) or side == expected for side, expected in zip(shape, requested, strict=True))
