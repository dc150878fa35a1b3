"""Atomic writes: a kill or a full disk leaves no half-written file behind."""

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
"""Seconds without growth after which a partial file counts as abandoned."""
_PARTIAL = re.compile(r"\..+\.([0-9a-f]{8})-(\d+)-[0-9a-f]{8}\.partial", re.DOTALL)
_RANDOM = secrets.token_hex(4)


@contextmanager
def atomic_path(path: str | Path) -> Iterator[Path]:
    """Yield a temporary path in the same folder; rename it to ``path`` if the block succeeds.

    ``path`` keeps its old content until then. If the block fails, the temporary file is removed. A device or a pipe,
    such as /dev/stdout, is written directly. Raises `OSError`, naming ``path``, if it cannot be written.
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
            partial.chmod(0o644)  # some writers create files that only their owner can read
            os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


def atomic_write(path: str | Path, content: bytes) -> None:
    """Write a file atomically.

    Args:
        path: the file; its folder must exist.
        content: all of its bytes.

    Raises:
        OSError: the file cannot be written; the error names it.
    """
    with atomic_path(path) as partial:
        partial.write_bytes(content)


@contextmanager
def naming(path: str | Path) -> Iterator[None]:
    """Make system errors in a block that writes ``path`` name ``path``.

    The system names no file when a disk is full. It may name a hidden temporary file when that cannot be created. An
    error that names another file, or that has its own message, passes unchanged.
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


def describe_error(error: OSError) -> str:
    """Return an error as "file: reason", without its number."""
    if error.errno is None or not error.strerror:
        return str(error)
    named = [os.fsdecode(name) for name in (error.filename, error.filename2) if isinstance(name, (str, bytes))]
    return f"{' to '.join(named)}: {error.strerror}" if named else error.strerror


def _is_on_the_way(named: Path, path: Path) -> bool:
    """Return whether a file is hidden next to ``path``, or is in a hidden folder next to it."""
    try:
        return named.relative_to(path.parent).parts[0].startswith(".")
    except (ValueError, IndexError):
        return False


def _is_no_file(path: Path) -> bool:
    """Return whether a path is a device, a pipe or a socket, which must not be replaced."""
    try:
        mode = path.stat().st_mode
    except OSError:
        return False
    return not (stat.S_ISREG(mode) or stat.S_ISDIR(mode))


def partial_of(path: Path) -> Path:
    """Return the temporary path to which this process writes ``path``.

    A process id is not unique: processes on other machines and in other containers may have the same one.
    """
    return path.with_name(f".{path.name}.{_numbered_by()}-{os.getpid()}-{_RANDOM}.partial")


def is_left_behind(partial: Path) -> bool:
    """Return whether a killed process left this temporary file, named by `partial_of`, behind.

    A process of another machine or container counts as alive until the file has not grown for a day.
    """
    named = _PARTIAL.fullmatch(partial.name)
    if named is None:
        return False
    if named[1] == _numbered_by() and not _is_alive(int(named[2])):
        return True
    return is_abandoned(partial)


def is_abandoned(partial: Path) -> bool:
    """Return whether a file, of any name, was not written for a day; False if it is gone."""
    try:
        return time.time() - partial.stat().st_mtime > ABANDONED
    except FileNotFoundError:
        return False


def _numbered_by() -> str:
    """Return an identifier of the namespace of process ids: this boot of this system, or a container on it."""
    names = [socket.gethostname()]
    with suppress(OSError):  # not Linux
        names += [Path("/proc/sys/kernel/random/boot_id").read_text(), os.readlink("/proc/self/ns/pid")]
    return hashlib.sha256("\n".join(names).encode()).hexdigest()[:8]


def _is_alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # another user's
        pass
    return True
