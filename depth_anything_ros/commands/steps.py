"""A step of a pipeline or an ablation: one command, run once in a process of its own, and the note that it is done."""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from depth_anything_ros.commands import CommandError
from depth_anything_ros.commands.registry import build_parser
from depth_anything_ros.commands.train import STOPPED
from depth_anything_ros.system.atomic_file import atomic_write
from depth_anything_ros.system.child_process import end_with_parent
from depth_anything_ros.system.output_folder import results_in
from depth_anything_ros.system.signals import print_in_handler, signal_handlers
from depth_anything_ros.zoo.cache import sha256_once

GRACE = 2.0
"""Seconds that a step has to end after Ctrl-C before it is sent SIGTERM."""


@dataclass(frozen=True)
class Step:
    """One command and what it is called."""

    name: str
    command: list[str]


def marker_of(step: Step, done: Path) -> Path:
    """The file that says that a step is done."""
    return done / f"{step.name}.json"


def run_once(step: Step, done: Path) -> int:
    """Runs a step in a process of its own, unless it is done; returns its status and notes that it is done."""
    if is_done(step, done):
        return 0
    named = {word.rpartition("=")[2] for word in step.command} - {""}
    started, before = time.monotonic(), _states(named, done)
    words = [sys.executable, "-m", "depth_anything_ros", *step.command]
    process = subprocess.Popen(words, preexec_fn=partial(end_with_parent, os.getpid()))
    with passing_on_signals(process, step.name) as asked:
        status = process.wait()
    if status == 0:
        done.mkdir(parents=True, exist_ok=True)
        seconds = round(time.monotonic() - started, 1)
        outputs = {str(path): results_in(path) for path in outputs_of_step(step) if path.exists()}
        after = _states(before.keys() - outputs.keys(), done)
        inputs = {path: state for path, state in after.items() if before[path] == state}  # the others it has changed
        noted = {"name": step.name, "command": step.command, "inputs": inputs, "outputs": outputs, "seconds": seconds}
        atomic_write(marker_of(step, done), json.dumps(noted, indent=2).encode())
    return status or (128 + asked[0] if asked else 0)


def is_done(step: Step, done: Path) -> bool:
    """Whether this very command has been run to its end, on what it names, and all that it made is still there.

    What it named and is not there any more does not count: there is nothing to make it anew from.
    """
    noted = _read_marker(marker_of(step, done))
    if noted.get("command") != step.command:
        return False
    if not all(_is_there(Path(output), names) for output, names in noted.get("outputs", {}).items()):
        return False
    inputs = noted.get("inputs", {})
    now = _states(inputs, done)
    return all(now.get(path, state) == state for path, state in inputs.items())


def _read_marker(marker: Path) -> dict[str, Any]:
    """What is noted of a step that is done; nothing where it is not, or the note is damaged."""
    try:
        return dict(json.loads(marker.read_text()))
    except (OSError, ValueError, TypeError):
        return {}


def _is_there(output: Path, names: Sequence[str]) -> bool:
    """Whether a file is there, or a folder with these files in it."""
    if not output.is_dir():
        return output.exists() and not names
    with os.scandir(output) as entries:  # one call, and not one for each of 60 000 shards
        return {entry.name for entry in entries}.issuperset(names)


def _states(paths: Iterable[str], done: Path) -> dict[str, str]:
    """What tells the state of each of the paths that is there: a hash of a file, or one of what lies in a folder."""
    found = {}
    for path in sorted(paths):
        if os.path.isfile(path):
            found[path] = sha256_once(Path(path))
        elif os.path.isdir(path):
            found[path] = _state_of_folder(path, str(done.parent.resolve()))
    return found


def _state_of_folder(folder: str, left_out: str) -> str:
    """A hash of names, sizes and times of all files in a folder, but for hidden ones and those of the steps' own."""
    digest = hashlib.sha256()
    for place, folders, files in os.walk(folder):
        kept = (name for name in folders if not name.startswith("."))
        folders[:] = sorted(name for name in kept if os.path.realpath(os.path.join(place, name)) != left_out)
        for name in sorted(name for name in files if not name.startswith(".")):
            path = os.path.join(place, name)
            with contextlib.suppress(FileNotFoundError):  # a link that leads nowhere
                found = os.stat(path)
                line = f"{os.path.relpath(path, folder)} {found.st_size} {found.st_mtime_ns}\n"
                digest.update(os.fsencode(line))
    return digest.hexdigest()


def outputs_of_step(step: Step) -> list[Path]:
    """The files and folders that a step's command is told to write; none where it could not be run as it stands."""
    from depth_anything_ros.commands.overwriting import outputs_of  # with OpenCV, which --help needs not

    try:
        with contextlib.redirect_stderr(io.StringIO()):
            parser = build_parser(step.command[0])
            return [output.path for output in outputs_of(parser, parser.parse_args(step.command))]
    except (CommandError, SystemExit):
        return []


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
            print_in_handler(f"asked to stop: waiting for {name} to end; no other step is begun")
        asked.append(number)
        passing_on = threading.Timer(0 if number == signal.SIGTERM else GRACE, process.send_signal, [signal.SIGTERM])
        passing_on.daemon = True
        passing_on.start()

    with signal_handlers({signal.SIGTERM: answer, signal.SIGINT: answer}):
        yield asked
