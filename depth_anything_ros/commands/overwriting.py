"""No command overwrites its inputs: all paths in its options are compared before any work starts.

The ``type`` of an option marks its values: `arguments.reads` marks inputs, and `output_file`, `output_picture`,
`output_bag` and `output_folder` mark outputs. Links and ".." are resolved.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from depth_anything_ros.commands import arguments as parse
from depth_anything_ros.data.overwriting import NamedPath, check_inputs, refuse_collisions
from depth_anything_ros.zoo.catalog import known_models

_OUTPUT_FILES = (parse.output_file, parse.output_picture, parse.output_bag)


def refuse_overwriting(parser: argparse.ArgumentParser, arguments: argparse.Namespace) -> None:
    """Check that a command overwrites no input, and no output twice. Raises `OverwritingError`.

    Args:
        parser: Parser of the command.
        arguments: its options.
    """
    outputs = outputs_of(parser, arguments)
    check_inputs(outputs, inputs_of(parser, arguments))
    refuse_collisions(outputs)


def outputs_of(parser: argparse.ArgumentParser, arguments: argparse.Namespace) -> list[NamedPath]:
    """Return the files and folders that a command writes.

    Args:
        parser: Parser of the command.
        arguments: its options.
    """
    return [
        NamedPath(option, path, action_type is parse.output_folder or path.is_dir())
        for action_type, option, values in _values(parser, arguments)
        if action_type in _OUTPUT_FILES or action_type is parse.output_folder
        for path in values
    ]


def inputs_of(parser: argparse.ArgumentParser, arguments: argparse.Namespace) -> list[NamedPath]:
    """Return the existing files and folders that a command reads.

    Args:
        parser: Parser of the command.
        arguments: its options.
    """
    found = []
    for action_type, option, values in _values(parser, arguments):
        if not getattr(action_type, "reads", False):
            continue
        texts = [str(value).removeprefix("file://") for value in values]
        if action_type is parse.model:
            texts = _model_files(texts)
        found += [NamedPath(option, Path(text)) for text in texts if text and _exists(Path(text))]
    return found


def _model_files(models: Iterable[str]) -> list[str]:
    """Return the files of models; a known name has none."""
    known = known_models()
    # FILE.onnx:RECORD.json is two files.
    return [text for model in models if model not in known for text in (model, *model.rpartition(":")[::2])]


def _values(parser: argparse.ArgumentParser, arguments: argparse.Namespace) -> Iterator[tuple[Any, str, list[Any]]]:
    """Yield the type of each given option, its name and its values."""
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
    except ValueError:  # no valid path
        return False
