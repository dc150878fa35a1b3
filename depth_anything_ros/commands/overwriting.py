"""No command writes over what it reads: what its options name is compared before any work is done.

Options say by their ``type`` what they name: those that `arguments.reads` marks what is read, `output_file`,
`output_picture` and `output_folder` what is written. Links and ".." are followed.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from depth_anything_ros.commands import CommandError
from depth_anything_ros.commands import arguments as parse
from depth_anything_ros.data.image_set import ImageSet
from depth_anything_ros.runtime.file_kinds import IMAGE_SUFFIXES, VIDEO_SUFFIXES
from depth_anything_ros.zoo.catalogue import known_models

_OUTPUT_FILES = (parse.output_file, parse.output_picture)
_REPORTS = (".json", ".md")
_READ_AS_WELL = ("manifest.json", "labels.json", "record.json", "config.json", "run.json", "ddad.json")
"""Files that look like reports, and are read wherever they lie."""


@dataclass(frozen=True)
class Named:
    """What an option names; ``option``: what the option is called."""

    option: str
    path: Path
    is_folder: bool = False

    def __str__(self) -> str:
        return f"{self.option} {self.path}"


def refuse_overwriting(parser: argparse.ArgumentParser, arguments: argparse.Namespace) -> None:
    """Raises `CommandError` where a command would write over what it reads, or twice over the same file."""
    outputs = outputs_of(parser, arguments)
    check_inputs(outputs, inputs_of(parser, arguments))
    for number, output in enumerate(outputs):
        for other in outputs[:number]:
            if amiss := _collision(output, other) or _collision(other, output):
                raise CommandError(amiss)


def check_inputs(outputs: Iterable[Named], inputs: Sequence[Named]) -> None:
    """Raises `CommandError` where one of the outputs is an input, or among those that lie in a folder."""
    for output in outputs:
        for given in inputs:
            if amiss := _clash(output, given.path):
                raise CommandError(f"{output} {amiss} {given}, which is read: give it another place")


def refuse_replacing(option: str, folder: Path, names: Iterable[str], inputs: Iterable[Path | str | None]) -> None:
    """Raises `CommandError` where one of the files that a command writes into a folder is one that it reads."""
    read = [Path(given) for given in inputs if given]
    for name in names:
        for given in read:
            if is_same_file(folder / name, given):
                raise CommandError(
                    f"{option} {folder}: {name} would replace {given}, which is read: give the results another folder"
                )


def refuse_files_of(declared: ImageSet, root: Path, outputs: Iterable[Path | None]) -> None:
    """Raises `CommandError` where an output is a file of a set: one that its list names, or that lies in its folder.

    Others are refused by the options alone.
    """
    there = [path for path in outputs if path and path.is_file()]
    suspects = [path for path in there if root.is_file() or _lies_in(path, root)]
    for name in declared.names(root) if suspects else ():
        for file in declared.sources(root, name):
            if any(is_same_file(output, file) for output in suspects):
                raise CommandError(f"{file} is a file of {declared.name} in {root}, which is read: give another place")


def outputs_of(parser: argparse.ArgumentParser, arguments: argparse.Namespace) -> list[Named]:
    """The files and folders that a command is told to write."""
    return [
        Named(option, path, action_type is parse.output_folder)
        for action_type, option, values in _values(parser, arguments)
        if action_type in _OUTPUT_FILES or action_type is parse.output_folder
        for path in values
    ]


def inputs_of(parser: argparse.ArgumentParser, arguments: argparse.Namespace) -> list[Named]:
    """The files and folders that a command is told to read, as far as they are there."""
    found = []
    for action_type, option, values in _values(parser, arguments):
        if not getattr(action_type, "reads", False):
            continue
        texts = [str(value).removeprefix("file://") for value in values]
        if action_type is parse.model:
            texts = _model_files(texts)
        found += [Named(option, Path(text)) for text in texts if text and _exists(Path(text))]
    return found


def _model_files(models: Iterable[str]) -> list[str]:
    """What models are read from: nothing that is named here where one is known by its name."""
    known = known_models()
    # FILE.onnx:RECORD.json names two files.
    return [text for model in models if model not in known for text in (model, *model.rpartition(":")[::2])]


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


def _clash(output: Named, given: Path) -> str:
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


def _collision(output: Named, other: Named) -> str:
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


def _values(parser: argparse.ArgumentParser, arguments: argparse.Namespace) -> Iterator[tuple[Any, str, list[Any]]]:
    """The type of each option that was given, what it is called, and its values."""
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            chosen = action.choices.get(getattr(arguments, action.dest, None))
            if chosen is not None:
                yield from _values(chosen, arguments)
            continue
        value = getattr(arguments, action.dest, None)
        if value is not None:
            name = action.option_strings[-1] if action.option_strings else str(action.metavar or action.dest)
            yield action.type, name, value if isinstance(value, list) else [value]


def _exists(path: Path) -> bool:
    try:
        return os.path.exists(os.path.expanduser(path))
    except ValueError:  # no path
        return False
