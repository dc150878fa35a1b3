"""What lies in a folder and in those below: one rule for whoever reads folders, and a word on what it passes over."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterator
from pathlib import Path

from depth_anything_ros.images.file_kinds import IMAGE_SUFFIXES, VIDEO_SUFFIXES, FileKind, kind_of_path
from depth_anything_ros.images.sorted_names import in_order

RESULTS = "predict.json"
"""Lies in a folder that `predict` has written into."""
_NAMES_SAID = 3


class PassedOver:
    """Counts what is passed over, by reason."""

    def __init__(self) -> None:
        self._names: dict[str, list[str]] = {}
        self._counts: dict[str, int] = {}

    def note(self, reason: str, name: str) -> None:
        """Counts one; ``reason`` says in the plural what it is."""
        self._counts[reason] = self._counts.get(reason, 0) + 1
        names = self._names.setdefault(reason, [])
        if len(names) < _NAMES_SAID:
            names.append(name)

    def __str__(self) -> str:
        """All in a line, such as "hidden: 2 (.a.jpg, .b.jpg); other files: 1 (notes.txt)"; "" for nothing."""
        said = []
        for reason, count in self._counts.items():
            names = ", ".join(self._names[reason])
            said.append(f"{reason}: {count} ({names}{', …' if count > _NAMES_SAID else ''})")
        return "; ".join(said)


def walk_files(
    root: Path,
    passed_over: PassedOver,
    on_error: Callable[[OSError], None],
    without: Path | None = None,
) -> Iterator[Path]:
    """Every file under ``root``, folder by folder: the files of one in the order of their names, then what is below.

    Links are followed; a folder that is met again, by a loop of links or otherwise, is left out. So are what is hidden,
    folders of results of `predict`, the folder ``without``, and what is neither file nor folder; ``passed_over`` counts
    them. ``on_error`` is told of a folder that cannot be listed.
    """
    left_out = None if without is None else without.resolve()
    pending, seen = [str(root)], set()
    while pending:
        folder = pending.pop()
        try:
            found = os.stat(folder)
            with os.scandir(folder) as entries:
                listed = in_order((entry.name + _letter(entry) for entry in entries), key=_name)
        except OSError as error:
            on_error(error)
            continue
        identity = found.st_dev, found.st_ino
        name = os.path.relpath(folder, root)
        if identity in seen:
            passed_over.note("folders that were met before", name)
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
                reason = "what macOS leaves beside files" if name.startswith("._") else "hidden"
                passed_over.note(reason, os.path.relpath(path, root))
            elif letter == _FOLDER or (letter == _OTHER and os.path.isdir(path)):
                below.append(path)
                if Path(name).suffix.lower() in IMAGE_SUFFIXES | VIDEO_SUFFIXES:
                    passed_over.note("folders named like files", os.path.relpath(path, root))
            elif letter == _FILE or os.path.isfile(path) or not os.path.exists(path):
                yield Path(path)  # or a link to nothing: whoever reads it will say so
            else:
                passed_over.note("neither files nor folders", os.path.relpath(path, root))
        pending += reversed(below)


_FILE, _FOLDER, _OTHER = "fdo"
"""Letters behind a name in a listing; what a link leads to is looked at when its turn comes."""


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
    """The files of `walk_files` that are of the kinds that are wanted, each with its kind; the others are counted."""
    for path in walk_files(root, passed_over, on_error, without):
        kind = kind_of_path(path)
        if kind in requested:
            yield path, kind
        else:
            passed_over.note(_REASONS[kind], str(path.relative_to(root)))
