"""Lists of pictures in text files, whoever wrote them: coding, ends of lines, and what is no picture."""

from __future__ import annotations

import codecs
import os
import sys
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from depth_anything_ros.data.frame import DataError
from depth_anything_ros.data.names import Seen

_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),  # before that of UTF-16, which it begins with
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_LINES_AT_ONCE = 10_000
_BYTES_AT_ONCE = 1 << 20


class PictureList(Iterator[str]):
    """What a list names, in its order, each once; read while it is asked for, since lists have tens of millions.

    It may be UTF-8, UTF-16 or UTF-32 with their marks, UTF-16 without, or in the coding of the file system. A path a
    line, from the folder that the list lies in or absolute; empty lines do not count. A line after a # is a comment,
    unless a file is called so. A path that leads nowhere is tried without quotes around it, with "/" for a backslash,
    and in the coding of Windows for Western Europe.

    ``lines``, ``comments`` and ``names`` count what has been read. Raises `DataError` for a file that is no text, or
    cannot be read.
    """

    def __init__(self, path: Path) -> None:
        self.lines = self.comments = self.names = 0
        self._path, self._folder = path, str(path.parent)
        self._found = self._look()

    def __next__(self) -> str:
        return next(self._found)

    def __str__(self) -> str:
        """Lines against pictures, "" where each line that is not empty names a picture."""
        repeated = self.lines - self.comments - self.names
        if not self.comments and not repeated:
            return ""
        return (
            f"{self.lines} lines name {self.names} pictures: {self.comments} are comments, "
            f"{repeated} name a picture again"
        )

    def _look(self) -> Iterator[str]:
        seen, lines = Seen(), _lines(self._path)
        while block := list(islice(lines, _LINES_AT_ONCE)):
            names = []
            for line in block:
                found = _found(self._folder, line)
                if found is None and line.startswith("#"):
                    self.comments += 1
                else:
                    names.append(found or line.replace("\0", "\\0"))
            self.lines += len(block)
            new = seen.new_among(names)
            self.names += len(new)
            yield from new


def _lines(path: Path) -> Iterator[str]:
    """The lines that are not empty, without space around them."""
    try:
        coding, errors = _coding(path)
        with path.open(encoding=coding, errors=errors) as file:  # which takes \r, \n and \r\n for ends of lines
            yield from filter(None, map(str.strip, file))
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror}") from error
    except UnicodeError as error:
        raise DataError(f"{path} is no list of pictures: it is no text ({error})") from error


def _coding(path: Path) -> tuple[str, str]:
    """The coding of a file, and what becomes of bytes that do not fit."""
    with path.open("rb") as file:
        start = file.read(4)
        for mark, name in _MARKS:
            if start.startswith(mark):
                return name, "surrogateescape" if name == "utf-8-sig" else "strict"
        file.seek(0)
        zeros = [0, 0]
        while content := file.read(_BYTES_AT_ONCE):
            zeros = [zeros[odd] + content[odd::2].count(0) for odd in (0, 1)]
    if any(zeros):
        return ("utf-16-le" if zeros[1] > zeros[0] else "utf-16-be"), "strict"
    return sys.getfilesystemencoding(), sys.getfilesystemencodeerrors()


def _found(folder: str, line: str) -> str | None:
    """The path that a line means, None where it leads nowhere."""
    for candidate in _readings(line):
        if os.path.exists(os.path.join(folder, candidate)):
            return candidate
    return None


def _readings(line: str) -> Iterator[str]:
    """The line itself, and what else it may mean, each once."""
    yield line
    bare = line[1:-1] if len(line) > 2 and line[0] == line[-1] and line[0] in "\"'" else line
    others = (reading for path in (bare, bare.replace("\\", "/")) for reading in (path, _in_code_page(path)))
    yield from (reading for reading in dict.fromkeys(others) if reading != line)


def _in_code_page(line: str) -> str:
    """A line whose bytes are no UTF-8, read as Windows-1252."""
    try:
        line.encode()
    except UnicodeEncodeError:
        return os.fsencode(line).decode("cp1252", "replace")
    return line
