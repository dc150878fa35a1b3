"""Locks between processes, released when a process ends in any way."""

from __future__ import annotations

import fcntl
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

log = logging.getLogger(__name__)


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold the lock of a path: a file in the sibling folder ``locks``. Wait while another process holds it."""
    locks = folder.parent / "locks"
    locks.mkdir(parents=True, exist_ok=True)
    with (locks / folder.name).open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            log.info("another process works on %s; waiting for it", folder.name)
            fcntl.flock(file, fcntl.LOCK_EX)
        yield
