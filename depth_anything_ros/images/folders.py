"""Find files in a folder and below, with one rule for skipping, and count the skipped ones by reason."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterator
from pathlib import Path

from depth_anything_ros.images.file_kinds import IMAGE_SUFFIXES, VIDEO_SUFFIXES, FileKind, kind_of_path
from depth_anything_ros.images.sorted_names import in_order

RESULTS = "predict.json"
"""A file that `predict` writes into the folder of its results."""
_SHOWN = 3


class PassedOver:
    """A count of skipped files and folders by reason."""

    def __init__(self) -> None:
        self._names: dict[str, list[str]] = {}
        self._counts: dict[str, int] = {}

    def note(self, reason: str, name: str) -> None:
        """Count one file or folder.

        Args:
            reason: the kind of file, in the plural, such as "other files".
            name: of the file or folder.
        """
        self._counts[reason] = self._counts.get(reason, 0) + 1
        names = self._names.setdefault(reason, [])
        if len(names) < _SHOWN:
            names.append(name)

    def __str__(self) -> str:
        """Return one line, such as "hidden: 2 (.a.jpg, .b.jpg); other files: 1 (notes.txt)"; "" without any."""
        parts = []
        for reason, count in self._counts.items():
            names = ", ".join(self._names[reason])
            parts.append(f"{reason}: {count} ({names}{', …' if count > _SHOWN else ''})")
        return "; ".join(parts)


def walk_files(
    root: Path,
    passed_over: PassedOver,
    on_error: Callable[[OSError], None],
    without: Path | None = None,
) -> Iterator[Path]:
    """Yield every file under ``root``: the files of a folder in the order of their names, then its subfolders.

    It follows links. It skips hidden files and folders, result folders of `predict`, and entries that are neither file
    nor folder. It also skips a folder that it has visited before, for example in a loop of links.

    Args:
        root: the folder to walk.
        passed_over: counts the skipped entries.
        on_error: receives the error if a folder cannot be listed.
        without: a folder to skip; None for none.
    """
    left_out = None if without is None else without.resolve()
    pending, seen = [str(root)], set()
    while pending:
        folder = pending.pop()
        try:
            status = os.stat(folder)
            with os.scandir(folder) as entries:
                listed = in_order((entry.name + _letter(entry) for entry in entries), key=_name)
        except OSError as error:
            on_error(error)
            continue
        identity = status.st_dev, status.st_ino
        name = os.path.relpath(folder, root)
        if identity in seen:
            passed_over.note("folders visited before", name)
            continue
        seen.add(identity)
        if folder != str(root) and os.path.lexists(os.path.join(folder, RESULTS)):
            passed_over.note("folders of results of predict", name)
            continue
        if left_out is not None and Path(folder).resolve() == left_out:
            passed_over.note("folders for the results", name)
            continue
        below = []
        for entry in listed:
            name, letter = _name(entry), entry[-1]
            path = os.path.join(folder, name)
            if name.startswith("."):
                reason = "macOS metadata" if name.startswith("._") else "hidden"
                passed_over.note(reason, os.path.relpath(path, root))
            elif letter == _FOLDER or (letter == _OTHER and os.path.isdir(path)):
                below.append(path)
                if Path(name).suffix.lower() in IMAGE_SUFFIXES | VIDEO_SUFFIXES:
                    passed_over.note("folders named like files", os.path.relpath(path, root))
            elif letter == _FILE or os.path.isfile(path) or not os.path.exists(path):
                yield Path(path)  # including broken links: reading one reports it
            else:
                passed_over.note("neither files nor folders", os.path.relpath(path, root))
        pending += reversed(below)


_FILE, _FOLDER, _OTHER = "fdo"
"""Last letter of a listed entry. Links are resolved only when the walk reaches them."""


def _letter(entry: os.DirEntry[str]) -> str:
    if entry.is_file(follow_symlinks=False):
        return _FILE
    return _FOLDER if entry.is_dir(follow_symlinks=False) else _OTHER


def _name(listed: str) -> str:
    return listed[:-1]


_REASONS = {
    FileKind.IMAGE: "images",
    FileKind.UNREAD_IMAGE: "images",
    FileKind.VIDEO: "videos",
    FileKind.OF_SAMPLE: "depths or labels of samples",
    FileKind.OTHER: "other files",
}


def find_files(
    root: Path,
    requested: Collection[FileKind],
    passed_over: PassedOver,
    on_error: Callable[[OSError], None],
    without: Path | None = None,
) -> Iterator[tuple[Path, FileKind]]:
    """Yield the files of `walk_files` of the requested kinds, each with its kind, and count the other files.

    Args:
        root: the folder to walk.
        requested: the kinds to yield.
        passed_over: counts the skipped files.
        on_error: receives the error if a folder cannot be listed.
        without: a folder to skip; None for none.
    """
    for path in walk_files(root, passed_over, on_error, without):
        kind = kind_of_path(path)
        if kind in requested:
            yield path, kind
        else:
            passed_over.note(_REASONS[kind], str(path.relative_to(root)))
