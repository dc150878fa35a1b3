"""Lists of pictures in text files: encodings, line ends, and lines that are no pictures."""

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
    """The pictures of a list in order, each once.

    The list is read during iteration, because lists have tens of millions of lines.

    The file may be UTF-8, UTF-16 or UTF-32 with a byte order mark, UTF-16 without, or in the encoding of the file
    system. Each line is a path, absolute or relative to the folder of the list. Empty lines are ignored. A line that
    starts with "#" is a comment, unless such a file exists. A path that does not exist is tried without quotes, with
    "/" for backslashes, and in Windows-1252.

    Attributes:
        lines: the number of lines so far.
        comments: the number of comments so far.
        names: the number of pictures so far.

    Raises:
        DataError: the file is not text, or cannot be read.
    """

    def __init__(self, path: Path) -> None:
        self.lines = self.comments = self.names = 0
        self._path, self._folder = path, str(path.parent)
        self._found = self._look()

    def __next__(self) -> str:
        return next(self._found)

    def __str__(self) -> str:
        """Return the counts of lines and pictures, "" if each nonempty line is a different picture."""
        repeated = self.lines - self.comments - self.names
        if not self.comments and not repeated:
            return ""
        return (
            f"{self.lines} lines list {self.names} pictures: {self.comments} are comments, {repeated} repeat a picture"
        )

    def _look(self) -> Iterator[str]:
        seen, lines = Seen(), _lines(self._path)
        while block := list(islice(lines, _LINES_AT_ONCE)):
            names = []
            for line in block:
                found = _existing_path(self._folder, line)
                if found is None and line.startswith("#"):
                    self.comments += 1
                else:
                    names.append(found or line.replace("\0", "\\0"))
            self.lines += len(block)
            new = seen.new_among(names)
            self.names += len(new)
            yield from new


def _lines(path: Path) -> Iterator[str]:
    """Yield the nonempty lines without surrounding white space."""
    try:
        encoding, errors = _encoding(path)
        with path.open(encoding=encoding, errors=errors) as file:  # splits at \r, \n and \r\n
            yield from filter(None, map(str.strip, file))
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror}") from error
    except UnicodeError as error:
        raise DataError(f"{path} is not a list of pictures: it is not text ({error})") from error


def _encoding(path: Path) -> tuple[str, str]:
    """Return the encoding of a file, and the error handler for other bytes."""
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


def _existing_path(folder: str, line: str) -> str | None:
    """Return the path that a line means, or None if it does not exist."""
    for candidate in _readings(line):
        if os.path.exists(os.path.join(folder, candidate)):
            return candidate
    return None


def _readings(line: str) -> Iterator[str]:
    """Yield the line and its alternative readings, each once."""
    yield line
    bare = line[1:-1] if len(line) > 2 and line[0] == line[-1] and line[0] in "\"'" else line
    alternatives = (reading for path in (bare, bare.replace("\\", "/")) for reading in (path, _in_code_page(path)))
    yield from (reading for reading in dict.fromkeys(alternatives) if reading != line)


def _in_code_page(line: str) -> str:
    """Return a line whose bytes are not UTF-8 as Windows-1252."""
    try:
        line.encode()
    except UnicodeEncodeError:
        return os.fsencode(line).decode("cp1252", "replace")
    return line
