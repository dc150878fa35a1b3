"""The shared-memory segments of Fast DDS processes, and advice on other users' segments."""

from __future__ import annotations

import fcntl
import pwd
import re
from dataclasses import dataclass
from pathlib import Path

from depth_anything_ros.ros.process.middleware_files import Advice


def other_users_advice(shared_memory: Path, user: int) -> list[Advice]:
    """Return advice if processes of other users use Fast DDS in this shared memory.

    Args:
        shared_memory: the shared memory file system.
        user: user id of this process.
    """
    others = sorted({owner for owner in _users_at_work(shared_memory) if owner != user})
    if not others:
        return []
    names = ", ".join(map(_user_name, others))
    text = (
        f"processes of {names} use Fast DDS in {shared_memory}, but this one runs as {_user_name(user)}: neither can "
        "write to the other's shared memory, so topics are listed but no message arrives (measured, also for root); "
        f"run all as one user (docker run --user {others[0]}), or give the container its own memory (--ipc=private)"
    )
    return [Advice(text)]


@dataclass(frozen=True)
class Segment:
    """A file in the shared memory with which processes exchange messages.

    Attributes:
        path: of the file.
        size: bytes that it takes.
        user: id of its owner.
        in_use: whether a running process holds it; else its process ended without removing it.
    """

    path: Path
    size: int
    user: int
    in_use: bool


def segments_in(shared_memory: Path) -> list[Segment]:
    """Return the segments of Fast DDS. A running process locks the file next to each segment.

    Args:
        shared_memory: the shared memory file system.
    """
    segments = []
    for lock in sorted(shared_memory.glob("fast*_el")):
        if not re.fullmatch(r"fast(rtps|dds)_\w+_el", lock.name):
            continue
        path = lock.with_name(lock.name.removesuffix("_el"))
        try:
            size = path.stat().st_blocks * 512 if path.exists() else 0
            segments.append(Segment(path, size, lock.stat().st_uid, _is_locked(lock)))
        except OSError:  # deleted in the meantime
            continue
    return segments


def _users_at_work(shared_memory: Path) -> set[int]:
    """Return the owners of the segments that a running process holds."""
    return {segment.user for segment in segments_in(shared_memory) if segment.in_use}


def _is_locked(path: Path) -> bool:
    """Return whether a process holds the file's lock; a file that cannot be opened counts as locked."""
    try:
        with path.open() as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            return False
    except (BlockingIOError, PermissionError):
        return True


def _user_name(user: int) -> str:
    """Return a user's id and name. A container knows the users of the host only by their ids."""
    try:
        return f"user {user} ({pwd.getpwuid(user).pw_name})"
    except KeyError:
        return f"user {user}"
