"""The seal of a file that this package writes: its own SHA-256 inside it, so that every load detects damage.

A network from a damaged file often still runs, and gives wrong depth. A sealed file contains, twice and far apart,
`MARK` and 64 hexadecimal digits: the SHA-256 of the whole file with these digits as zeros. With only one copy, damage
to the mark would make it look like a foreign file without a seal. Their position in the format does not matter, and no
library is needed to find them.
"""

from __future__ import annotations

import hashlib
import json
import mmap
import shutil
import struct
from contextlib import closing
from pathlib import Path
from typing import IO, Any

from depth_anything_ros.system.atomic_file import atomic_path
from depth_anything_ros.zoo.cache import DamagedModelError

MARK = b"depth_anything_ros.sha256:"
DIGITS = 64
BLANK = (MARK + b"0" * DIGITS).decode()
"""The text that a writer puts into a file twice, for `write_seal` to fill in."""
KEYS = ("depth_anything_ros.seal", "depth_anything_ros.seal_again")
"""Metadata keys of the two copies."""
_COPIES = 2


def check_seal(path: Path) -> bool:
    """Return whether the file is sealed.

    Raises:
        DamagedModelError: the file does not match its seal.
        OSError: the file cannot be read.
    """
    if path.stat().st_size == 0:
        return False
    with path.open("rb") as stream, closing(mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ)) as content:
        positions = _positions(content)
        if not positions:
            return False
        digits = {content[position : position + DIGITS] for position in positions}
        if len(positions) == _COPIES and digits == {_sha256(content, positions)}:
            return True
    raise DamagedModelError(
        f"{path} is damaged: its bytes do not match the SHA-256 that it contains. Fetch, copy or export it again. "
        f"If a tool has changed it on purpose, accept it with `depth_anything_ros models seal {path}`"
    )


def write_seal(path: Path) -> None:
    """Fill in the two marks of a file in place, for a file that is not yet at its final path.

    Raises:
        ValueError: the file does not contain exactly two marks.
    """
    with path.open("r+b") as stream, closing(mmap.mmap(stream.fileno(), 0)) as content:
        positions = _positions(content)
        if len(positions) != _COPIES:
            raise ValueError(f"{path} has {len(positions)} marks for its SHA-256, must have {_COPIES}")
        digits = _sha256(content, positions)
        for position in positions:
            content[position : position + DIGITS] = digits


def seal_again(path: Path) -> None:
    """Seal an .onnx or .safetensors file with its present content, atomically, whether it was sealed or not.

    Raises:
        ValueError: it is of another format, or not readable.
        OSError: it cannot be read or written.
    """
    with atomic_path(path) as partial:
        if path.suffix == ".safetensors":
            with_marks(path, partial)
        elif path.suffix == ".onnx":
            shutil.copyfile(path, partial)
            _blank_marks_of_onnx(partial)
        else:
            raise ValueError(f"{path} is neither .onnx nor .safetensors: it cannot be sealed")
        write_seal(partial)


def safetensors_header(path: Path) -> tuple[dict[str, Any], int]:
    """Return a safetensors file's header and the offset of its tensors. Needs no library.

    Raises:
        DamagedModelError: the header is not that of a complete safetensors file.
    """
    with path.open("rb") as stream:
        start = stream.read(8)
        length = struct.unpack("<Q", start)[0] if len(start) == 8 else 0
        if not 2 <= length <= path.stat().st_size - 8:
            raise DamagedModelError(f"{path} is truncated or not a safetensors file")
        try:
            header = json.loads(stream.read(length))
        except ValueError as error:
            raise DamagedModelError(f"{path} is not a safetensors file: {error}") from error
    if not isinstance(header, dict) or not isinstance(header.get("__metadata__", {}), dict):
        raise DamagedModelError(f"{path} is not a safetensors file: its header is not a JSON object")
    return header, 8 + length


def with_marks(source: Path, target: Path) -> None:
    """Copy a safetensors file with blank marks in its metadata. Entries are sorted, so equal content gives equal files.

    Args:
        source: to copy.
        target: to write.

    Raises:
        DamagedModelError: the file is not readable as safetensors.
    """
    header, position = safetensors_header(source)
    with source.open("rb") as stream, target.open("wb") as written:
        stream.seek(position)
        metadata = header.pop("__metadata__", {})
        rest = {key: metadata[key] for key in sorted(metadata) if key not in KEYS}
        header = {"__metadata__": {KEYS[0]: BLANK, **rest, KEYS[1]: BLANK}, **header}
        text = json.dumps(header, separators=(",", ":")).encode()
        text += b" " * (-len(text) % 8)  # tensors begin at multiples of 8
        written.write(struct.pack("<Q", len(text)) + text)
        shutil.copyfileobj(stream, written, 1 << 20)


def _blank_marks_of_onnx(path: Path) -> None:
    """Leave exactly two marks in an .onnx file; their digits can have any value."""
    with path.open("r+b") as stream:
        with closing(mmap.mmap(stream.fileno(), 0)) as content:
            count = len(_positions(content))
        if count > _COPIES:
            raise ValueError(f"{path} has {count} marks for its SHA-256, must have at most {_COPIES}")
        stream.seek(0, 2)
        for key in KEYS[count:]:  # protobuf allows entries of a repeated field at the end of the file
            _write_metadata(stream, key, BLANK)


def _write_metadata(stream: IO[bytes], key: str, value: str) -> None:
    """Append a `metadata_props` entry: field 14 of onnx.proto's ModelProto, a message of the strings 1 and 2."""
    entry = b"".join(_bytes_field(number, text.encode()) for number, text in ((1, key), (2, value)))
    stream.write(_bytes_field(14, entry))


def _bytes_field(number: int, content: bytes) -> bytes:
    """Encode a field of protobuf's wire type 2, shorter than 16384 bytes."""
    length = len(content)
    return bytes([number << 3 | 2, *([length & 0x7F | 0x80, length >> 7] if length > 0x7F else [length])]) + content


def _positions(content: mmap.mmap) -> list[int]:
    """Return where the digits of each mark begin. A mark without digits counts, so that the check fails."""
    positions, start = [], 0
    while (index := content.find(MARK, start)) >= 0:
        start = index + len(MARK)
        positions.append(start)
    return positions


def _sha256(content: mmap.mmap, positions: list[int]) -> bytes:
    """Return the digits for the marks. Only in a complete file does each position have room for them."""
    digest, end = hashlib.sha256(), 0
    with memoryview(content) as view:
        for position in positions:
            digest.update(view[end:position])
            digest.update(b"0" * DIGITS)
            end = position + DIGITS
        digest.update(view[end:])
    return digest.hexdigest().encode()
