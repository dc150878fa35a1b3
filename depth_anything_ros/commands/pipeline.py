"""`depth_anything_ros pipeline`: several commands of this program, one after the other, each done once."""

from __future__ import annotations

import argparse
import json
import os
import shlex
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from string import Template
from typing import Any

from depth_anything_ros.child_process import end_with_parent
from depth_anything_ros.commands import CommandError
from depth_anything_ros.commands import arguments as parse
from depth_anything_ros.commands.train import STOPPED, parse_pairs
from depth_anything_ros.extras import require
from depth_anything_ros.signal_handlers import answering, say_at_once
from depth_anything_ros.whole_file import write_whole
from depth_anything_ros.zoo.cache import sha256_once

_EPILOG = """\
FILE lists steps, each a name and the words of a command: "train teacher.yaml --output $run/teacher". In them, $run is
--output, $here the folder of FILE, and every --define NAME=VALUE is $NAME. A step that is done is not done again unless
its words, or a file that they name, have changed; one that was interrupted goes on where the command itself goes on.
FILE may give $NAMEs values under `defaults`, and list under `folders` and `models` what must be there at the beginning.

example: depth_anything_ros pipeline config/train/small/pipeline.yaml --output runs/small \\
             --define photographs=FOLDER --define data=SETS
"""

GRACE = 2.0
"""Seconds that a step has to end after Ctrl-C before it is sent SIGTERM."""


@dataclass(frozen=True)
class Step:
    """One command and what it is called."""

    name: str
    command: list[str]


@dataclass(frozen=True)
class Pipeline:
    """Steps, and the folders and models that must be there before the first."""

    steps: list[Step]
    folders: list[str]
    models: list[str]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the command's arguments."""
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.epilog = _EPILOG
    parser.add_argument("file", type=parse.path, help="YAML file that lists the steps")
    parser.add_argument(
        "--output", type=parse.output_folder, required=True, metavar="DIR", help="folder for all that is made"
    )
    parser.add_argument("--define", action="append", default=[], metavar="NAME=VALUE", help="gives $NAME a value")
    parser.add_argument("--list", action="store_true", help="show the steps and which are done; run none")
    parser.add_argument(
        "--json", type=parse.output_file, metavar="FILE", help="writes what was run, and how long it took, as JSON"
    )


def run(arguments: argparse.Namespace) -> int:
    """Runs the steps that are not done yet; returns the first status that is not 0."""
    require("pydantic")
    values = {"run": str(arguments.output), "here": str(arguments.file.parent)}
    pipeline = read_pipeline(arguments.file, values, parse_pairs("--define", arguments.define))
    steps = pipeline.steps
    done = arguments.output / "done"
    if not arguments.list:
        check_needs(pipeline)
        arguments.output.mkdir(parents=True, exist_ok=True)  # where commands may write at once
    results, any_ran = [], False
    for number, step in enumerate(steps, start=1):
        # What was made from something that is made anew is made anew as well.
        was_done = is_done(step, done) and not any_ran
        title = f"[{number}/{len(steps)}] {step.name}: depth_anything_ros {shlex.join(step.command)}"
        print(f"{title}{'  (done)' if was_done else ''}", flush=True)
        any_ran |= not was_done
        if arguments.list:
            continue
        if not was_done:
            marker_of(step, done).unlink(missing_ok=True)
        if status := run_once(step, done):
            print(f"{step.name} {how_it_ended(status)}", file=sys.stderr)
            return as_status(status)
        results.append(json.loads(marker_of(step, done).read_text()))
    if arguments.json:
        write_whole(arguments.json, json.dumps({"steps": results}, indent=2).encode())
    return 0


def is_interruption(status: int) -> bool:
    """Whether a step was ended from outside: asked to stop, or killed."""
    return status in (STOPPED, 128 + signal.SIGINT, 128 + signal.SIGTERM) or status < 0


def how_it_ended(status: int) -> str:
    """What to say of a step that ended with a status other than 0, and what the same command does then."""
    again = "goes on with it" if is_interruption(status) else "tries it again once that is mended"
    if status >= 0:
        return f"ended with status {status}; the same command {again}"
    cause = " (most likely because memory ran out)" if status == -signal.SIGKILL else ""
    return f"was ended by {signal.Signals(-status).name}{cause}; the same command {again}"


def as_status(status: int) -> int:
    """The exit status of a step as a shell has it: 128 and the signal's number for one that a signal ended."""
    return status if status >= 0 else 128 - status


def marker_of(step: Step, done: Path) -> Path:
    """The file that says that a step is done."""
    return done / f"{step.name}.json"


def is_done(step: Step, done: Path) -> bool:
    """Whether this very command has been run to its end, on the files that it names, as far as they are still there."""
    marker = marker_of(step, done)
    if not marker.exists():
        return False
    noted = json.loads(marker.read_text())
    now = named_files(step)
    return noted["command"] == step.command and all(
        now.get(file, digest) == digest for file, digest in noted.get("inputs", {}).items()
    )


def named_files(step: Step) -> dict[str, str]:
    """The SHA-256 of every file that a command names, in a word of its own or behind an equals sign."""
    words = {word.rpartition("=")[2] for word in step.command}
    return {word: sha256_once(Path(word)) for word in sorted(words) if os.path.isfile(word)}


def run_once(step: Step, done: Path) -> int:
    """Runs a step in a process of its own, unless it is done; returns its status and notes that it is done."""
    if is_done(step, done):
        return 0
    started, before = time.monotonic(), named_files(step)
    words = [sys.executable, "-m", "depth_anything_ros", *step.command]
    process = subprocess.Popen(words, preexec_fn=partial(end_with_parent, os.getpid()))
    with passing_on_signals(process, step.name) as asked:
        status = process.wait()
    if status == 0:
        done.mkdir(parents=True, exist_ok=True)
        after = named_files(step)
        inputs = {file: digest for file, digest in before.items() if after.get(file) == digest}  # the others it made
        seconds = round(time.monotonic() - started, 1)
        noted = {"name": step.name, "command": step.command, "inputs": inputs, "seconds": seconds}
        write_whole(marker_of(step, done), json.dumps(noted, indent=2).encode())
    return status or (128 + asked[0] if asked else 0)


@contextmanager
def passing_on_signals(process: subprocess.Popen, name: str) -> Iterator[list[int]]:
    """Has the step answer signals, which may save its state first, instead of leaving it alone at work.

    SIGTERM is passed on at once. A terminal sends Ctrl-C to the step as well, where a second one would end it without
    its state; one that was sent to this process alone is passed on, as SIGTERM, to a step that does not end soon. Gives
    the numbers of those that came, so that no other step is begun.
    """
    asked: list[int] = []

    def answer(number: int, _: object) -> None:
        if not asked:
            say_at_once(f"asked to stop: waiting for {name} to end; no other step is begun")
        asked.append(number)
        passing_on = threading.Timer(0 if number == signal.SIGTERM else GRACE, process.send_signal, [signal.SIGTERM])
        passing_on.daemon = True
        passing_on.start()

    with answering({signal.SIGTERM: answer, signal.SIGINT: answer}):
        yield asked


def read_pipeline(path: Path, own: Mapping[str, str], defined: Mapping[str, str]) -> Pipeline:
    """A file's steps and needs, with values for their $NAMES: the file's defaults, ``own`` ones, those ``defined``.

    Raises `CommandError`, naming the step or the definition that is amiss.
    """
    from depth_anything_ros.training.stage_configuration import read_yaml

    content = read_yaml(path)
    if unknown := sorted(set(content) - {"steps", "defaults", "folders", "models"}):
        raise CommandError(f"{path}: holds steps, defaults, folders and models, not {', '.join(unknown)}")
    listed, defaults = content.get("steps"), content.get("defaults", {})
    if not isinstance(listed, list) or not listed:
        raise CommandError(f"{path}: must hold a list of steps")
    needs = {kind: content.get(kind, []) for kind in ("folders", "models")}
    if not isinstance(defaults, dict) or not all(isinstance(names, list) for names in needs.values()):
        raise CommandError(f"{path}: defaults are names and values, folders and models are lists")
    commands = [str(entry.get("command")) for entry in listed if isinstance(entry, dict)]
    found = (match for command in commands for match in Template.pattern.finditer(command))
    used = {match["named"] or match["braced"] for match in found} - {None}
    if unused := sorted(set(defined) - used):
        raise CommandError(f"--define {unused[0]}: {path} knows no such name, but {', '.join(sorted(used))}")
    values = {**{name: str(value) for name, value in defaults.items()}, **own, **defined}
    steps = [_step(path, entry, values) for entry in listed]
    names = [step.name for step in steps]
    if twice := {name for name in names if names.count(name) > 1}:
        raise CommandError(f"{path}: there are several steps called {', '.join(sorted(twice))}")
    filled = {kind: [Template(str(name)).safe_substitute(values) for name in names] for kind, names in needs.items()}
    return Pipeline(steps, **filled)


def check_needs(pipeline: Pipeline) -> None:
    """Raises, before hours of work, where a folder or a model that a step needs is absent; fetches known models."""
    from depth_anything_ros.zoo.resolve import resolve

    for folder in pipeline.folders:
        if not Path(folder).is_dir():
            raise CommandError(f"there is no folder {folder}, which a later step needs; name another with --define")
    for model in pipeline.models:
        resolve(model)


def _step(path: Path, entry: Any, values: Mapping[str, str]) -> Step:
    if not isinstance(entry, dict) or set(entry) != {"name", "command"}:
        raise CommandError(f"{path}: a step has a name and a command, not {entry}")
    for key, value in entry.items():
        if not isinstance(value, str) or not value:
            raise CommandError(f"{path}: a step's {key} must be text, not {value!r}; put it in quotes")
    if "/" in entry["name"]:
        raise CommandError(f"{path}: step {entry['name']}: a name becomes a file's, and cannot hold /")
    try:
        words = [Template(word).substitute(values) for word in shlex.split(entry["command"])]
    except KeyError as error:
        raise CommandError(
            f"{path}: step {entry['name']} wants a value for ${error.args[0]}: give --define {error.args[0]}=VALUE"
        ) from error
    except ValueError as error:
        raise CommandError(f"{path}: step {entry['name']}: {error}") from error
    return Step(entry["name"], words)
