"""`depth_anything_ros pipeline`: several commands of this program in a row, each done once."""

from __future__ import annotations

import argparse
import json
import os
import shlex
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from string import Template
from typing import Any

from depth_anything_ros.commands import CommandError
from depth_anything_ros.commands import arguments as parse
from depth_anything_ros.commands.own_share import check_alone
from depth_anything_ros.commands.steps import Step, as_status, end_text, is_done, marker_of, run_once
from depth_anything_ros.commands.train import parse_pairs
from depth_anything_ros.system.atomic_file import atomic_write
from depth_anything_ros.system.extras import require
from depth_anything_ros.system.output_folder import locked

_EPILOG = """\
FILE lists steps, each a name and a command: "train teacher.yaml --output $run/teacher". In commands, $run is --output,
$here is the folder of FILE, and every --define NAME=VALUE is $NAME. A finished step runs again only if its command, or
a file or folder in it, has changed, or if its result is missing. An interrupted step continues where its command can.
FILE may set default values under `defaults`. It may list folders and models that must exist at the start under
`folders` and `models`.

example: depth_anything_ros pipeline config/train/small/pipeline.yaml --output runs/small \\
             --define photographs=FOLDER --define data=ALL_SETS
"""


@dataclass(frozen=True)
class Pipeline:
    """Steps, and the folders and models that must exist before the first one."""

    steps: list[Step]
    folders: list[str]
    models: list[str]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.epilog = _EPILOG
    parser.add_argument("file", type=parse.path, help="YAML file that lists the steps")
    parser.add_argument(
        "--output", type=parse.output_folder, required=True, metavar="DIR", help="folder for all results"
    )
    parser.add_argument("--define", action="append", default=[], metavar="NAME=VALUE", help="set $NAME")
    parser.add_argument("--list", action="store_true", help="list the steps and whether they are done, and exit")
    parser.add_argument(
        "--json", type=parse.output_file, metavar="FILE", help="write the steps and their durations to FILE as JSON"
    )


def run(arguments: argparse.Namespace) -> int:
    """Run the steps that are not done; return the first status that is not 0."""
    require("pydantic")
    check_alone("pipeline", os.environ)
    values = {"run": str(arguments.output), "here": str(arguments.file.parent)}
    pipeline = read_pipeline(arguments.file, values, parse_pairs("--define", arguments.define))
    steps = pipeline.steps
    done = arguments.output / "done"
    if arguments.list:
        _list(steps, done)
        return 0
    check_needs(pipeline)
    with locked(done, "pipeline"):
        status, results = _run(steps, done)
    if status == 0 and arguments.json:
        atomic_write(arguments.json, json.dumps({"steps": results}, indent=2).encode())
    return status


def _list(steps: Sequence[Step], done: Path) -> None:
    any_is_to_run = False
    for number, step in enumerate(steps, start=1):
        was_done = is_done(step, done) and not any_is_to_run
        any_is_to_run |= not was_done
        print(_title(number, steps, was_done))


def _title(number: int, steps: Sequence[Step], was_done: bool) -> str:
    step = steps[number - 1]
    command = f"depth_anything_ros {shlex.join(step.command)}"
    return f"[{number}/{len(steps)}] {step.name}: {command}{'  (done)' if was_done else ''}"


def _run(steps: Sequence[Step], done: Path) -> tuple[int, list[dict[str, Any]]]:
    """Run the steps that are not done; return the first status that is not 0, and the records of finished steps."""
    results, any_ran = [], False
    for number, step in enumerate(steps, start=1):
        # A step after one that ran again runs again too.
        was_done = is_done(step, done) and not any_ran
        print(_title(number, steps, was_done), flush=True)
        any_ran |= not was_done
        if not was_done:
            for later in steps[number - 1 :]:  # now, so that they also run again after a kill during this step
                marker_of(later, done).unlink(missing_ok=True)
        if status := run_once(step, done):
            print(f"{step.name} {end_text(status)}", file=sys.stderr)
            return as_status(status), results
        results.append(json.loads(marker_of(step, done).read_text()))
    return 0, results


def read_pipeline(path: Path, own: Mapping[str, str], defined: Mapping[str, str]) -> Pipeline:
    """Read a pipeline.

    Args:
        path: its YAML file.
        own: values for $NAMES that this program sets; they replace the file's defaults.
        defined: values for $NAMES from --define; they replace both.

    Raises:
        CommandError: a step or a definition is invalid.
    """
    from depth_anything_ros.training.configuration import read_yaml

    content = read_yaml(path)
    if unknown := sorted(set(content) - {"steps", "defaults", "folders", "models"}):
        raise CommandError(f"{path}: unknown {', '.join(unknown)}; allowed are steps, defaults, folders and models")
    listed, defaults = content.get("steps"), content.get("defaults", {})
    if not isinstance(listed, list) or not listed:
        raise CommandError(f"{path}: must contain a list of steps")
    needs = {kind: content.get(kind, []) for kind in ("folders", "models")}
    if not isinstance(defaults, dict) or not all(isinstance(names, list) for names in needs.values()):
        raise CommandError(f"{path}: defaults must be names and values, folders and models must be lists")
    commands = [str(entry.get("command")) for entry in listed if isinstance(entry, dict)]
    matches = (match for command in commands for match in Template.pattern.finditer(command))
    used = {match["named"] or match["braced"] for match in matches} - {None}
    if unused := sorted(set(defined) - used):
        raise CommandError(f"--define {unused[0]}: {path} does not use this name, only {', '.join(sorted(used))}")
    values = {**{name: str(value) for name, value in defaults.items()}, **own, **defined}
    steps = [_step(path, entry, values) for entry in listed]
    names = [step.name for step in steps]
    if repeated := {name for name in names if names.count(name) > 1}:
        raise CommandError(f"{path}: several steps have the name {', '.join(sorted(repeated))}: rename all but one")
    filled = {kind: [Template(str(name)).safe_substitute(values) for name in names] for kind, names in needs.items()}
    return Pipeline(steps, **filled)


def check_needs(pipeline: Pipeline) -> None:
    """Check before hours of work that the folders and models of all steps exist; fetch known models."""
    from depth_anything_ros.zoo.resolve import resolve

    for folder in pipeline.folders:
        if not Path(folder).is_dir():
            raise CommandError(
                f"the folder {folder}, which a later step needs, does not exist; give another with --define"
            )
    for model in pipeline.models:
        resolve(model)


def _step(path: Path, entry: Any, values: Mapping[str, str]) -> Step:
    if not isinstance(entry, dict) or set(entry) != {"name", "command"}:
        raise CommandError(f"{path}: a step needs a name and a command, and nothing else, but is {entry}")
    for key, value in entry.items():
        if not isinstance(value, str) or not value:
            raise CommandError(f"{path}: a step's {key} must be text, not {value!r}; put it in quotes")
    if "/" in entry["name"]:
        raise CommandError(f"{path}: step {entry['name']}: the name is used for a file, so it must not contain /")
    try:
        words = [Template(word).substitute(values) for word in shlex.split(entry["command"])]
    except KeyError as error:
        raise CommandError(
            f"{path}: step {entry['name']} needs a value for ${error.args[0]}: give --define {error.args[0]}=VALUE"
        ) from error
    except ValueError as error:
        raise CommandError(f"{path}: step {entry['name']}: {error}") from error
    return Step(entry["name"], words)
