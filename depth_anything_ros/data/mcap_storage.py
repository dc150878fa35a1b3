"""Large messages written to a .mcap file without copies. rosbags copies each message four times on its way."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from io import BytesIO
from typing import Any

LARGE = 1 << 16
"""Bytes from which a message is written by itself."""
_CHUNK, _MESSAGE, _INDEX = 0x06, 0x05, 0x07
"""Kinds of records, see https://mcap.dev/spec."""
_USED = ("bio", "chunk", "chunks", "close_chunk", "channel_stats", "message_start_time", "message_end_time")
"""What is used of rosbags' writer."""


@dataclass(frozen=True)
class SerializedMessage:
    """A serialized message whose largest field is still where it was computed.

    Attributes:
        head: the bytes before that field's content.
        content: of the field, contiguous bytes.
        tail: the bytes after it.
    """

    head: bytes | memoryview
    content: memoryview
    tail: bytes = b""

    def __len__(self) -> int:
        return len(self.head) + len(self.content) + len(self.tail)

    def __bytes__(self) -> bytes:
        return b"".join((self.head, self.content, self.tail))


Message = bytes | memoryview | SerializedMessage


def without_copies(storage: type) -> type:
    """Return rosbags' writer of .mcap files with a faster `write`.

    Args:
        storage: the class `rosbags.rosbag2.storage_mcap.McapWriter`.
    """

    class Storage(storage):  # type: ignore[misc,valid-type]
        """Writes a large message as a chunk of its own."""

        def write(self, connection: Any, timestamp: int, data: Message) -> None:
            """Write a message; see rosbags."""
            known = all(hasattr(self, name) for name in _USED) and getattr(self, "compression", None) == ""
            if len(data) < LARGE or not known:
                super().write(connection, timestamp, bytes(data) if isinstance(data, SerializedMessage) else data)
                return
            if self.chunk.bio.tell():
                self.close_chunk()
            self.message_start_time = min(timestamp, self.message_start_time)
            self.message_end_time = max(timestamp, self.message_end_time)
            self.channel_stats[connection.id] += 1
            self.chunks.append(_write_chunk(self.bio, connection.id, timestamp, data))

    return Storage


def _write_chunk(file: Any, channel: int, time: int, data: Message) -> BytesIO:
    """Write an uncompressed chunk of one message with its index, and return the record for the file's summary."""
    message = struct.pack("<BQHIQQ", _MESSAGE, 22 + len(data), channel, 0, time, time)
    size = len(message) + len(data)
    head = struct.pack("<QQQIIQ", time, time, size, 0, 0, size)  # no checksum; compression ""
    start = file.tell()
    file.write(struct.pack("<BQ", _CHUNK, len(head) + size) + head + message)
    for part in (data.head, data.content, data.tail) if isinstance(data, SerializedMessage) else (data,):
        file.write(part)
    end = file.tell()
    index = struct.pack("<HIQQ", channel, 16, time, 0)
    file.write(struct.pack("<BQ", _INDEX, len(index)) + index)
    record = BytesIO()
    record.write(struct.pack("<QQQQ", time, time, start, end - start))
    record.write(struct.pack("<IHQ", 10, channel, end))
    record.write(struct.pack("<QIQQ", file.tell() - end, 0, size, size))
    return record  # rosbags takes its length from its position
