"""Where the files of a set lie, as one pattern: found on disk from it, and built from it for the file beside."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from depth_anything_ros.data.frame import DataError
from depth_anything_ros.data.retry import is_transient, with_retries
from depth_anything_ros.images.sorted_names import in_order

_FIELD = re.compile(r"\{(\w+)(\*?)\}")
_FOLDERS = "[^/]+(?:/[^/]+)*"
NOTHING: Mapping[str, str] = {}

Fields = dict[str, str]


class PathPattern:
    r"""A path with fields, such as ``{scene}/rgb/{frame}.png``.

    A field stands for a part of one name in the path, ``{folder*}`` for one or more whole folders; both for the same
    text wherever they stand again.

    Args:
        pattern: relative, with "/" between names.
        fields: regular expressions for fields that are not just anything, such as ``{"frame": r"\d{8}"}``.
    """

    def __init__(self, pattern: str, fields: Mapping[str, str] = NOTHING) -> None:
        self.pattern = pattern
        self._narrowed = dict(fields)
        self._parts = pattern.split("/")
        seen: set[str] = set()
        self._whole = re.compile("/".join(self._expression(part, NOTHING, seen) for part in self._parts))

    def __repr__(self) -> str:
        return f"PathPattern({self.pattern!r})"

    @property
    def names(self) -> frozenset[str]:
        """The names of its fields."""
        return frozenset(name for name, _ in _FIELD.findall(self.pattern))

    def match(self, path: str) -> Fields | None:
        """The fields of a relative path, None where it is none of this pattern."""
        found = self._whole.fullmatch(path)
        return None if found is None else found.groupdict()

    def path(self, fields: Mapping[str, str]) -> str:
        """The relative path with these fields filled in. Raises `KeyError` for one that is missing."""
        return _FIELD.sub(lambda field: fields[field[1]], self.pattern)

    def locate(self, root: Path, fields: Mapping[str, str]) -> str | None:
        """The first file with these fields, whatever the others are; None where there is none."""
        for found in self.find(root, fields):
            return self.path(found)
        return None

    def find(self, root: Path, fields: Mapping[str, str] = NOTHING) -> Iterator[Fields]:
        """The fields of every file under ``root`` that fits, with ``fields`` given, folder by folder in order.

        Looks into those folders only that the pattern names, so that it suits trees of millions of files.
        """
        yield from self._find(str(root), 0, dict(fields))

    def _find(self, folder: str, depth: int, known: Fields) -> Iterator[Fields]:
        part, is_last = self._parts[depth], depth == len(self._parts) - 1
        if all(field[1] in known for field in _FIELD.finditer(part)):  # nothing to look for
            name = _FIELD.sub(lambda field: known[field[1]], part)
            path = os.path.join(folder, name)
            if name.startswith(".") and not part.startswith("."):
                return  # hidden files are left out, however their names come about
            if is_last and _is_there(path, stat.S_ISREG):
                yield dict(known)
            elif not is_last and _is_there(path, stat.S_ISDIR):
                yield from self._find(path, depth + 1, known)
        elif part.endswith("*}"):
            yield from self._find_below(folder, (), (), _FIELD.fullmatch(part)[1], depth, known)
        else:
            expression = re.compile(self._expression(part, known, set()))
            for name in _names(folder, of_files=is_last):
                found = expression.fullmatch(name)
                if found is not None and is_last:
                    yield known | found.groupdict()
                elif found is not None:
                    yield from self._find(os.path.join(folder, name), depth + 1, known | found.groupdict())

    def _find_below(
        self,
        folder: str,
        way: tuple[str, ...],
        above: tuple[tuple[int, int], ...],
        field: str,
        depth: int,
        known: Fields,
    ) -> Iterator[Fields]:
        """Goes on with the next part in every folder below this one, each time with the way there as the field."""
        identity = folder_identity(folder)
        if identity in above:  # a link leads back to where it hangs
            return
        for name in _names(folder, of_files=False):
            way_there, path = (*way, name), os.path.join(folder, name)
            if re.fullmatch(self._narrowed.get(field, _FOLDERS), "/".join(way_there)):
                yield from self._find(path, depth + 1, known | {field: "/".join(way_there)})
            yield from self._find_below(path, way_there, (*above, identity), field, depth, known)

    def _expression(self, part: str, known: Mapping[str, str], seen: set[str]) -> str:
        """A regular expression for one name of the path, in which known fields are what they are."""
        pieces, end = [], 0
        for field in _FIELD.finditer(part):
            pieces.append(re.escape(part[end : field.start()]))
            name, end = field[1], field.end()
            if name in known:
                pieces.append(re.escape(known[name]))
            elif name in seen:
                pieces.append(f"(?P={name})")
            else:
                seen.add(name)
                anything = _FOLDERS if field[2] else "[^/]+"
                pieces.append(f"(?P<{name}>{self._narrowed.get(name, anything)})")
        return "".join([*pieces, re.escape(part[end:])])


def check_expression(name: str, expression: str) -> re.Pattern[str]:
    """Compile the regular expression for a field.

    Args:
        name: the field.
        expression: the regular expression.

    Raises:
        DataError: the expression is invalid; the message names the field.
    """
    try:
        return re.compile(expression)
    except re.error as error:
        raise DataError(f"{name}: {expression!r} is not a valid regular expression: {error}") from error


def folder_identity(folder: str) -> tuple[int, int]:
    """What a folder has in common with every link to it, and with nothing else."""
    found = os.stat(folder)
    return found.st_dev, found.st_ino


def _is_there(path: str, is_kind: Callable[[int], bool]) -> bool:
    """Whether there is a file, or a folder, of this path; a disk that fails does not make it absent."""
    try:
        return is_kind(with_retries(os.stat, path).st_mode)
    except OSError as error:
        if is_transient(error):
            raise DataError(f"cannot look at {path}: {error.strerror}") from error
        return False


def _names(folder: str, of_files: bool) -> Iterator[str]:
    """What lies in a folder, in order: the files of it, or the folders. Hidden ones are left out."""
    try:
        return with_retries(_listed, folder, of_files)
    except OSError as error:
        raise DataError(f"cannot list {folder}: {error.strerror}") from error


def _listed(folder: str, of_files: bool) -> Iterator[str]:
    with os.scandir(folder) as entries:
        return in_order(
            entry.name
            for entry in entries
            if not entry.name.startswith(".") and (entry.is_file() if of_files else entry.is_dir())
        )
