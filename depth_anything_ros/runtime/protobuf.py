"""Read fields of an encoded protobuf message without its schema, and skip the rest."""

from __future__ import annotations

from collections.abc import Iterator

Message = memoryview

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5
"""Protobuf's current wire types."""


def fields(message: Message) -> Iterator[tuple[int, int | Message]]:
    """Yield the numbers and values of a message's fields. Raises ValueError or IndexError if it is cut short."""
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


def messages(message: Message, number: int) -> Iterator[Message]:
    """Yield the sub-messages, or strings, of one field.

    Args:
        message: the encoded message.
        number: of the field.
    """
    for field, value in fields(message):
        if field == number:
            if isinstance(value, int):
                raise ValueError(f"its field {number} has another type")
            yield value


def text(message: Message, number: int) -> str:
    """Return the string of one field, "" if it is missing.

    Args:
        message: the encoded message.
        number: of the field.
    """
    return next((bytes(value).decode() for value in messages(message, number)), "")


def integer(message: Message, number: int) -> int | None:
    """Return the integer of one field, which can be negative; None if it is missing.

    Args:
        message: the encoded message.
        number: of the field.
    """
    value = next((value for field, value in fields(message) if field == number and isinstance(value, int)), None)
    return value if value is None or value < 1 << 63 else value - (1 << 64)


def _varint(message: Message, position: int) -> tuple[int, int]:
    """Return an integer in 7-bit groups, least significant first, and the position after it."""
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
