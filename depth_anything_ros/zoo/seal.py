"""The seal of a file that this package writes: its own SHA-256 within it, so that damage is seen at every load.

A network whose file was damaged on its way often still runs, and gives wrong depth. A sealed file holds, twice and far
apart, `MARK` and 64 hexadecimal digits: the SHA-256 of the whole file with these digits as zeros. Twice, because damage
to the mark itself would otherwise make it a file of somebody else's, which has none. Where they lie in the format does
not matter; no library is needed to look.
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
"""What a writer puts into a file, twice, for `write_seal` to fill in."""
KEYS = ("depth_anything_ros.seal", "depth_anything_ros.seal_again")
"""Under which they lie in metadata."""
_COPIES = 2


def check_seal(path: Path) -> bool:
    """Whether the file is sealed.

    Raises:
        DamagedModelError: it was, and is not as it was written.
        OSError: it cannot be read.
    """
    if path.stat().st_size == 0:
        return False
    with path.open("rb") as stream, closing(mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ)) as content:
        places = _places(content)
        if not places:
            return False
        digits = {content[place : place + DIGITS] for place in places}
        if len(places) == _COPIES and digits == {_sha256(content, places)}:
            return True
    raise DamagedModelError(
        f"{path} is damaged: its bytes are not those that were written, whose SHA-256 it holds. Fetch, copy or export "
        f"it again. If a tool has changed it on purpose, `depth_anything_ros models seal {path}` takes it as it is now"
    )


def write_seal(path: Path) -> None:
    """Fills the two marks of a file in, in place: for files that are still to be moved where they belong.

    Raises:
        ValueError: the file does not hold two marks.
    """
    with path.open("r+b") as stream, closing(mmap.mmap(stream.fileno(), 0)) as content:
        places = _places(content)
        if len(places) != _COPIES:
            raise ValueError(f"{path} holds {len(places)} marks for its SHA-256, must hold {_COPIES}")
        digits = _sha256(content, places)
        for place in places:
            content[place : place + DIGITS] = digits


def seal_again(path: Path) -> None:
    """Seals an .onnx or .safetensors file as it is now, whether it was sealed or not; whole or not at all.

    Raises:
        ValueError: it is neither, or not readable as such.
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
    """A safetensors file's header, read without any library, and where its tensors begin.

    Raises:
        DamagedModelError: it is not the header of a whole safetensors file.
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
        raise DamagedModelError(f"{path} is not a safetensors file: its header is no JSON object")
    return header, 8 + length


def with_marks(source: Path, target: Path) -> None:
    """Copies a safetensors file and puts blank marks into its metadata; entries are sorted, so that files are equal.

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
    """Leaves exactly two marks in an .onnx file, whose digits may be anything."""
    with path.open("r+b") as stream:
        with closing(mmap.mmap(stream.fileno(), 0)) as content:
            found = len(_places(content))
        if found > _COPIES:
            raise ValueError(f"{path} holds {found} marks for its SHA-256, {_COPIES} at most are known what to do with")
        stream.seek(0, 2)
        for key in KEYS[found:]:  # a field that is repeated, such as metadata, may be continued at the end of a message
            _write_metadata(stream, key, BLANK)


def _write_metadata(stream: IO[bytes], key: str, value: str) -> None:
    """Appends a `metadata_props` entry: field 14 of onnx.proto's ModelProto, a message of the strings 1 and 2."""
    entry = b"".join(_bytes_field(number, text.encode()) for number, text in ((1, key), (2, value)))
    stream.write(_bytes_field(14, entry))


def _bytes_field(number: int, content: bytes) -> bytes:
    """A field of protobuf's wire type 2, of less than 16384 bytes."""
    length = len(content)
    return bytes([number << 3 | 2, *([length & 0x7F | 0x80, length >> 7] if length > 0x7F else [length])]) + content


def _places(content: mmap.mmap) -> list[int]:
    """Where the digits of each mark begin; a mark that does not have them counts, and will not fit."""
    places, start = [], 0
    while (found := content.find(MARK, start)) >= 0:
        start = found + len(MARK)
        places.append(start)
    return places


def _sha256(content: mmap.mmap, places: list[int]) -> bytes:
    """The digits that belong at the places, each of which has room for them only in a whole file."""
    digest, position = hashlib.sha256(), 0
    with memoryview(content) as view:
        for place in places:
            digest.update(view[position:place])
            digest.update(b"0" * DIGITS)
            position = place + DIGITS
        digest.update(view[position:])
    return digest.hexdigest().encode()
