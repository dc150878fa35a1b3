"""Checks that outputs do not overwrite inputs, before any work. Links and ".." are followed."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from depth_anything_ros.images.file_kinds import IMAGE_SUFFIXES, VIDEO_SUFFIXES

if TYPE_CHECKING:
    from depth_anything_ros.data.image_set import ImageSet

_REPORTS = (".json", ".md")
_INPUT_REPORTS = ("manifest.json", "labels.json", "record.json", "config.json", "run.json", "ddad.json")
"""Files that look like reports, but are inputs in any folder."""


class OverwritingError(ValueError):
    """An output would replace an input or another output."""


@dataclass(frozen=True)
class NamedPath:
    """The path of an option.

    Attributes:
        option: the name of the option.
        path: its value.
        is_folder: whether it is a folder.
    """

    option: str
    path: Path
    is_folder: bool = False

    def __str__(self) -> str:
        return f"{self.option} {self.path}"


def check_inputs(outputs: Iterable[NamedPath], inputs: Sequence[NamedPath]) -> None:
    """Check that no output is an input, or is inside an input folder.

    Args:
        outputs: the outputs.
        inputs: the inputs.

    Raises:
        OverwritingError: an output would overwrite an input.
    """
    for output in outputs:
        for given in inputs:
            if relation := _clash(output, given.path):
                raise OverwritingError(f"{output} {relation} {given}, which is an input: choose another path")


def refuse_overwriting(option: str, folder: Path, names: Iterable[str], inputs: Iterable[Path | str | None]) -> None:
    """Check that the files that a command writes into a folder replace no input.

    Args:
        option: the option of the folder.
        folder: the folder.
        names: the files that the command writes.
        inputs: the inputs; None is skipped.

    Raises:
        OverwritingError: a file would replace an input.
    """
    read = [Path(given) for given in inputs if given]
    for name in names:
        for given in read:
            if is_same_file(folder / name, given):
                raise OverwritingError(
                    f"{option} {folder}: {name} would replace {given}, which is an input: choose another folder"
                )


def refuse_files_of(declared: ImageSet, root: Path, outputs: Iterable[Path | None]) -> None:
    """Check that no output is a file of a set. `check_inputs` finds all other conflicts.

    Args:
        declared: the set.
        root: its folder or list.
        outputs: the outputs; None is skipped.

    Raises:
        OverwritingError: an output is a file of the set.
    """
    present = [path for path in outputs if path and path.is_file()]
    suspects = [path for path in present if root.is_file() or _is_inside(path, root)]
    for name in declared.names(root) if suspects else ():
        for file in declared.sources(root, name):
            if any(is_same_file(output, file) for output in suspects):
                raise OverwritingError(
                    f"{file} is a file of {declared.name} in {root}, which is an input: choose another path"
                )


def refuse_collisions(outputs: Sequence[NamedPath]) -> None:
    """Check that outputs do not replace each other. Raises `OverwritingError` if two conflict."""
    for number, output in enumerate(outputs):
        for other in outputs[:number]:
            if problem := _collision(output, other) or _collision(other, output):
                raise OverwritingError(problem)


def is_same_file(first: Path, second: Path) -> bool:
    """Return whether two paths lead to the same file, also if it does not exist yet.

    Args:
        first: a path.
        second: another path.
    """
    one, other = real_path(first), real_path(second)
    if one == other:
        return True
    try:
        return os.path.isfile(one) and os.path.isfile(other) and os.path.samefile(one, other)
    except OSError:
        return False


def real_path(path: Path) -> str:
    """Resolve "~", links and ".." of a path. Circular links resolve to themselves."""
    return os.path.realpath(os.path.expanduser(path))


def _is_inside(path: Path, folder: Path) -> bool:
    """Return whether a path is inside a folder, at any depth."""
    return Path(real_path(folder)) in Path(real_path(path)).parents


def _clash(output: NamedPath, given: Path) -> str:
    """Return the conflict of an output with an input, as a verb; "" for none."""
    target = real_path(given)
    if output.is_folder or not os.path.isdir(target):
        is_kept = os.path.isfile(target) or os.path.isdir(target)  # a terminal or a pipe may be read and written
        return "is" if is_kept and is_same_file(output.path, given) else ""
    if _is_inside(output.path, given):
        return "is in" if _is_read(output.path) else ""
    return "is linked from" if _is_linked_from(target, output.path) else ""


def _is_read(path: Path) -> bool:
    """Return whether a reader of its folder reads this file, now or in the next run."""
    suffix = path.suffix.lower()
    if suffix in IMAGE_SUFFIXES | VIDEO_SUFFIXES:
        return True
    return path.exists() and not _is_report(path)


def _is_report(path: Path) -> bool:
    """Return whether the name is that of a report, which no command reads."""
    is_one = path.suffix.lower() in _REPORTS
    return is_one and path.name not in _INPUT_REPORTS and not path.name.startswith("shard-")


def _is_linked_from(folder: str, file: Path) -> bool:
    """Return whether a link in a folder leads to a file. Reports are not searched."""
    if not file.exists() or not _is_read(file):
        return False
    for subfolder, _, files in os.walk(folder):
        for name in files:
            path = os.path.join(subfolder, name)
            if os.path.islink(path) and os.path.exists(path) and os.path.samefile(path, file):
                return True
    return False


def _collision(output: NamedPath, other: NamedPath) -> str:
    """Return the conflict of an output file with another output; "" for none."""
    if output.is_folder:
        return ""
    if not other.is_folder:
        return f"{output} and {other} are the same file" if is_same_file(output.path, other.path) else ""
    if os.path.dirname(real_path(output.path)) != real_path(other.path):
        return ""
    if _is_report(output.path) and output.path.name != "report.json":  # `label` writes this one
        return ""
    return f"{output} is in {other}, among the files that the command writes there: choose another name"
