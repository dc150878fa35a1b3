"""What an output folder holds, what that was made from and by which command; and the lock that keeps others out.

A command that makes a folder claims it. The claim refuses a folder in which another process is at work, and one that
holds something else. What the folder holds is noted in a hidden file, in which the command keeps what it was made from
and, in the end, which files are its result.
"""

from __future__ import annotations

import fcntl
import json
import logging
import os
import socket
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import IO, Any

from depth_anything_ros.system.atomic_file import atomic_write

_log = logging.getLogger(__name__)

NOTE, LOCK = ".made.json", ".lock"

SHARDS, LABELS, RUN, ABLATION, PREDICTIONS, MODEL = (
    *("shards", "labels", "a training run", "an ablation", "predictions", "a model"),
)
"""Kinds of folders."""
_SIGNS = (
    *(("labels.json", LABELS), ("manifest.json", SHARDS), ("shard-*.tar", SHARDS), ("run.json", RUN), ("states", RUN)),
    *(("table.md", ABLATION), ("predict.json", PREDICTIONS), ("record.json", MODEL)),
)
"""What tells the kind of a folder that has no note: of an earlier release, or copied without its hidden files."""

_WHOLE, _MUTEX, _FIRST_RANK = 0, 1, 2
"""Bytes of the lock file: one for the folder, one for taking the lock, one for each of several processes."""


class FolderError(ValueError):
    """A folder cannot be written into; the message names it, says why, and what to do."""


@dataclass(frozen=True)
class Made:
    """What a folder holds.

    Args:
        kind: one of the kinds above.
        holds: what it is in words, such as "shards of kitti".
        command: what makes it, such as "data pack".
        sources: what it was made from, in words or as paths, by what the command calls each.
        results: names of files in it without which it is not whole; none before it is.
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
    """A folder that this process may write into; ``found``: what it held before, None for nothing."""

    path: Path
    made: Made
    found: Made | None

    def note(self, sources: Mapping[str, str], results: Sequence[str] = ()) -> None:
        """Notes what the folder is made from, and its results once they are all there."""
        _write_note(self.path, replace(self.made, sources=dict(sources), results=list(results)))


@contextmanager
def claimed(folder: Path, made: Made, rank: int = 0, processes: int = 1) -> Iterator[OutputFolder]:
    """Makes the folder if need be, and keeps other processes from writing into it while the block runs.

    ``processes``: how many share the folder, of which this is number ``rank``. A process that is killed lets go of it.
    Raises `FolderError` where another process is at work, or the folder holds something else, and `OSError`, naming it,
    where it cannot be written.
    """
    with locked(folder, made.command, rank, processes):
        found = refuse_other(folder, made)
        if found is None:
            _write_note(folder, made)
        yield OutputFolder(folder, made, found)


def refuse_other(folder: Path, made: Made) -> Made | None:
    """What the folder holds already. Raises `FolderError` where that is something else, as `claimed` does later."""
    found = what_is_in(folder)
    if found is not None and (found.kind != made.kind or found.holds not in (made.holds, made.kind)):
        raise FolderError(f"{folder} holds {found}: choose another folder for {made.holds}, or delete that one")
    return found


def what_is_in(folder: Path) -> Made | None:
    """What a folder holds, as far as it is ours; None where it is absent, or a command has only begun to fill it."""
    if not any(not path.name.startswith(".") for path in _entries(folder)):
        return None
    try:
        return Made(**json.loads((folder / NOTE).read_text()))
    except FileNotFoundError:
        return _told_by_its_files(folder)
    except (ValueError, TypeError) as error:
        raise FolderError(f"{folder / NOTE} is damaged ({error}): delete it") from error


def results_in(path: Path) -> list[str]:
    """Names of the files in a folder without which what was made there is not whole; of a file there are none."""
    if not path.is_dir():
        return []
    made = what_is_in(path)
    if made is not None and made.results:
        return [*made.results, *(_shards_in(path) if "manifest.json" in made.results else [])]
    return sorted(entry.name for entry in _entries(path) if entry.is_file() and not entry.name.startswith("."))


def _told_by_its_files(folder: Path) -> Made | None:
    kind = next((kind for pattern, kind in _SIGNS if any(folder.glob(pattern))), None)
    if kind is None:
        return None
    holds = f"{kind} of {_set_in(folder)}" if kind in (SHARDS, LABELS) else kind
    return Made(kind, holds, "an earlier release")


def _set_in(folder: Path) -> str:
    """The set that shards, or labels, are of: by the manifest, or by a shard's note where there is none yet."""
    for path in (folder / "manifest.json", *sorted(folder.glob("shard-*.json"))):
        try:
            found = json.loads(path.read_text())
            return narrowed(str(found["set"]), found.get("fields", {}))
        except (OSError, ValueError, KeyError, TypeError):
            continue
    return "what no note beside them tells"


def narrowed(name: str, fields: Mapping[str, str]) -> str:
    """A set as it was packed, in words: "kitti (split=train)"; all of it, its name alone."""
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
    """The lock alone of `claimed`, for a folder in which files tell for themselves what they are."""
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / LOCK, "a+b", buffering=0) as file:
        with suppress(OSError):  # another user's
            os.fchmod(file.fileno(), 0o666)  # whoever may write into the folder may lock it
        try:
            _take(file, command, rank, processes)
        except (BlockingIOError, PermissionError) as error:
            raise FolderError(
                f"another process{_holder(file)} is writing into {folder}: wait for it, end it, or choose another "
                "folder"
            ) from error
        except OSError as error:  # some network disks know no locks
            _log.warning("%s cannot be locked (%s): see to it that no other process writes there", folder, error)
        yield


def _take(file: IO[bytes], command: str, rank: int, processes: int) -> None:
    """Takes the lock, or raises `BlockingIOError` or `PermissionError`, as systems differ, where others have it."""
    fcntl.lockf(file, fcntl.LOCK_EX, 1, _MUTEX)  # for moments
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
    """Who has the lock, as far as is known, to stand behind "another process"."""
    holder = _read_holder(file)
    try:
        return f" (`{holder['command']}`, number {holder['process']} on {holder['host']})"
    except KeyError:
        return ""


def _read_holder(file: IO[bytes]) -> dict[str, Any]:
    file.seek(0)
    try:
        return dict(json.loads(file.read()))
    except (ValueError, TypeError):
        return {}
