"""A step of a pipeline or an ablation: one command, run once in its own process, and the record that it is done."""

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
"""Seconds for a step to end after Ctrl-C before it gets SIGTERM."""


@dataclass(frozen=True)
class Step:
    """A command and its name."""

    name: str
    command: list[str]


def marker_of(step: Step, done: Path) -> Path:
    """Return the path of a step's record, which exists if the step is done.

    Args:
        step: the step.
        done: the folder of records.
    """
    return done / f"{step.name}.json"


def run_once(step: Step, done: Path) -> int:
    """Run a step in its own process, unless it is done; record that it is done.

    Args:
        step: the step.
        done: the folder of records.

    Returns:
        The exit status, 0 if it was done already.
    """
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
        inputs = {path: state for path, state in after.items() if before[path] == state}  # it has changed the others
        noted = {"name": step.name, "command": step.command, "inputs": inputs, "outputs": outputs, "seconds": seconds}
        atomic_write(marker_of(step, done), json.dumps(noted, indent=2).encode())
    return status or (128 + asked[0] if asked else 0)


def is_done(step: Step, done: Path) -> bool:
    """Return whether this exact command has finished, its inputs are unchanged, and its results exist.

    An input that is missing now does not count: without it the step cannot run again.

    Args:
        step: the step.
        done: the folder of records.
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
    """Return the record of a finished step; empty if there is none, or it is damaged."""
    try:
        return dict(json.loads(marker.read_text()))
    except (OSError, ValueError, TypeError):
        return {}


def _is_there(output: Path, names: Sequence[str]) -> bool:
    """Return whether a file exists, or a folder with these files in it."""
    if not output.is_dir():
        return output.exists() and not names
    with os.scandir(output) as entries:  # one call instead of one for each of 60 000 shards
        return {entry.name for entry in entries}.issuperset(names)


def _states(paths: Iterable[str], done: Path) -> dict[str, str]:
    """Return the state of each existing path: a hash of a file, or of a folder's file names, sizes and times."""
    states = {}
    for path in sorted(paths):
        if os.path.isfile(path):
            states[path] = sha256_once(Path(path))
        elif os.path.isdir(path):
            states[path] = _state_of_folder(path, str(done.parent.resolve()))
    return states


def _state_of_folder(folder: str, left_out: str) -> str:
    """Return a hash of names, sizes and times of all files in a folder, except hidden ones and the steps' results."""
    digest = hashlib.sha256()
    for parent, folders, files in os.walk(folder):
        kept = (name for name in folders if not name.startswith("."))
        folders[:] = sorted(name for name in kept if os.path.realpath(os.path.join(parent, name)) != left_out)
        for name in sorted(name for name in files if not name.startswith(".")):
            path = os.path.join(parent, name)
            with contextlib.suppress(FileNotFoundError):  # a broken link
                status = os.stat(path)
                line = f"{os.path.relpath(path, folder)} {status.st_size} {status.st_mtime_ns}\n"
                digest.update(os.fsencode(line))
    return digest.hexdigest()


def outputs_of_step(step: Step) -> list[Path]:
    """Return the files and folders that a step writes; none if its command is invalid."""
    from depth_anything_ros.commands.overwriting import outputs_of  # imports OpenCV, which --help does not need

    try:
        with contextlib.redirect_stderr(io.StringIO()):
            parser = build_parser(step.command[0])
            return [output.path for output in outputs_of(parser, parser.parse_args(step.command))]
    except (CommandError, SystemExit):
        return []


def is_interruption(status: int) -> bool:
    """Return whether a step was stopped or killed from outside."""
    return status in (STOPPED, 128 + signal.SIGINT, 128 + signal.SIGTERM) or status < 0


def end_text(status: int) -> str:
    """Return a description of a step's failure, and the effect of running the same command again."""
    again = "continues it" if is_interruption(status) else "tries it again after you fix that"
    if status >= 0:
        return f"ended with status {status}; the same command {again}"
    cause = " (most likely because memory ran out)" if status == -signal.SIGKILL else ""
    return f"was ended by {signal.Signals(-status).name}{cause}; the same command {again}"


def as_status(status: int) -> int:
    """Return the exit status of a step as in a shell: 128 plus the signal's number if a signal ended it."""
    return status if status >= 0 else 128 - status


@contextmanager
def passing_on_signals(process: subprocess.Popen, name: str) -> Iterator[list[int]]:
    """Forward signals to a step, which may save its state first, while the block runs.

    SIGTERM is forwarded at once. A terminal sends Ctrl-C to the step as well, and a second one would end it without
    saving. So Ctrl-C is forwarded as SIGTERM, and only if the step does not end soon.

    Args:
        process: the step's process.
        name: the step's name, for the message.

    Yields:
        The numbers of the received signals; after one of them no further step starts.
    """
    received: list[int] = []

    def answer(number: int, _: object) -> None:
        if not received:
            print_in_handler(f"stop requested: waiting for {name} to end; no further step starts")
        received.append(number)
        passing_on = threading.Timer(0 if number == signal.SIGTERM else GRACE, process.send_signal, [signal.SIGTERM])
        passing_on.daemon = True
        passing_on.start()

    with signal_handlers({signal.SIGTERM: answer, signal.SIGINT: answer}):
        yield received
