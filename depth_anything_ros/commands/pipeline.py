"""`depth_anything_ros pipeline`: several commands of this program, one after the other, each done once."""

from __future__ import annotations

import argparse
import json
import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from string import Template
from typing import Any

from depth_anything_ros.child_process import end_with_parent
from depth_anything_ros.commands import CommandError
from depth_anything_ros.whole_file import write_whole
from depth_anything_ros.zoo.cache import sha256_of

_EPILOG = """\
FILE lists steps, each a name and the words of a command: "train teacher.yaml --output $run/teacher". In them, $run is
--output, $here the folder of FILE, and every --define NAME=VALUE is $NAME. A step that is done is not done again unless
its words, or a file that they name, have changed; one that was interrupted goes on where the command itself goes on.

example: depth_anything_ros pipeline config/train/small/pipeline.yaml --output runs/small --define data=../shared/data
"""


@dataclass(frozen=True)
class Step:
    """One command and what it is called."""

    name: str
    command: list[str]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the command's arguments."""
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.epilog = _EPILOG
    parser.add_argument("file", type=Path, help="YAML file that lists the steps")
    parser.add_argument("--output", type=Path, required=True, metavar="DIR", help="folder for all that is made")
    parser.add_argument("--define", action="append", default=[], metavar="NAME=VALUE", help="gives $NAME a value")
    parser.add_argument("--list", action="store_true", help="show the steps and which are done; run none")
    parser.add_argument("--json", type=Path, metavar="FILE", help="writes what was run, and how long it took, as JSON")


def run(arguments: argparse.Namespace) -> int:
    """Runs the steps that are not done yet; returns the first status that is not 0."""
    values = {"run": str(arguments.output), "here": str(arguments.file.parent)}
    for pair in arguments.define:
        name, equals, value = pair.partition("=")
        if not equals:
            raise CommandError(f"--define {pair}: write NAME=VALUE")
        values[name] = value
    steps = read_steps(arguments.file, values)
    done = arguments.output / "done"
    if not arguments.list:
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
            print(f"{step.name} ended with status {status}; the same command goes on with it", file=sys.stderr)
            return status
        results.append(json.loads(marker_of(step, done).read_text()))
    if arguments.json:
        write_whole(arguments.json, json.dumps({"steps": results}, indent=2).encode())
    return 0


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
    return {word: sha256_of(Path(word)) for word in sorted(words) if os.path.isfile(word)}


def run_once(step: Step, done: Path) -> int:
    """Runs a step in a process of its own, unless it is done; returns its status and notes that it is done."""
    if is_done(step, done):
        return 0
    started, before = time.monotonic(), named_files(step)
    words = [sys.executable, "-m", "depth_anything_ros", *step.command]
    process = subprocess.Popen(words, preexec_fn=end_with_parent)
    with passing_on_signals(process):
        status = process.wait()
    if status == 0:
        done.mkdir(parents=True, exist_ok=True)
        after = named_files(step)
        inputs = {file: digest for file, digest in before.items() if after.get(file) == digest}  # the others it made
        seconds = round(time.monotonic() - started, 1)
        noted = {"name": step.name, "command": step.command, "inputs": inputs, "seconds": seconds}
        write_whole(marker_of(step, done), json.dumps(noted, indent=2).encode())
    return status


@contextmanager
def passing_on_signals(process: subprocess.Popen) -> Iterator[None]:
    """Has the step answer signals, which may save its state first, instead of leaving it alone at work.

    A terminal sends Ctrl-C to the step as well; SIGTERM is passed on.
    """
    handlers = {signal.SIGTERM: lambda number, _: process.send_signal(number), signal.SIGINT: lambda *_: None}
    before = {number: signal.signal(number, handler) for number, handler in handlers.items()}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def read_steps(path: Path, values: dict[str, str]) -> list[Step]:
    """The steps of a file, with values for their $NAMES. Raises `CommandError`, naming the step that is amiss."""
    from depth_anything_ros.training.stage_configuration import read_yaml

    listed = read_yaml(path).get("steps")
    if not isinstance(listed, list) or not listed:
        raise CommandError(f"{path}: must hold a list of steps")
    steps = [_step(path, entry, values) for entry in listed]
    names = [step.name for step in steps]
    if twice := {name for name in names if names.count(name) > 1}:
        raise CommandError(f"{path}: there are several steps called {', '.join(sorted(twice))}")
    return steps


def _step(path: Path, entry: Any, values: dict[str, str]) -> Step:
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
