"""Nothing that is read is written over: what is to be written is compared with it before any work is done.

Links and ".." are followed.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from depth_anything_ros.data.image_set import ImageSet
from depth_anything_ros.images.file_kinds import IMAGE_SUFFIXES, VIDEO_SUFFIXES

_REPORTS = (".json", ".md")
_READ_AS_WELL = ("manifest.json", "labels.json", "record.json", "config.json", "run.json", "ddad.json")
"""Files that look like reports, and are read wherever they lie."""


class OverwritingError(ValueError):
    """What is to be written would replace what is read, or something else that is written."""


@dataclass(frozen=True)
class NamedPath:
    """What an option names; ``option``: what the option is called."""

    option: str
    path: Path
    is_folder: bool = False

    def __str__(self) -> str:
        return f"{self.option} {self.path}"


def check_inputs(outputs: Iterable[NamedPath], inputs: Sequence[NamedPath]) -> None:
    """Raises `OverwritingError` where one of the outputs is an input, or among those that lie in a folder."""
    for output in outputs:
        for given in inputs:
            if amiss := _clash(output, given.path):
                raise OverwritingError(f"{output} {amiss} {given}, which is read: give it another place")


def refuse_overwriting(option: str, folder: Path, names: Iterable[str], inputs: Iterable[Path | str | None]) -> None:
    """Raises `OverwritingError` where one of the files that a command writes into a folder is one that it reads."""
    read = [Path(given) for given in inputs if given]
    for name in names:
        for given in read:
            if is_same_file(folder / name, given):
                raise OverwritingError(
                    f"{option} {folder}: {name} would replace {given}, which is read: give the results another folder"
                )


def refuse_files_of(declared: ImageSet, root: Path, outputs: Iterable[Path | None]) -> None:
    """Raises `OverwritingError` where an output is a file of a set, named by its list or in its folder.

    Others are refused by the options alone.
    """
    there = [path for path in outputs if path and path.is_file()]
    suspects = [path for path in there if root.is_file() or _lies_in(path, root)]
    for name in declared.names(root) if suspects else ():
        for file in declared.sources(root, name):
            if any(is_same_file(output, file) for output in suspects):
                raise OverwritingError(
                    f"{file} is a file of {declared.name} in {root}, which is read: give another place"
                )


def refuse_collisions(outputs: Sequence[NamedPath]) -> None:
    """Raises `OverwritingError` where two of the outputs are one file, or one lies among the files of another."""
    for number, output in enumerate(outputs):
        for other in outputs[:number]:
            if amiss := _collision(output, other) or _collision(other, output):
                raise OverwritingError(amiss)


def is_same_file(first: Path, second: Path) -> bool:
    """Whether two paths lead to one file, or would."""
    one, other = real_path(first), real_path(second)
    if one == other:
        return True
    try:
        return os.path.isfile(one) and os.path.isfile(other) and os.path.samefile(one, other)
    except OSError:
        return False


def real_path(path: Path) -> str:
    """Where a path leads, by "~", links and ".."; links that go round in circles lead to themselves."""
    return os.path.realpath(os.path.expanduser(path))


def _lies_in(path: Path, folder: Path) -> bool:
    """Whether a path lies in a folder, or in one below."""
    return Path(real_path(folder)) in Path(real_path(path)).parents


def _clash(output: NamedPath, given: Path) -> str:
    """How an output stands to an input that it must not be; "" where nothing is lost."""
    place = real_path(given)
    if output.is_folder or not os.path.isdir(place):
        is_kept = os.path.isfile(place) or os.path.isdir(place)  # a terminal or a pipe may be read and written
        return "is" if is_kept and is_same_file(output.path, given) else ""
    if _lies_in(output.path, given):
        return "lies in" if _is_read(output.path) else ""
    return "is linked from" if _is_linked_from(place, output.path) else ""


def _is_read(path: Path) -> bool:
    """Whether a file is read, or would be the next time, by who reads the folder that it lies in."""
    suffix = path.suffix.lower()
    if suffix in IMAGE_SUFFIXES | VIDEO_SUFFIXES:
        return True
    return path.exists() and not _is_report(path)


def _is_report(path: Path) -> bool:
    """Whether a file is one that a command writes for people, and none reads, going by its name."""
    is_one = path.suffix.lower() in _REPORTS
    return is_one and path.name not in _READ_AS_WELL and not path.name.startswith("shard-")


def _is_linked_from(folder: str, file: Path) -> bool:
    """Whether a link in a folder leads to a file; reports are looked for in no folder."""
    if not file.exists() or not _is_read(file):
        return False
    for place, _, files in os.walk(folder):
        for name in files:
            path = os.path.join(place, name)
            if os.path.islink(path) and os.path.exists(path) and os.path.samefile(path, file):
                return True
    return False


def _collision(output: NamedPath, other: NamedPath) -> str:
    """What is amiss with a file and another output; "" for nothing."""
    if output.is_folder:
        return ""
    if not other.is_folder:
        return f"{output} and {other} are one file" if is_same_file(output.path, other.path) else ""
    if os.path.dirname(real_path(output.path)) != real_path(other.path):
        return ""
    if _is_report(output.path) and output.path.name != "report.json":  # which `label` writes
        return ""
    return f"{output} lies in {other}, among the files that are written there: give it another name"
