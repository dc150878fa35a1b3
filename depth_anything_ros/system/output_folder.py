"""Output folders: the record of what a folder holds, and the lock against concurrent writers.

A command claims its output folder. The claim is rejected if another process writes there, or if the folder holds
something else. A hidden file records the content, its sources and, in the end, the names of the result files.
"""

from __future__ import annotations

import fcntl
import json
import logging
import os
import shutil
import socket
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import IO, Any

from depth_anything_ros.system.atomic_file import atomic_write

_log = logging.getLogger(__name__)

NOTE, LOCK = ".made.json", ".lock"

SHARDS, LABELS, RUN, ABLATION, PREDICTIONS, MODEL, CALIBRATION = (
    *("shards", "labels", "a training run", "an ablation", "predictions", "a model", "a calibration"),
)
"""Kinds of folders."""
_SIGNS = (
    *(("labels.json", LABELS), ("manifest.json", SHARDS), ("shard-*.tar", SHARDS), ("run.json", RUN), ("states", RUN)),
    *(("table.md", ABLATION), ("predict.json", PREDICTIONS), ("record.json", MODEL)),
    ("calibration.json", CALIBRATION),
)
"""Files that identify a folder without a record: of an earlier release, or copied without hidden files."""

_WHOLE, _MUTEX, _FIRST_RANK = 0, 1, 2
"""Bytes of the lock file: one for the folder, one to take the lock, one per cooperating process."""


class FolderError(ValueError):
    """A folder cannot be written. The message names it, the reason and the fix."""


@dataclass(frozen=True)
class Made:
    """The content of a folder.

    Args:
        kind: one of the kinds above.
        holds: the content in words, such as "shards of kitti".
        command: the command that makes it, such as "data pack".
        sources: its sources, in words or as paths, by the command's name for each.
        results: names of the result files; empty until the folder is complete.
    """

    kind: str
    holds: str
    command: str
    sources: Mapping[str, str] = field(default_factory=dict)
    results: Sequence[str] = ()

    def __str__(self) -> str:
        sources = ", ".join(self.sources.values())
        return f"{self.holds}{f' made from {sources}' if sources else ''}"


@dataclass(frozen=True)
class OutputFolder:
    """A folder that this process may write to. ``previous`` is its content before, None if it was empty."""

    path: Path
    made: Made
    previous: Made | None

    def note(self, sources: Mapping[str, str], results: Sequence[str] = ()) -> None:
        """Record the sources, and the results once they are complete.

        Args:
            sources: as in `Made`.
            results: as in `Made`.
        """
        _write_note(self.path, replace(self.made, sources=dict(sources), results=list(results)))


@contextmanager
def claimed(folder: Path, made: Made, rank: int = 0, processes: int = 1) -> Iterator[OutputFolder]:
    """Create the folder if needed, and keep other processes from writing to it while the block runs.

    The lock of a killed process is released.

    Args:
        folder: the output folder.
        made: the content to be written.
        rank: number of this process among those that share the folder.
        processes: how many processes share the folder.

    Raises:
        FolderError: another process writes there, or the folder holds something else.
        OSError: the folder cannot be written; the error names it.
    """
    with locked(folder, made.command, rank, processes):
        previous = check_contents(folder, made)
        if previous is None:
            _write_note(folder, made)
        yield OutputFolder(folder, made, previous)


@contextmanager
def absent_after_failure(*folders: Path) -> Iterator[None]:
    """Remove folders that the block creates, and in which it leaves nothing but hidden files, when it fails.

    Args:
        folders: that are created or not.
    """
    absent = [folder for folder in folders if not os.path.lexists(folder)]
    try:
        yield
    except BaseException:
        for folder in absent:
            if folder.is_dir() and not any(not path.name.startswith(".") for path in _entries(folder)):
                shutil.rmtree(folder, ignore_errors=True)
        raise


def check_contents(folder: Path, made: Made) -> Made | None:
    """Return the present content of a folder.

    Args:
        folder: may be missing.
        made: the content to be written.

    Raises:
        FolderError: the folder holds something else.
    """
    present = read_contents(folder)
    if present is not None and (present.kind != made.kind or present.holds not in (made.holds, made.kind)):
        raise FolderError(f"{folder} holds {present}: choose another folder for {made.holds}, or delete that one")
    return present


def read_contents(folder: Path) -> Made | None:
    """Return the content of a folder; None if it is missing, unknown, or has only hidden files so far."""
    if not any(not path.name.startswith(".") for path in _entries(folder)):
        return None
    try:
        return Made(**json.loads((folder / NOTE).read_text()))
    except FileNotFoundError:
        return _inferred_from_files(folder)
    except (ValueError, TypeError) as error:
        raise FolderError(f"{folder / NOTE} is damaged ({error}): delete it") from error


def results_in(path: Path) -> list[str]:
    """Return the names of the result files in a folder; none for a file."""
    if not path.is_dir():
        return []
    made = read_contents(path)
    if made is not None and made.results:
        return [*made.results, *(_shards_in(path) if "manifest.json" in made.results else [])]
    return sorted(entry.name for entry in _entries(path) if entry.is_file() and not entry.name.startswith("."))


def _inferred_from_files(folder: Path) -> Made | None:
    kind = next((kind for pattern, kind in _SIGNS if any(folder.glob(pattern))), None)
    if kind is None:
        return None
    holds = f"{kind} of {_set_in(folder)}" if kind in (SHARDS, LABELS) else kind
    return Made(kind, holds, "an earlier release")


def _set_in(folder: Path) -> str:
    """Return the data set of shards or labels, from the manifest or else from a shard's sidecar."""
    for path in (folder / "manifest.json", *sorted(folder.glob("shard-*.json"))):
        try:
            note = json.loads(path.read_text())
            return narrowed(str(note["set"]), note.get("fields", {}))
        except (OSError, ValueError, KeyError, TypeError):
            continue
    return "an unknown data set"


def narrowed(name: str, fields: Mapping[str, str]) -> str:
    """Return a packed data set in words.

    Args:
        name: of the data set.
        fields: the selection, by field: ``{"split": "train"}`` gives "kitti (split=train)"; empty gives the name.
    """
    return f"{name} ({', '.join(f'{field}={value}' for field, value in sorted(fields.items()))})" if fields else name


def _shards_in(folder: Path) -> list[str]:
    return [shard["name"] for shard in json.loads((folder / "manifest.json").read_text())["shards"]]


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            return list(entries)
    except FileNotFoundError:
        return []


def _write_note(folder: Path, made: Made) -> None:
    atomic_write(folder / NOTE, (json.dumps(asdict(made), indent=2) + "\n").encode())


@contextmanager
def locked(folder: Path, command: str, rank: int = 0, processes: int = 1) -> Iterator[None]:
    """Take the lock of `claimed` without its record, for folders whose files identify themselves.

    Args:
        folder: as in `claimed`.
        command: named in the error of other processes.
        rank: as in `claimed`.
        processes: as in `claimed`.

    Raises:
        FolderError: another process writes there.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / LOCK, "a+b", buffering=0) as file:
        with suppress(OSError):  # another user owns it
            os.fchmod(file.fileno(), 0o666)  # every user who can write to the folder can lock it
        try:
            _take(file, command, rank, processes)
        except (BlockingIOError, PermissionError) as error:
            raise FolderError(
                f"another process{_holder(file)} is writing into {folder}: wait for it, end it, or choose another "
                "folder"
            ) from error
        except OSError as error:  # some network disks have no locks
            _log.warning("%s cannot be locked (%s): make sure that no other process writes there", folder, error)
        yield


def _take(file: IO[bytes], command: str, rank: int, processes: int) -> None:
    """Take the lock. Raise `BlockingIOError` or `PermissionError`, depending on the system, if it is taken."""
    fcntl.lockf(file, fcntl.LOCK_EX, 1, _MUTEX)  # held briefly
    try:
        holder = {"command": command, "process": os.getpid(), "host": socket.gethostname(), "processes": processes}
        try:
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, _WHOLE)
        except (BlockingIOError, PermissionError):
            if processes == 1 or _read_holder(file).get("processes") != processes:
                raise
            fcntl.lockf(file, fcntl.LOCK_SH | fcntl.LOCK_NB, 1, _WHOLE)
        else:
            file.truncate(0)
            file.write(json.dumps(holder).encode())
            if processes > 1:
                fcntl.lockf(file, fcntl.LOCK_SH, 1, _WHOLE)
        if processes > 1:
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, _FIRST_RANK + rank)
    finally:
        fcntl.lockf(file, fcntl.LOCK_UN, 1, _MUTEX)


def _holder(file: IO[bytes]) -> str:
    """Return the lock's holder, as far as known, to append to "another process"."""
    holder = _read_holder(file)
    try:
        return f" (`{holder['command']}`, process {holder['process']} on {holder['host']})"
    except KeyError:
        return ""


def _read_holder(file: IO[bytes]) -> dict[str, Any]:
    file.seek(0)
    try:
        return dict(json.loads(file.read()))
    except (ValueError, TypeError):
        return {}
