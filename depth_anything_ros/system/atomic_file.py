"""Files that appear whole or not at all, so that a kill or a full disk leaves nothing half-written behind."""

from __future__ import annotations

import hashlib
import os
import re
import secrets
import socket
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

ABANDONED = 24 * 3600
"""Seconds after which nobody writes any more to a half-written file that has not grown."""
_PARTIAL = re.compile(r"\..+\.([0-9a-f]{8})-(\d+)-[0-9a-f]{8}\.partial", re.DOTALL)
_RANDOM = secrets.token_hex(4)


@contextmanager
def atomic_path(path: str | Path) -> Iterator[Path]:
    """Gives a path in the same folder to write to, and moves it onto ``path`` if the block ends without an error.

    What ``path`` held before stays as it was until then; what was written is removed if the block fails. A device or a
    pipe, such as /dev/stdout, is written to as it is. Raises `OSError`, naming ``path``, where it cannot be written.
    """
    path = Path(path)
    if _is_no_file(path):
        with naming(path):
            yield path
        return
    partial = partial_of(path)
    try:
        with naming(path):
            yield partial
            partial.chmod(0o644)  # some writers make files that their owner alone can read
            os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


def atomic_write(path: str | Path, content: bytes) -> None:
    """Writes a file whole or not at all. Raises `OSError`, naming it, where it cannot be written."""
    with atomic_path(path) as partial:
        partial.write_bytes(content)


@contextmanager
def naming(path: str | Path) -> Iterator[None]:
    """Has the system's errors in a block that writes ``path`` name it.

    The system names no file where a disk is full, and a hidden one where that is what cannot be made on the way to
    ``path``. An error that names another file, or says in words what was the matter, stays as it is.
    """
    path = Path(path)
    try:
        yield
    except OSError as error:
        if error.errno is None or error.strerror != os.strerror(error.errno):
            raise
        if error.filename is not None and not _is_on_the_way(Path(os.fsdecode(error.filename)), path):
            raise
        raise OSError(error.errno, error.strerror, str(path)) from error


def in_words(error: OSError) -> str:
    """The file that an error names and what the system says of it, without its number."""
    if error.errno is None or not error.strerror:
        return str(error)
    named = [os.fsdecode(name) for name in (error.filename, error.filename2) if isinstance(name, (str, bytes))]
    return f"{' to '.join(named)}: {error.strerror}" if named else error.strerror


def _is_on_the_way(named: Path, path: Path) -> bool:
    """Whether a file is a hidden one beside ``path``, or lies in a hidden folder beside it."""
    try:
        return named.relative_to(path.parent).parts[0].startswith(".")
    except (ValueError, IndexError):
        return False


def _is_no_file(path: Path) -> bool:
    """Whether a path is that of a device, a pipe or a socket, which nothing may take the place of."""
    try:
        mode = path.stat().st_mode
    except OSError:
        return False
    return not (stat.S_ISREG(mode) or stat.S_ISDIR(mode))


def partial_of(path: Path) -> Path:
    """Where this process writes what is to become ``path``.

    Processes on other machines, and in other containers of this one, may have the same number.
    """
    return path.with_name(f".{path.name}.{_numbered_by()}-{os.getpid()}-{_RANDOM}.partial")


def is_left_behind(partial: Path) -> bool:
    """Whether a file that `partial_of` names was left by a process that was killed.

    One of another machine or container is taken for alive until the file has not grown for a day.
    """
    named = _PARTIAL.fullmatch(partial.name)
    if named is None:
        return False
    if named[1] == _numbered_by() and not _is_alive(int(named[2])):
        return True
    return is_abandoned(partial)


def is_abandoned(partial: Path) -> bool:
    """Whether a file, of whatever name, has not been written to for a day; False where it is gone."""
    try:
        return time.time() - partial.stat().st_mtime > ABANDONED
    except FileNotFoundError:
        return False


def _numbered_by() -> str:
    """Tells apart what numbers processes: a system since it started, and each container on it."""
    known = [socket.gethostname()]
    with suppress(OSError):  # not Linux
        known += [Path("/proc/sys/kernel/random/boot_id").read_text(), os.readlink("/proc/self/ns/pid")]
    return hashlib.sha256("\n".join(known).encode()).hexdigest()[:8]


def _is_alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # another user's
        pass
    return True
