"""Path patterns of sets: find files on disk, and build the path of a related file."""

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

    A field matches a part of one name in the path, ``{folder*}`` one or more whole folders. A repeated field has the
    same text everywhere.

    Args:
        pattern: relative path, with "/" between names.
        fields: regular expressions that limit fields, such as ``{"frame": r"\d{8}"}``.
    """

    def __init__(self, pattern: str, fields: Mapping[str, str] = NOTHING) -> None:
        self.pattern = pattern
        self._limits = dict(fields)
        self._parts = pattern.split("/")
        seen: set[str] = set()
        self._whole = re.compile("/".join(self._expression(part, NOTHING, seen) for part in self._parts))

    def __repr__(self) -> str:
        return f"PathPattern({self.pattern!r})"

    @property
    def names(self) -> frozenset[str]:
        """Return the names of the fields."""
        return frozenset(name for name, _ in _FIELD.findall(self.pattern))

    def match(self, path: str) -> Fields | None:
        """Return the fields of a relative path, or None if it does not match."""
        found = self._whole.fullmatch(path)
        return None if found is None else found.groupdict()

    def path(self, fields: Mapping[str, str]) -> str:
        """Return the relative path for these fields. Raises `KeyError` if one is missing."""
        return _FIELD.sub(lambda field: fields[field[1]], self.pattern)

    def locate(self, root: Path, fields: Mapping[str, str]) -> str | None:
        """Return the first file with these fields, or None. Other fields may have any value.

        Args:
            root: the folder.
            fields: known fields.
        """
        for found in self.find(root, fields):
            return self.path(found)
        return None

    def find(self, root: Path, fields: Mapping[str, str] = NOTHING) -> Iterator[Fields]:
        """Yield the fields of each matching file, folder by folder in order.

        It lists only folders that match the pattern, so it suits trees of millions of files.

        Args:
            root: the folder.
            fields: known fields.
        """
        yield from self._find(str(root), 0, dict(fields))

    def _find(self, folder: str, depth: int, known: Fields) -> Iterator[Fields]:
        part, is_last = self._parts[depth], depth == len(self._parts) - 1
        if all(field[1] in known for field in _FIELD.finditer(part)):  # nothing to search
            name = _FIELD.sub(lambda field: known[field[1]], part)
            path = os.path.join(folder, name)
            if name.startswith(".") and not part.startswith("."):
                return  # hidden files are skipped, also if a field gives their name
            if is_last and _exists(path, stat.S_ISREG):
                yield dict(known)
            elif not is_last and _exists(path, stat.S_ISDIR):
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
        steps: tuple[str, ...],
        above: tuple[tuple[int, int], ...],
        field: str,
        depth: int,
        known: Fields,
    ) -> Iterator[Fields]:
        """Match the next part in every folder below this one; the field is the path from ``folder``."""
        identity = folder_identity(folder)
        if identity in above:  # a link leads back to its own folder
            return
        for name in _names(folder, of_files=False):
            inner, path = (*steps, name), os.path.join(folder, name)
            if re.fullmatch(self._limits.get(field, _FOLDERS), "/".join(inner)):
                yield from self._find(path, depth + 1, known | {field: "/".join(inner)})
            yield from self._find_below(path, inner, (*above, identity), field, depth, known)

    def _expression(self, part: str, known: Mapping[str, str], seen: set[str]) -> str:
        """Return a regular expression for one name of the path, with known fields filled in."""
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
                pieces.append(f"(?P<{name}>{self._limits.get(name, anything)})")
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
    """Return the identity of a folder, the same for every link to it."""
    found = os.stat(folder)
    return found.st_dev, found.st_ino


def _exists(path: str, is_kind: Callable[[int], bool]) -> bool:
    """Return whether a path exists and has this type. Raises `DataError` for a disk error."""
    try:
        return is_kind(with_retries(os.stat, path).st_mode)
    except OSError as error:
        if is_transient(error):
            raise DataError(f"cannot access {path}: {error.strerror}") from error
        return False


def _names(folder: str, of_files: bool) -> Iterator[str]:
    """Return the visible files, or folders, of a folder in order."""
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
