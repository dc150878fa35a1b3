"""Lists of pictures in text files, whoever wrote them: coding, ends of lines, and what is no picture."""

from __future__ import annotations

import codecs
import os
import re
from pathlib import Path
from typing import NamedTuple

from depth_anything_ros.data.frame import DataError

_MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),  # before that of UTF-16, which it begins with
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
_END_OF_LINE = re.compile("\r\n|\n|\r")


class PictureList(NamedTuple):
    """What a list names, in its order, each once; and how many of its lines name nothing new, by what they are."""

    names: list[str]
    lines: int
    comments: int
    repeated: int

    def __str__(self) -> str:
        """Lines against pictures, "" where each line that is not empty names a picture."""
        if not self.comments and not self.repeated:
            return ""
        return (
            f"{self.lines} lines name {len(self.names)} pictures: {self.comments} are comments, "
            f"{self.repeated} name a picture again"
        )


def read_list(path: Path) -> PictureList:
    """Reads a list with a path a line, from the folder that it lies in or absolute; empty lines do not count.

    It may be UTF-8, UTF-16 or UTF-32 with their marks, UTF-16 without, or in the coding of the file system. A line
    after a # is a comment, unless a file is called so. A path that leads nowhere is tried without quotes around it,
    with "/" for a backslash, and in the coding of Windows for Western Europe. Raises `DataError`.
    """
    lines = [line.strip() for line in _END_OF_LINE.split(_text(path)) if line.strip()]
    names, comments = {}, 0
    for line in lines:
        found = _found(path.parent, line)
        if found is None and line.startswith("#"):
            comments += 1
        else:
            names[found or line] = None
    return PictureList(list(names), len(lines), comments, len(lines) - comments - len(names))


def _text(path: Path) -> str:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror}") from error
    coding = next(((mark, name) for mark, name in _MARKS if content.startswith(mark)), None)
    try:
        if coding is not None:
            errors = "surrogateescape" if coding[1] == "utf-8" else "strict"
            return content[len(coding[0]) :].decode(coding[1], errors)
        if b"\0" in content:
            return content.decode("utf-16-le" if content[1::2].count(0) > content[::2].count(0) else "utf-16-be")
    except UnicodeDecodeError as error:
        raise DataError(f"{path} is no list of pictures: it is no text ({error})") from error
    return os.fsdecode(content)


def _found(folder: Path, line: str) -> str | None:
    """The path that a line means, None where it leads nowhere."""
    for candidate in _readings(line):
        if os.path.exists(folder / candidate):
            return candidate
    return None


def _readings(line: str) -> list[str]:
    readings = [line]
    bare = line[1:-1] if len(line) > 2 and line[0] == line[-1] and line[0] in "\"'" else line
    for reading in (bare, bare.replace("\\", "/")):
        readings += [reading, _in_code_page(reading)]
    return list(dict.fromkeys(readings))


def _in_code_page(line: str) -> str:
    """A line whose bytes are no UTF-8, read as Windows-1252."""
    try:
        line.encode()
    except UnicodeEncodeError:
        return os.fsencode(line).decode("cp1252", "replace")
    return line
